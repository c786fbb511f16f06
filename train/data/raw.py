"""Write training cases as an nnU-Net v2 raw dataset."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from imaging.files import make_folder
from imaging.organs import ORGANS
from imaging.records import write_json
from train.data.anatomy import IGNORE
from train.pseudo_labels.fusion import read_flare_labels

AnnotatedLabels = Mapping[str, Sequence[int]]
"""Labels that the annotators of each case looked for."""


def link_dataset(
    cases: Mapping[str, tuple[Path, Path]], folder: Path, annotated: AnnotatedLabels | None = None
) -> None:
    """Lay out files that lie elsewhere as a raw dataset, by links.

    "ignore" is declared only where some voxel has it, because nnU-Net then samples patches
    differently.

    Args:
        cases: CT and label map of each case.
        folder: The dataset's; must not exist yet.
        annotated: Goes into dataset.json, for the trainer; None where its loss does not need them.

    Raises:
        KitError: A label map cannot be read, or holds other labels than FLARE's and "ignore".
    """
    ignore = False
    for place in ("imagesTr", "labelsTr"):
        make_folder(folder / place)
    for case, (image, labels) in sorted(cases.items()):
        ignore |= bool((read_flare_labels(labels).labels == IGNORE).any())
        (folder / "imagesTr" / f"{case}_0000.nii.gz").symlink_to(image.resolve())
        (folder / "labelsTr" / f"{case}.nii.gz").symlink_to(labels.resolve())
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **ORGANS, **({"ignore": IGNORE} if ignore else {})},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
        **({} if annotated is None else {"annotated": annotated}),
    }
    write_json(description, folder / "dataset.json", indent=2)
