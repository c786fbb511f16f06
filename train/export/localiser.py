"""Put a localiser into the manifest of another network."""

import shutil
from dataclasses import replace
from pathlib import Path

from imaging.errors import KitError
from imaging.files import replacing
from inference.manifest import (
    LOCALISER,
    LocaliserSpec,
    Manifest,
    WeightsFile,
    load_manifest,
    verify_files,
)


def add_localiser(
    manifest: Path,
    localiser: Path,
    margin_mm: float,
    least_certainty: float,
    step: float,
    crop: str | None = None,
) -> Manifest:
    """Add the network that `localiser` describes to `manifest`, in place of one that it has.

    Its ONNX file is copied beside the manifest's own.

    Args:
        manifest: Manifest file of the network that the localiser is for.
        localiser: Manifest file of the localiser, as `train export` wrote it.
        margin_mm: Around what it finds.
        least_certainty: Below it the body's box is taken.
        step: Between its windows, as a share of its patch.
        crop: The manifest's region of interest from now on; None leaves it.

    Returns:
        The manifest that was written.

    Raises:
        KitError: A file is missing or damaged, the orientations differ, or a value is out of range.
    """
    described, found = load_manifest(manifest), load_manifest(localiser)
    verify_files(found)
    if found.orientation != described.orientation:
        raise KitError(
            f"{localiser}: the localiser takes CTs in {found.orientation}, the network of "
            f"{manifest} in {described.orientation}; train it in the network's axes"
        )
    target = described.weights("onnx").with_name("localiser.onnx")
    with replacing(target) as partial:
        shutil.copyfile(found.weights("onnx"), partial)
    place = target.relative_to(described.folder).as_posix()
    changed = replace(
        described,
        files={**described.files, LOCALISER: WeightsFile.of(target, place)},
        crop=crop or described.crop,
        provenance={**described.provenance, LOCALISER: found.provenance},
        localiser=LocaliserSpec(
            found.spacing_mm,
            found.intensity,
            found.window.patch,
            step,
            margin_mm,
            least_certainty,
        ),
    )
    changed.write(manifest)
    return load_manifest(manifest)
