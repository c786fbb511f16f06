"""Files of a folder that belong to no case of a run: an earlier run's, or a case without truth."""

from collections.abc import Collection
from pathlib import Path

from imaging.words import number_of

_MOST_NAMED = 10


def left_over(
    folder: Path, suffix: str, cases: Collection[str], inputs: Collection[Path] = ()
) -> tuple[str, ...]:
    """Return the cases whose `<case><suffix>` lies in `folder`, but which are not of `cases`.

    Args:
        folder: The folder; hidden files in it are passed over.
        suffix: ".nii.gz" of label maps.
        cases: Of the run.
        inputs: Files that are no label maps, should they lie there too.
    """
    known = {path.resolve() for path in inputs}
    found = {path.name.removesuffix(suffix): path for path in sorted(folder.glob(f"[!.]*{suffix}"))}
    return tuple(
        case for case, path in found.items() if case not in cases and path.resolve() not in known
    )


def left_over_message(cases: Collection[str], folder: Path, why: str) -> str:
    """Return one line: "outputs also holds maps of 2 cases that this run did not make: a, b"."""
    some = list(cases)[:_MOST_NAMED]
    more = [f"{len(cases) - len(some)} more"] if len(cases) > len(some) else []
    return f"{folder} also holds maps of {number_of(len(cases), 'case')} {why}: " + ", ".join(
        some + more
    )
