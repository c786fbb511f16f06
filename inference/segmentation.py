"""`segment` labels one CT; `open_predictor` opens a network for several."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imaging.geometry import SpacingMm
from inference.ct import AnyCt, Direction
from inference.engines import EngineOptions, open_engines, weights_of
from inference.manifest import Manifest, load_manifest, verify_weights
from inference.predictor import AS_THE_MANIFEST, UNSEEN, Predictor, Progress, Segmentation, Settings
from inference.shipped import DEFAULT_MANIFEST


def segment(
    ct: AnyCt,
    manifest: str | Path | Manifest = DEFAULT_MANIFEST,
    settings: Settings = AS_THE_MANIFEST,
    progress: Progress = UNSEEN,
    *,
    spacing_mm: SpacingMm | None = None,
    direction: "Direction | None" = None,
) -> Segmentation:
    """Label one CT.

    For several CTs, `open_predictor` opens the network once.

    Args:
        ct: The path of one CT: NIfTI, NRRD, MetaImage, a DICOM folder or a .zip of one; a
            SimpleITK image; an array [Z, Y, X] in Hounsfield units; or a `Volume` or `Series`.
        manifest: The network and how to use it, or the file that says so.
        settings: Settings that differ from the manifest.
        progress: Called with every window.
        spacing_mm: Of an array, and required for it: (Z, Y, X) in mm.
        direction: Of an array: [3, 3], column i the LPS direction of index axis i in (X, Y, Z), as
            SimpleITK has it. Without it X, Y and Z grow to Left, Posterior and Superior, and a
            warning says so.

    Returns:
        uint8 [Z, Y, X] labels on the CT's own voxels, and the report of the case.

    Raises:
        KitError: The CT, the weights or the engine cannot be used.
    """
    described = manifest if isinstance(manifest, Manifest) else load_manifest(Path(manifest))
    with open_predictor(described, settings) as predictor:
        return predictor.segment(ct, progress, spacing_mm=spacing_mm, direction=direction)


@contextmanager
def open_predictor(manifest: Manifest, settings: Settings) -> Iterator[Predictor]:
    """Check the weights, open the engine, and close it at the end of the block.

    Raises:
        ManifestError: A weights file is missing or damaged, or the network was not
            trained with the requested flips.
        EngineError: The engine cannot be used here.
    """
    for kind in weights_of(settings.engine, manifest):
        verify_weights(manifest, kind)
    options = EngineOptions(settings.threads, settings.precision, settings.device)
    with ExitStack() as stack:
        engines = stack.enter_context(open_engines(settings.engine, manifest, options))
        localiser = None
        if (settings.crop or manifest.crop) == "organs":
            from inference.localiser import open_localiser  # not loaded where it is not used

            localiser = stack.enter_context(open_localiser(manifest, settings.threads))
        yield Predictor(manifest, engines.current, settings, engines.instead, localiser)
