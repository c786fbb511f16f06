"""Where each output goes, and which files of an earlier run are removed."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from imaging.files import KIT

_HEAD_BYTES = 1 << 16
DICOM_SEG = ".seg.dcm"
SEG_NRRD = ".seg.nrrd"
PREVIEW = ".png"
"""Endings of the files of a case, after its name."""
MASKS = "masks"
"""Folder of one folder a case."""
ITK_SNAP = "itk_snap_labels.txt"
STATISTICS_JSON, STATISTICS_CSV = "organ_statistics.json", "organ_statistics.csv"
"""One file for all cases of a run."""


def masks_folder(outputs: Path, case: str) -> Path:
    """Return the folder of the masks of a case."""
    return outputs / MASKS / case


def mask_name(organ: str) -> str:
    """Return the file name of an organ's mask: "right kidney" is in right_kidney.nii.gz."""
    return f"{organ.replace(' ', '_').replace('/', '_')}.nii.gz"


def remove_old(outputs: Path, cases: Iterable[str]) -> None:
    """Remove what an earlier run wrote beside the label maps of these cases.

    A segmentation that was saved anew from Slicer, a picture of somebody else's: they stay. A file
    that cannot be removed is reported when it is replaced.
    """
    folders = list[Path]()
    old = [outputs / name for name in (ITK_SNAP, STATISTICS_JSON, STATISTICS_CSV)]
    for case in cases:
        named = (outputs / f"{case}{ending}" for ending in (DICOM_SEG, SEG_NRRD, PREVIEW))
        old += filter(_is_ours, named)
        folders.append(masks_folder(outputs, case))
        old += folders[-1].glob("*.nii.gz")
    for path in old:
        with suppress(OSError):
            path.unlink()
    for folder in (*folders, outputs / MASKS):
        with suppress(OSError):  # not there, or somebody put other files in
            folder.rmdir()


def _is_ours(path: Path) -> bool:
    """Tell whether a file says that it is the kit's."""
    try:
        with path.open("rb") as stream:
            return KIT.encode() in stream.read(_HEAD_BYTES)
    except OSError:
        return False
