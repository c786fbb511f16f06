"""FLARE23's release as it is unpacked: which cases there are, and who drew what in them."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from inference.errors import GeometryError, KitError, VolumeError
from inference.files import replacing
from inference.label_maps import read_label_map
from inference.organs import ORGANS
from inference.volumes import LEAST_MM, MOST_MM, read_header, read_place

SCHEMA = 1
IMAGE_SUFFIX, LABEL_SUFFIX = "_0000.nii.gz", ".nii.gz"
LEAST_SHARED = 3
"""Cases in which a set of labels must be found before it counts as a way of annotating."""


@dataclass(frozen=True)
class Layout:
    """Names of the release's folders; the defaults are those of its archives."""

    images: str = "imagesTr2200"
    labels: str = "labelsTr2200"
    unlabelled: str = "unlabeledTr1800"
    validation: str = "validation"


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
    drawn: tuple[int, ...]
    """Labels that its annotators looked for: what they drew, and what is absent in this patient."""
    subset: str
    """"partial", "unlabelled" or "validation"."""


@dataclass(frozen=True)
class Problem:
    """Why a case is left out."""

    case: str
    reason: str


@dataclass(frozen=True)
class Release:
    """What is usable of a release, and what is not."""

    cases: tuple[Case, ...]
    problems: tuple[Problem, ...]


def case_list(name: str) -> tuple[str, ...]:
    """Return one of the paper's lists of case ids, a file of train/cases.

    Raises:
        KitError: There is no such list.
    """
    folder = files("train") / "cases"
    path = folder / f"{name}.txt"
    if not path.is_file():
        known = sorted(p.name.removesuffix(".txt") for p in folder.iterdir())
        raise KitError(f"no case list {name!r}; there are {', '.join(known)}")
    return tuple(path.read_text(encoding="utf-8").split())


def read_release(
    folder: Path,
    layout: Layout,
    jobs: int = 1,
    done: Callable[[], None] = lambda: None,
) -> Release:
    """Check every case of a release.

    Args:
        folder: Holds the folders of `layout`.
        layout: Their names.
        jobs: Processes.
        done: Called after each case.

    Raises:
        KitError: The folder is not laid out so, or is empty.
    """
    found = list_cases(folder, layout)
    checked = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for row in pool.map(partial(check_case, folder), found, chunksize=4):
            checked.append(row)
            done()
    problems = [*_duplicates(found), *(row for row in checked if isinstance(row, Problem))]
    refused = {problem.case for problem in problems}
    cases = [row for row in checked if isinstance(row, Case) and row.case not in refused]
    return Release(tuple(with_drawn(cases)), tuple(sorted(problems, key=lambda p: p.case)))


def list_cases(folder: Path, layout: Layout) -> list[Case]:
    """List the files of a release without opening them; nothing is known to be drawn yet.

    Raises:
        KitError: The folder is not laid out so, or is empty.
    """
    needed = [folder / layout.images, folder / layout.labels]
    if missing := [str(path) for path in needed if not path.is_dir()]:
        raise KitError(f"no folder {' and no folder '.join(missing)}; check the release's layout")
    found = [
        *_listed(folder, layout.images, layout.labels, "partial"),
        *_listed(folder, layout.unlabelled, None, "unlabelled"),
        *_listed(folder, layout.validation, None, "validation"),
    ]
    if not found:
        raise KitError(f"{folder}: no <case>{IMAGE_SUFFIX} in any of its folders")
    return found


def _listed(folder: Path, images: str, labels: str | None, subset: str) -> Iterator[Case]:
    names = {p.name.removesuffix(IMAGE_SUFFIX) for p in (folder / images).glob(f"*{IMAGE_SUFFIX}")}
    if labels is not None:
        names |= {p.name.removesuffix(LABEL_SUFFIX) for p in (folder / labels).glob("*.nii.gz")}
    for name in sorted(names):
        label = None if labels is None else f"{labels}/{name}{LABEL_SUFFIX}"
        yield Case(name, f"{images}/{name}{IMAGE_SUFFIX}", label, (), (), subset)


def _duplicates(cases: Sequence[Case]) -> Iterator[Problem]:
    for name, count in Counter(case.case for case in cases).items():
        if count > 1:
            places = " and ".join(case.image for case in cases if case.case == name)
            yield Problem(name, f"there are {count}: {places}; keep one")


def check_case(folder: Path, case: Case) -> Case | Problem:
    """Return `case` with the labels that its map holds, or what is wrong with its files."""
    try:
        header = read_header(folder / case.image)
        spacing_mm = header.spacing_mm
        if not all(LEAST_MM <= mm <= MOST_MM for mm in spacing_mm):
            told = " × ".join(f"{mm:g}" for mm in reversed(spacing_mm))
            raise VolumeError(f"{case.image}: voxel size {told} mm is no CT's; mend the header")
        place = read_place(folder / case.image)
        if case.label is None:
            return case
        found = read_label_map(folder / case.label)
        if odd := found.elsewhere_than(place, header.shape):
            raise GeometryError(f"{case.label}: {odd}; give the map of this CT")
        counts = np.bincount(found.labels.ravel(), minlength=256)
    except KitError as error:
        return Problem(case.case, str(error))
    present = tuple(int(label) for label in np.flatnonzero(counts) if label)
    if not present:
        return Problem(case.case, f"{case.label}: nothing is labelled; treat it as unlabelled")
    if unknown := [label for label in present if label > max(ORGANS.values())]:
        return Problem(case.case, f"{case.label}: labels {unknown} are not FLARE23's 1 to 14")
    return Case(case.case, case.image, case.label, present, present, case.subset)


def with_drawn(cases: Iterable[Case]) -> Iterator[Case]:
    """Fill in what each case's annotators looked for.

    FLARE23 joins collections that each drew their own organs; the release does not say which case
    is of which. A set of labels that at least `LEAST_SHARED` cases have is taken for the way one
    collection was drawn, and a case with fewer labels (no gallbladder, say) for one of the
    smallest such set that holds all of its labels.
    """
    rows = list(cases)
    counts = Counter(row.present for row in rows if row.label is not None)
    patterns = [set(labels) for labels, count in counts.items() if count >= LEAST_SHARED]
    for row in rows:
        yield replace(row, drawn=drawn_in(row.present, patterns))


def drawn_in(present: Sequence[int], patterns: Iterable[set[int]]) -> tuple[int, ...]:
    """Return the smallest of `patterns` that holds all labels of `present`, or `present` itself."""
    fitting = [pattern for pattern in patterns if pattern >= set(present)]
    smallest = min(fitting, key=lambda pattern: (len(pattern), sorted(pattern)), default=present)
    return tuple(sorted(smallest)) if present else ()


def write_cases(cases: Sequence[Case], path: Path) -> None:
    """Write cases.json."""
    table = {"schema": SCHEMA, "cases": [asdict(case) for case in cases]}
    with replacing(path) as partial_path:
        partial_path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def load_cases(path: Path) -> tuple[Case, ...]:
    """Read cases.json.

    Raises:
        KitError: The file is not there, or not of this schema.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["schema"] != SCHEMA:
            raise KitError(f"{path}: not cases of schema {SCHEMA}; run `train data` again")
        return tuple(
            Case(**{**row, "present": tuple(row["present"]), "drawn": tuple(row["drawn"])})
            for row in table["cases"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KitError(f"{path}: not a readable cases.json ({error})") from error
