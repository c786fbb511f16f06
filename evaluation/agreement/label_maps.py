"""How far two folders of label maps agree: the tool for "the same result, faster"."""

import filecmp
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.result_files import write_results
from evaluation.scoring.folders import SUFFIX, case_of_map, map_files
from imaging.errors import KitError, VolumeError, in_one_line, joined
from imaging.label_maps import LabelMap, read_label_map
from imaging.organs import ORGANS
from imaging.overlap import dice_by_label, joint_counts
from imaging.tables import write_csv

_NAMES = {label: organ for organ, label in ORGANS.items()}


@dataclass(frozen=True)
class LabelAgreement:
    """One label that at least one of two maps has."""

    organ: str
    dsc: float
    """Sørensen-Dice coefficient between the two."""
    first_ml: float
    second_ml: float

    @property
    def change_ml(self) -> float:
        """Volume in the second map minus that in the first."""
        return self.second_ml - self.first_ml


@dataclass(frozen=True)
class CaseAgreement:
    """One case; `error` says why the two maps could not be compared."""

    case: str
    same_file: bool = False
    """Byte for byte."""
    differ_voxels: int | None = None
    """None, as all below, where there is an error."""
    differ_share: float | None = None
    """Of the voxels that are foreground in either map."""
    labels: tuple[LabelAgreement, ...] = ()
    geometry: str | None = None
    """How the second map lies elsewhere than the first; None where it does not."""
    warning: str | None = None
    """Why another reader may find other volumes; None where none does."""
    error: str | None = None

    @property
    def least(self) -> LabelAgreement | None:
        """The label that agrees least; None where both maps are empty."""
        return min(self.labels, key=lambda label: label.dsc, default=None)

    @property
    def most_changed(self) -> LabelAgreement | None:
        """The label whose volume changes most; None where both maps are empty."""
        return max(self.labels, key=lambda label: abs(label.change_ml), default=None)

    def problem(self, least_dsc: float) -> str | None:
        """Say why the maps are not the same result; None where they are.

        Args:
            least_dsc: What every label must reach.
        """
        if self.error or self.geometry:
            return self.error or self.geometry
        if self.least is not None and self.least.dsc < least_dsc:
            return f"DSC of {self.least.organ} is {self.least.dsc:.4f}, under {least_dsc:g}"
        return None


def agree_files(
    first: Path, second: Path, names: Iterable[str], jobs: int
) -> Iterator[CaseAgreement]:
    """Compare the label maps of those names in two folders, `jobs` at a time; yield in order."""
    with ThreadPoolExecutor(jobs) as pool:  # what takes long releases Python's lock
        yield from pool.map(lambda name: agree_case(first / name, second / name), names)


def file_names(first: Path, second: Path) -> list[str]:
    """Return the names of the label maps that either folder has.

    Raises:
        KitError: A folder is missing, or neither holds a label map.
    """
    for folder in (first, second):
        if not folder.is_dir():
            raise KitError(f"{folder} is no folder; give two folders of <case>{SUFFIX}")
    names = {path.name for folder in (first, second) for path in map_files(folder)}
    if not names:
        raise KitError(f"neither {first} nor {second} holds a <case>{SUFFIX}; check both")
    return sorted(names)


def agree_case(first: Path, second: Path) -> CaseAgreement:
    """Compare two label maps; what stands in the way becomes the `error`."""
    try:
        return _agree_case(first, second)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
        return CaseAgreement(case_of_map(first), error=in_one_line(error, first.name))


def _agree_case(first: Path, second: Path) -> CaseAgreement:
    case = CaseAgreement(case_of_map(first))
    for path in (first, second):
        if not path.is_file():
            return replace(case, error=f"missing in {path.parent}")
    case = replace(case, same_file=filecmp.cmp(first, second, shallow=False))
    try:
        a, b = _read(first), _read(second)
    except VolumeError as error:
        return replace(case, error=str(error))
    geometry = b.elsewhere_than(a.place, a.header.shape)
    if a.header.shape != b.header.shape:
        return replace(case, error=geometry)
    warnings = (
        f"{path.parent}: {warning}"
        for path, one in ((first, a), (second, b))
        for warning in one.place.size_warnings
    )
    counts = joint_counts(a.labels, b.labels)
    differ = int(counts.sum() - counts.trace())
    return replace(
        case,
        differ_voxels=differ,
        differ_share=differ / max(1, int(counts.sum() - counts[0, 0])),
        labels=_labels(counts, a.grid.voxel_ml, b.grid.voxel_ml),
        geometry=geometry,
        warning=joined(*warnings),
    )


def _read(path: Path) -> LabelMap:
    try:
        return read_label_map(path)
    except VolumeError as error:
        raise VolumeError(f"{path.parent}: {error}") from error


def _labels(
    counts: NDArray[np.int64], first_ml: float, second_ml: float
) -> tuple[LabelAgreement, ...]:
    """Return what is known of every label; `first_ml` and `second_ml` are of one voxel."""
    first, second, dsc = counts.sum(axis=1), counts.sum(axis=0), dice_by_label(counts)
    return tuple(
        LabelAgreement(
            organ=_NAMES.get(label, f"label {label}"),
            dsc=float(dsc[label]),
            first_ml=float(first[label] * first_ml),
            second_ml=float(second[label] * second_ml),
        )
        for label in range(1, len(dsc))
        if first[label] + second[label]
    )


def write_agreement(cases: tuple[CaseAgreement, ...], folder: Path) -> None:
    """Write agree.json, and agree.csv with a row a case and label, into `folder`."""
    content = {"cases": [asdict(case) for case in cases]}
    write_results("agreement", content, folder / "agree.json")
    of_case = (
        "case", "same_file", "differ_voxels", "differ_share", "geometry", "warning", "error",
    )  # fmt: skip
    of_label = ("organ", "dsc", "first_ml", "second_ml", "change_ml")
    rows = [
        [*(getattr(case, key) for key in of_case), *(getattr(label, key, "") for key in of_label)]
        for case in cases
        for label in case.labels or (None,)
    ]
    write_csv(folder / "agree.csv", (*of_case, *of_label), rows)
