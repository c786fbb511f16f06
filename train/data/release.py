"""Read FLARE23's unpacked release: its cases, and which labels were annotated in each."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from imaging import extent
from imaging.errors import GeometryError, KitError, VolumeError, in_one_line
from imaging.geometry import Shape
from imaging.label_maps import read_label_map
from imaging.nifti_header import LEAST_MM, MOST_MM, Place
from imaging.organs import ORGANS
from imaging.overlap import labels_in
from imaging.processes import in_processes
from imaging.records import read_record, write_json
from imaging.volumes import read_header, read_place, read_volume

SCHEMA = 1
IMAGE_SUFFIX, LABEL_SUFFIX = "_0000.nii.gz", ".nii.gz"
LEAST_SHARED = 3
"""Cases that must have a set of labels before it counts as a way of annotating."""


@dataclass(frozen=True)
class Layout:
    """Names of the release's folders; the defaults are those of its archives."""

    images: str = "imagesTr2200"
    labels: str = "labelsTr2200"
    unlabelled: str = "unlabeledTr1800"
    validation: str = "imagesVal50"

    @property
    def folders(self) -> tuple[str, ...]:
        """All of them."""
        return astuple(self)


LAYOUT = Layout()


@dataclass(frozen=True)
class Case:
    """One CT of the release."""

    case: str
    image: str
    """Path under the release folder, as `label`."""
    label: str | None
    """None where nobody drew anything."""
    present: tuple[int, ...]
    """Labels that its map holds."""
    annotated: tuple[int, ...]
    """Labels that its annotators looked for: what they drew, and what is absent in this patient."""
    subset: str
    """"partial", "unlabelled" or "validation"."""
    doubts: tuple[str, ...] = ()
    """What is odd about its CT, though it is usable."""


@dataclass(frozen=True)
class _Cases:
    cases: tuple[Case, ...]


class Problem(NamedTuple):
    """Why a case is left out."""

    case: str
    reason: str


@dataclass(frozen=True)
class Release:
    """What is usable of a release, and what is not."""

    cases: tuple[Case, ...]
    problems: tuple[Problem, ...]


def case_list(name: str) -> tuple[str, ...]:
    """Return one of the paper's lists of case ids, a file of train/data/cases.

    Raises:
        KitError: There is no such list.
    """
    folder = files("train.data") / "cases"
    path = folder / f"{name}.txt"
    if not path.is_file():
        known = sorted(p.name.removesuffix(".txt") for p in folder.iterdir())
        raise KitError(f"no case list {name!r}; there are {', '.join(known)}")
    return tuple(path.read_text(encoding="utf-8").split())


def list_cases(folder: Path, layout: Layout = LAYOUT) -> list[Case]:
    """List the files of a release without opening them; the annotated labels are not known yet.

    Raises:
        KitError: The folder is not laid out so, or is empty.
    """
    if not folder.is_dir():
        raise KitError(f"there is no folder {folder}; give the one that holds the release")
    if missing := [name for name in layout.folders if not (folder / name).is_dir()]:
        raise KitError(
            f"{folder}: no folder {', '.join(missing)}; give the names that the release has, "
            "and make an empty folder for what it does not have"
        )
    found = [
        *_listed(folder, layout.images, layout.labels, "partial"),
        *_listed(folder, layout.unlabelled, None, "unlabelled"),
        *_listed(folder, layout.validation, None, "validation"),
    ]
    if not found:
        raise KitError(f"{folder}: no <case>{IMAGE_SUFFIX} in any of its folders")
    return found


def release_files(folder: Path) -> list[Path]:
    """Return the files of a release.

    Raises:
        KitError: It is not laid out as one.
    """
    list_cases(folder)
    return [path for name in LAYOUT.folders for path in sorted((folder / name).iterdir())]


def _listed(folder: Path, images: str, labels: str | None, subset: str) -> Iterator[Case]:
    image_files = _files(folder / images, IMAGE_SUFFIX)
    label_files = {} if labels is None else _files(folder / labels, LABEL_SUFFIX)
    for name in sorted(image_files | label_files):
        image = f"{images}/{image_files.get(name, name + IMAGE_SUFFIX)}"
        label = labels and f"{labels}/{label_files.get(name, name + LABEL_SUFFIX)}"
        yield Case(name, image, label, (), (), subset)


def _files(folder: Path, suffix: str) -> dict[str, str]:
    """Map cases to file names; a file of another kind is a case too, and found out later."""
    names = (path.name for path in folder.iterdir() if not path.name.startswith("."))
    return {name.removesuffix(suffix): name for name in names}


def check_cases(
    folder: Path, cases: Sequence[Case], jobs: int, *, deep: bool = False
) -> Iterator[Case | Problem]:
    """Check `cases` in `jobs` processes, as `check_case` does; yield in their order.

    Raises:
        KitError: The system ended one of the processes.
    """
    check = partial(check_case, folder, deep=deep)
    yield from in_processes(check, cases, jobs)


