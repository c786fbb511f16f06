"""Files that come with the kit: the default weights with their manifest, and the sample CT."""

from pathlib import Path

_INSTALLED = Path(__file__).parent / "files"
"""Where an installed kit has them; in a checkout and in the image they lie beside the packages."""
_ROOT = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1]

DEFAULT_MANIFEST = _ROOT / "weights_manifest.json"
"""The default network; its weights are in `weights/` beside it."""
SAMPLE_CT = _ROOT / "samples" / "TS_example_0000.nii.gz"
"""A small real CT. The challenge image has none."""
GOLDEN = _ROOT / "samples" / "golden"
"""What the default weights make of it, by engine and precision: label maps and golden.json."""
