"""`verify --run` for people: a row for each golden map, and the voxels that differ."""

from collections.abc import Iterator
from contextlib import suppress

from rich.table import Table
from rich.text import Text

from imaging.errors import EngineError, KitError
from imaging.fitted_tables import number_column, show_table
from imaging.terminal import terminal, warn
from imaging.words import number_of
from inference.manifest import Manifest
from inference.tools.golden import Golden, GoldenComparison, GoldenMap, read_golden, run_again

ALL = "all"


def compare_with_golden(
    manifest: Manifest, engine: str, precision: str, threads: int
) -> tuple[str, ...]:
    """Label the sample as golden maps were made, print what differs, and return what is wrong.

    Args:
        manifest: The network; its files were checked.
        engine: Golden maps of this engine; "all" of all.
        precision: The same of a precision.
        threads: 0: as many as each map was made with.

    Returns:
        A reason each; nothing if all is as it should be.

    Raises:
        KitError: There is no such golden map, or none can be run here.
    """
    golden = read_golden()
    chosen = [
        made
        for made in golden.maps
        if engine in (ALL, made.engine) and precision in (ALL, made.precision)
    ]
    if not chosen:
        known = ", ".join(f"{made.engine} {made.precision}" for made in golden.maps)
        raise KitError(f"no golden map of {engine} {precision}; there are: {known}")
    rows, refused = _run(chosen, manifest, threads)
    for message in refused:
        warn(message)
    if not rows:
        raise KitError("no golden map can be compared here; the reasons are above")
    show_table(_table(rows, threads, manifest), terminal())
    for row in filter(lambda row: row.differ, rows):
        terminal().print(_explained(row), soft_wrap=True, highlight=False)
    return (*_other_weights(golden, manifest), *_not_expected(rows))


def _run(
    chosen: list[GoldenMap], manifest: Manifest, threads: int
) -> tuple[list[GoldenComparison], list[str]]:
    """Compare the maps that can be run here; say why of the others."""
    rows, refused = [], []
    with terminal(stderr=True).status("label the sample") as status:
        for made in chosen:
            status.update(f"label the sample with {made.engine} in {made.precision}")
            try:
                rows.append(run_again(made, manifest, threads))
            except EngineError as error:
                refused.append(f"{made.engine} {made.precision}: not compared: {error}")
    return rows, refused


def _other_weights(golden: Golden, manifest: Manifest) -> Iterator[str]:
    """Say which weights files are not those that the golden maps were made with."""
    for kind, digest in golden.weights.items():
        with suppress(KeyError):
            if (found := manifest.files[kind].sha256) != digest:
                yield (
                    f"{kind} weights: sha256 {found}, the golden maps were made with {digest}; "
                    "give those, or make the maps again with `flare23 claims --new-weights`"
                )


def _not_expected(rows: list[GoldenComparison]) -> Iterator[str]:
    for row in rows:
        if row.verdict == "not expected":
            voxels = number_of(row.differ, "voxel differs", "voxels differ")
            yield f"{row.golden.engine} {row.golden.precision}: {voxels}, not expected on this CPU"


def _table(rows: list[GoldenComparison], threads: int, manifest: Manifest) -> Table:
    title = f"the sample with {manifest.name}, beside its golden maps"
    numbers = map(number_column, ("threads", "seconds", "voxels", "differ"))
    table = Table("engine", "precision", *numbers, "result", title=title)
    for row in rows:
        table.add_row(
            row.golden.engine,
            row.golden.precision,
            str(threads or row.golden.threads),
            f"{row.seconds:.1f}",
            f"{row.golden.labelled:,}",
            f"{row.differ:,}",
            Text(row.verdict),
        )
    return table


def _explained(row: GoldenComparison) -> str:
    """Say which voxels differ, and why that may be."""
    more = ", …" if row.differ > len(row.first) else ""
    reason = ", ".join(row.unlike) or "same device, instructions, version: they should be equal"
    return (
        f"{row.golden.engine} {row.golden.precision}: {row.share:.3%} of the labelled voxels "
        f"(Z, Y, X): {', '.join(row.first)}{more}; {reason}"
    )
