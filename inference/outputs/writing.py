"""Write the requested outputs of each case, after its label map."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

from imaging.errors import KitError, in_one_line
from imaging.extras import how_to_install
from imaging.volumes import Volume
from inference.manifest import Manifest
from inference.outputs.itk_snap import write_label_descriptions
from inference.outputs.masks import write_masks
from inference.outputs.names import PREVIEW
from inference.outputs.seg_nrrd import write_seg_nrrd
from inference.outputs.segments import LabelledCase, segments_of
from inference.outputs.statistics import StatisticsTable
from inference.predictor import Segmentation
from inference.tools.show import write_overlay

Writer = Callable[[LabelledCase, Path], tuple[str, ...]]
"""Writes one output of a case into the outputs folder, and returns warnings."""
KINDS = ("dicom-seg", "seg-nrrd", "itk-snap", "masks", "statistics", "preview")


class Outputs:
    """The outputs of a run beside its label maps; its block ends with the table of statistics."""

    def __init__(
        self, kinds: tuple[str, ...], folder: Path, manifest: Manifest, organs: tuple[str, ...] = ()
    ) -> None:
        """Begin a run.

        Args:
            kinds: Of `KINDS`.
            folder: The outputs folder.
            manifest: The network.
            organs: The labels that are kept; all if there is none.

        Raises:
            KitError: A package is missing that an output needs, or a label is unknown.
        """
        self._manifest = manifest
        self._segments = segments_of(manifest.chosen(organs))
        self._folder = folder
        self._statistics = StatisticsTable(manifest)
        self._writers = {kind: self._writer(kind) for kind in dict.fromkeys(kinds)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self._statistics.write(self._folder)

    def _writer(self, kind: str) -> Writer:
        if kind == "dicom-seg":
            return _dicom_seg_writer()
        return {
            "seg-nrrd": write_seg_nrrd,
            "itk-snap": write_label_descriptions,
            "masks": write_masks,
            "statistics": self._statistics.add,
            "preview": _write_preview,
        }[kind]

    def write(self, found: Segmentation, read: Callable[[], Volume]) -> None:
        """Write all outputs of a case; warnings go into its report.

        One that fails does not stop the others.

        Args:
            found: The labels of the case.
            read: Reads its CT once more.

        Raises:
            KitError: An output cannot be written; its message names each and why.
        """
        case = LabelledCase(
            **vars(found), segments=self._segments, manifest=self._manifest, read=read
        )
        problems = []
        for kind, write in self._writers.items():
            try:
                found.report.warnings += write(case, self._folder)
            except Exception as error:  # noqa: BLE001  # the other outputs go on
                problems.append(f"no {kind}: {in_one_line(error, case.name)}")
        if problems:
            raise KitError(f"{'; '.join(problems)}; the label map was written")


def _write_preview(case: LabelledCase, outputs: Path) -> tuple[str, ...]:
    """Write <case>.png, as `python -m inference show` draws it."""
    organs = {segment.name: segment.value for segment in case.segments}
    write_overlay(case.volume, case.labels, case.name, outputs / f"{case.name}{PREVIEW}", organs)
    return ()


def _dicom_seg_writer() -> Writer:
    try:
        from inference.outputs.dicom_seg import write_dicom_seg
    except ImportError as error:
        advice = how_to_install("dicom")
        raise KitError(f"DICOM-SEG needs {error.name}; {advice}") from error
    return write_dicom_seg
