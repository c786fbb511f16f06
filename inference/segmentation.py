"""`segment` labels one CT; `open_predictor` opens a network for several."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imaging.geometry import SpacingMm
from inference.ct import AnyCt, Direction
from inference.engines import EngineOptions, open_engines
from inference.manifest import Manifest, load_manifest
from inference.predictor import UNSEEN, Predictor, Progress, Segmentation
from inference.preparing import Preparer
from inference.settings import AS_THE_MANIFEST, Settings
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
    """Open the network, its weights checked, and close it at the end of the block.

    Raises:
        ManifestError: A weights file is missing or damaged.
        GeometryError: The network was not trained with the requested flips.
        EngineError: The engine cannot be used here.
    """
    with open_preparer(manifest, settings) as preparer, with_engine(preparer) as predictor:
        yield predictor


@contextmanager
def open_preparer(manifest: Manifest, settings: Settings) -> Iterator[Preparer]:
    """Open what prepares CTs: with the localiser, where the region of interest is the organs' box.

    Raises:
        ManifestError: The localiser's weights are missing or damaged.
        GeometryError: The network was not trained with the requested flips.
        EngineError: No engine can run the localiser here.
    """
    if (settings.crop or manifest.crop) != "organs":
        yield Preparer(manifest, settings)
        return
    from inference.localiser import open_localiser  # not loaded where it is not used

    with open_localiser(manifest, settings.threads) as localiser:
        yield Preparer(manifest, settings, localiser)


@contextmanager
def with_engine(preparer: Preparer) -> Iterator[Predictor]:
    """Open the engine of a network whose CTs are prepared already, and close it after the block.

    Raises:
        ManifestError: A weights file is missing or damaged.
        EngineError: The engine cannot be used here.
    """
    manifest, settings = preparer.manifest, preparer.settings
    options = EngineOptions(settings.threads, settings.precision, settings.device)
    with open_engines(settings.engine, manifest, options) as engines:
        yield Predictor(manifest, engines.current, settings, engines.instead, preparer.localiser)