def check_case(folder: Path, case: Case, *, deep: bool = False) -> Case | Problem:
    """Return `case` with the labels that its map holds, or what is wrong with its files.

    Args:
        folder: The release.
        case: As listed.
        deep: Read every voxel of the CT too, not its header alone.
    """
    try:
        place, shape, warnings = _image_checked(folder, case.image, deep)
        if case.label is None:
            return replace(case, doubts=warnings)
        present = _label_checked(folder, case.label, place, shape)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
        return Problem(case.case, in_one_line(error, case.image))
    return replace(case, present=present, annotated=present, doubts=warnings)


def _image_checked(folder: Path, image: str, deep: bool) -> tuple[Place, Shape, tuple[str, ...]]:
    """Return where a CT lies, its shape and the warnings about it."""
    path = _file(folder, image, IMAGE_SUFFIX)
    header = read_header(path)
    place = read_place(path, header)
    if not all(LEAST_MM <= mm <= MOST_MM for mm in place.spacing_mm.tolist()):
        spacing = " × ".join(f"{mm:g}" for mm in place.spacing_mm.tolist())
        raise VolumeError(f"{image}: voxel size {spacing} mm is no CT's; mend the header")
    _refuse_misread(image, place)
    if deep:
        return place, header.shape, read_volume(path).warnings
    size = extent.unlike_patient(place.grid(header.shape), place.direction)
    return place, header.shape, tuple(filter(None, (*place.warnings, size)))


def _refuse_misread(name: str, place: Place) -> None:
    if place.misread:
        reason = "; ".join(place.warnings) or "the quaternion is longer than 1"
        raise GeometryError(f"{name}: {reason}; nnU-Net reads it otherwise, so mend the header")


def _label_checked(folder: Path, label: str, place: Place, shape: Shape) -> tuple[int, ...]:
    """Return the labels of a map that lies on the voxels of its CT."""
    found = read_label_map(_file(folder, label, LABEL_SUFFIX))
    if odd := found.elsewhere_than(place, shape):
        raise GeometryError(f"{label}: {odd}, the CT's; give the map of this CT")
    _refuse_misread(label, found.place)
    present = labels_in(found.labels)
    if not present:
        raise VolumeError(f"{label}: nothing is labelled; move its CT to the unlabelled ones")
    if unknown := [value for value in present if value > max(ORGANS.values())]:
        raise VolumeError(f"{label}: labels {unknown} are not FLARE23's 1 to 14; mend the map")
    return present


def _file(folder: Path, name: str, suffix: str) -> Path:
    if not name.endswith(suffix):
        raise VolumeError(f"{name}: not named <case>{suffix}; rename it or take it away")
    if not (folder / name).is_file():
        raise VolumeError(f"{name} is missing; copy it from the release again")
    return folder / name


def sorted_out(found: Sequence[Case], checked: Iterable[Case | Problem]) -> Release:
    """Separate the usable cases, with their annotated labels, from the problems.

    Args:
        found: As listed; a name that is there twice is a problem.
        checked: What `check_cases` returned for them.
    """
    rows = list(checked)
    problems = [*_duplicates(found), *(row for row in rows if isinstance(row, Problem))]
    refused = {problem.case for problem in problems}
    cases = [row for row in rows if isinstance(row, Case) and row.case not in refused]
    return Release(tuple(with_annotated(cases)), tuple(sorted(problems, key=lambda p: p.case)))


def _duplicates(cases: Sequence[Case]) -> Iterator[Problem]:
    images: dict[str, list[str]] = {}
    for case in cases:
        images.setdefault(case.case, []).append(case.image)
    for name, found in images.items():
        if len(found) > 1:
            yield Problem(name, f"there are {len(found)}: {' and '.join(found)}; keep one")


def with_annotated(cases: Sequence[Case]) -> Iterator[Case]:
    """Fill in what each case's annotators looked for.

    FLARE23 joins collections with different annotated organs, and the release does not say which
    case is of which. A set of labels that at least `LEAST_SHARED` cases have is taken for the way
    one collection was annotated. A case with fewer labels (no gallbladder, say) was annotated in
    one of the ways that have all of its labels.
    """
    counts = Counter(case.present for case in cases if case.label is not None)
    patterns = [set(labels) for labels, count in counts.items() if count >= LEAST_SHARED]
    annotated = {labels: annotated_in(labels, patterns) for labels in {c.present for c in cases}}
    for case in cases:
        yield replace(case, annotated=annotated[case.present])


def annotated_in(present: Sequence[int], patterns: Iterable[set[int]]) -> tuple[int, ...]:
    """Return what was looked for in a case with the labels `present`: no more than is sure.

    That is the smallest of `patterns` that holds them all; where two ways of drawing compete, what
    both have; where none does, `present` itself.
    """
    fitting = [pattern for pattern in patterns if pattern >= set(present)]
    return tuple(sorted(set.intersection(*fitting) if fitting and present else present))


def write_cases(cases: Sequence[Case], path: Path) -> None:
    """Write cases.json."""
    table = {"schema": SCHEMA, "cases": [asdict(case) for case in cases]}
    write_json(table, path)


def load_cases(path: Path) -> tuple[Case, ...]:
    """Read cases.json.

    Raises:
        KitError: The file is not there, or not of this schema.
    """
    head, advice = {"schema": SCHEMA}, "run `train data` again"
    return read_record(path, _Cases, "cases", head=head, advice=advice).cases
