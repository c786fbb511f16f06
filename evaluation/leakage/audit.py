"""Compare the cases of several folders: shared names, files, images and perhaps patients."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

from evaluation.leakage.fingerprints import cached_fingerprint
from evaluation.leakage.matching import Match, PreparedCt, best_match
from evaluation.result_files import write_results
from imaging.digest import file_sha256
from imaging.errors import KitError, in_one_line
from imaging.files import make_folder
from imaging.tables import write_csv
from inference.pipeline import find_cases

SAME_IMAGE = 0.85
"""Copies of one CT in other windows, crops, grids and mirrored had 0.88 and more; other phases of
one examination at most 0.80 (docs/leakage.md)."""
SAME_PATIENT = 0.35
"""Other phases had 0.49 and more; CTs of different patients at most 0.23."""
NAME, FILE, IMAGE, PATIENT = "name", "file", "image", "patient"
Progress = Callable[[str, int, int], None]
"""Is told the step, "read" or "compare", how many are done, and of how many."""


@dataclass(frozen=True)
class Listed:
    """One case of one folder."""

    source: str
    """The folder, or list of names, as it was given."""
    case: str
    path: Path | None
    """None where only the name is known."""


@dataclass(frozen=True)
class Shared:
    """Two cases that have something in common."""

    first: Listed
    second: Listed
    kinds: tuple[str, ...]
    """What they share: "name", "file", "image", "patient"."""
    match: Match | None = None
    """How the two images lie on each other; None where they were not compared, or nowhere near."""

    @property
    def line(self) -> str:
        """Say what it means."""
        if FILE in self.kinds:
            return "the same file"
        if IMAGE in self.kinds:
            return "the same image"
        if PATIENT in self.kinds:
            return "same patient, it seems: another phase or series"
        return "the same name, other images" if self.compared else "the same name"

    @property
    def compared(self) -> bool:
        """Tell whether both images are at hand."""
        return self.first.path is not None and self.second.path is not None


@dataclass(frozen=True)
class Leakage:
    """What was found."""

    sources: dict[str, int]
    """Cases by source."""
    shared: tuple[Shared, ...]
    unreadable: dict[str, str]
    """Why an image could not be compared, by its path."""
    pairs: int
    """Pairs whose images were compared."""

    def write(self, folder: Path) -> None:
        """Write leakage.json and leakage.csv into `folder`.

        Raises:
            KitError: They cannot be written.
        """
        make_folder(folder)
        rows = [_row(shared) for shared in self.shared]
        content = {
            "same_image": SAME_IMAGE,
            "same_patient": SAME_PATIENT,
            **{key: value for key, value in asdict(self).items() if key != "shared"},
            "shared": rows,
        }
        write_results("leakage", content, folder / "leakage.json")
        write_csv(folder / "leakage.csv", _COLUMNS, (row.values() for row in rows))


_COLUMNS = (
    "first_source", "first_case", "second_source", "second_case", "shares", "means", "likeness",
    "mirrored", "shift_mm", "common_part",
)  # fmt: skip


def _row(shared: Shared) -> dict[str, object]:
    first, second, match = shared.first, shared.second, shared.match
    found: tuple[object, ...] = (None, "", None, None)
    if match is not None:
        mirrored = "".join(a for a, flip in zip("ZYX", match.mirrored, strict=True) if flip)
        shift = " ".join(f"{mm:.1f}" for mm in match.shift_mm)
        found = (round(match.likeness, 4), mirrored, shift, round(match.shared, 4))
    names = (first.source, first.case, second.source, second.case)
    cells = (*names, " ".join(shared.kinds), shared.line, *found)
    return dict(zip(_COLUMNS, cells, strict=True))


def list_source(source: Path) -> list[Listed]:
    """Return the cases of a folder of CTs, or of a text file with a name a line.

    Raises:
        KitError: It is neither, or holds no case.
    """
    if source.suffix != ".txt":
        return [Listed(str(source), case, path) for case, path in find_cases(source).items()]
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KitError(f"cannot read the list of cases {source}: {error}") from error
    names = [line.strip().removesuffix(".nii.gz").removesuffix("_0000") for line in lines]
    if not any(names):
        raise KitError(f"{source} names no case; give one a line")
    return [Listed(str(source), name, None) for name in names if name]


def find_leakage(
    sources: Sequence[Path],
    cache: Path | None = None,
    *,
    within: bool = False,
    threads: int = 1,
    progress: Progress = lambda step, done, of: None,
) -> Leakage:
    """Compare every case of each source with those of the others.

    Args:
        sources: Folders of CTs, or text files of names.
        cache: Folder that keeps the fingerprints; None keeps none.
        within: Compare the cases of one source with each other, too.
        threads: How many pairs at once.
        progress: Called after each CT and each pair.

    Raises:
        KitError: A source cannot be read, or there is nothing to compare.
    """
    listed = [list_source(source) for source in sources]
    if len(sources) < 2 and not within:
        raise KitError("one folder alone has nothing to share; give two or more, or --within")
    places = [source.resolve() for source in sources]
    again = [str(one) for n, one in enumerate(sources) if places[n] in places[:n]]
    if again:
        raise KitError(f"{', '.join(again)} was given already; give each folder or list once")
    cases = [case for source in listed for case in source]
    prepared, digests, unreadable = _prepared(cases, cache, progress)
    pairs = [(a, b) for a, b in combinations(cases, 2) if within or a.source != b.source]
    shared = []
    with ThreadPoolExecutor(threads) as pool:
        every = pool.map(lambda pair: _compared(pair[0], pair[1], prepared, digests), pairs)
        for done, found in enumerate(every, start=1):
            progress("compare", done, len(pairs))
            if found is not None:
                shared.append(found)
    number = sum(a.path in prepared and b.path in prepared for a, b in pairs)
    counts = {str(source): len(found) for source, found in zip(sources, listed, strict=True)}
    shared.sort(key=lambda s: (_RANKS[s.kinds[-1]], -(s.match.likeness if s.match else 1.0)))
    return Leakage(counts, tuple(shared), unreadable, number)


_RANKS = {FILE: 0, IMAGE: 1, PATIENT: 2, NAME: 3}
"""Order of the results, by the last of a pair's kinds, which says the most."""


def _prepared(
    cases: Sequence[Listed], cache: Path | None, progress: Progress
) -> tuple[dict[Path | None, PreparedCt], dict[Path | None, str], dict[str, str]]:
    """Return fingerprints and digests by path, and what could not be read."""
    prepared: dict[Path | None, PreparedCt] = {}
    digests: dict[Path | None, str] = {}
    unreadable: dict[str, str] = {}
    paths = list(dict.fromkeys(case.path for case in cases if case.path is not None))
    for done, path in enumerate(paths, start=1):
        try:
            digests[path] = file_sha256(path)
            prepared[path] = PreparedCt(cached_fingerprint(path, digests[path], cache))
        except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
            unreadable[str(path)] = in_one_line(error, path.name)
        progress("read", done, len(paths))
    return prepared, digests, unreadable


def _compared(
    first: Listed,
    second: Listed,
    prepared: dict[Path | None, PreparedCt],
    digests: dict[Path | None, str],
) -> Shared | None:
    kinds, match = [NAME] if first.case == second.case else [], None
    digest = digests.get(first.path)
    if digest is not None and digest == digests.get(second.path):
        kinds.append(FILE)
    elif first.path in prepared and second.path in prepared:
        match = best_match(prepared[first.path], prepared[second.path])
        if match is not None and match.likeness >= SAME_PATIENT:
            kinds.append(IMAGE if match.likeness >= SAME_IMAGE else PATIENT)
    return Shared(first, second, tuple(kinds), match) if kinds else None
