"""`claims` for people: the list, the check, repetitions, and what was changed."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from evaluation.claims.adding import Added, add_page
from evaluation.claims.checking import other_inputs, problems, updated
from evaluation.claims.rerun import (
    NEEDS,
    Repeated,
    cannot,
    compared,
    here,
    matching,
    repeated,
    with_new_values,
)
from evaluation.claims.table import (
    Claim,
    ClaimedRun,
    ClaimsTable,
    Given,
    file_values,
    read_claims,
    write_claims,
)
from imaging.digest import file_sha256
from imaging.errors import KitError
from imaging.fitted_tables import show_table
from imaging.terminal import terminal, warn
from imaging.words import number_of

FILE = Path("docs/claims.json")
WEIGHTS = "weights_manifest.json"
"""The input of every run that depends on the default weights."""
_NUMBERS = {"claims", "figure", "new", "old", "tolerance"}
"""Columns of the tables that hold numbers."""
_BUSY = 0.5
"""Load average for each core from which on seconds mean little."""


def list_claims(root: Path, pattern: str) -> list[str]:
    """Print the claims that match, their runs, and what is wrong; return what is wrong.

    Raises:
        KitError: A file cannot be read, or nothing matches.
    """
    table = read_claims(root / FILE)
    shown = _matching(table, pattern)
    if pattern:
        show_table(_claims_table(shown), terminal())
    counts = Counter(claim.run for claim in shown)
    show_table(_runs_table(table, root, counts), terminal())
    for name in filter(lambda name: pattern and name in counts, table.runs):
        line = f"{name}: {table.runs[name].command}"
        terminal().print(line, soft_wrap=True, highlight=False)
    for name, files in other_inputs(table, root).items():
        warn(f"run {name}: {', '.join(files)} changed since {table.runs[name].date}")
    found = list(problems(table, root))
    for line in found:
        warn(line)
    pages = number_of(len(table.covered(root)), "page")
    claims = number_of(len(table.claims), "claim")
    terminal().print(f"{pages} covered, {claims}, {number_of(len(found), 'problem')}")
    return found


def rerun_claims(root: Path, pattern: str, *, keep: bool, only_weights: bool = False) -> list[str]:
    """Repeat the runs of the claims that match; return the claims that do not hold.

    Args:
        root: The repository's root.
        pattern: Words of claims; "": all.
        keep: Put the new values in the place of the old, in claims and pages too.
        only_weights: Only the runs that depend on the default weights and on no idle machine.

    Raises:
        KitError: Nothing matches.
    """
    table = read_claims(root / FILE)
    claims = _matching(table, pattern)
    names = dict.fromkeys(claim.run for claim in claims)
    if only_weights:
        names = {name: None for name in names if WEIGHTS in table.runs[name].inputs}
    possible = []
    for name in names:
        if reason := cannot(table.runs[name], root, idle=not only_weights):
            warn(f"run {name}: not repeated: {reason}")
        else:
            possible.append(name)
    spent_s = sum(table.runs[name].seconds for name in possible)
    warn(f"{number_of(len(possible), 'run')} to repeat, about {spent_s:.0f} s")
    busy = os.getloadavg()[0]
    if busy > _BUSY * len(os.sched_getaffinity(0)):
        warn(f"this machine is busy (load average {busy:.1f}): seconds will be too many")
    table, rows, failed = _repeated(table, root, claims, possible, keep=keep)
    show_table(_rerun_table(rows), terminal())
    held = sum(row.holds for row in rows)
    terminal().print(f"{held} of {number_of(len(rows), 'claim')} held")
    if keep:
        return [*failed, *_save(root, table)]
    return [*failed, *(f"{row.claim.page}: {row.claim.what}" for row in rows if not row.holds)]


@dataclass(frozen=True)
class AddRequest:
    """What `--add` is asked to do."""

    page: str
    """From the repository's root."""
    section: str = ""
    """Words of a heading: only the figures below it."""
    runs: tuple[str, ...] = ()
    """Runs behind its figures; what is in no results file is of the last."""
    command: str = ""
    """What made them, where the last run is new."""
    needs: tuple[str, ...] = ()
    """What a new run needs."""
    inputs: tuple[str, ...] = ()
    """Files of the repository that a new run depends on."""
    given: tuple[str, ...] = ()
    """Figures of the page that nobody measured."""
    why: str = ""
    """What they are instead."""


def add_claims(root: Path, request: AddRequest) -> list[str]:
    """Claim the figures of a page; return those that no run is known for.

    Raises:
        KitError: The page or an input cannot be read, or there is no such run or need.
    """
    table, page = read_claims(root / FILE), request.page
    if request.given:
        if not request.why:
            raise KitError("--given needs --why: what it is, as nobody measured it")
        given = (Given(page, figure, request.why) for figure in request.given)
        table = replace(table, given=(*table.given, *given))
    if request.command:
        table = replace(table, runs={**table.runs, **_new_run(root, request)})
    added = add_page(table, root, page, request.runs, request.section)
    write_claims(added.table, root / FILE)
    _show_added(added, page)
    return [
        f"{page}:{figure.line}: {figure.text} {figure.unit} ({figure.what})"
        for figure in added.left
    ]


def _new_run(root: Path, request: AddRequest) -> dict[str, ClaimedRun]:
    if not request.runs:
        raise KitError("--command is of a new run; give its name with --run")
    if odd := sorted({*request.needs} - {*NEEDS}):
        raise KitError(f"--needs {', '.join(odd)}: choose from {', '.join(NEEDS)}")
    inputs = {name: file_sha256(root / name) for name in request.inputs}
    made = ClaimedRun(request.command, *here(root), inputs=inputs, needs=request.needs)
    return {request.runs[-1]: made}


def update_claims(root: Path) -> list[str]:
    """Write the values of the results files into claims and pages; return what is still wrong."""
    return _save(root, read_claims(root / FILE))


def _save(root: Path, table: ClaimsTable) -> list[str]:
    table, told = updated(table, root)
    write_claims(table, root / FILE)
    for line in told:
        terminal().print(line, soft_wrap=True, highlight=False)
    found = list(problems(table, root))
    for line in found:
        warn(line)
    return found


def _matching(table: ClaimsTable, pattern: str) -> list[Claim]:
    found = matching(table, pattern)
    if not found and pattern:
        raise KitError(f"no claim has {pattern!r}; `flare23 claims` lists the runs")
    return found


def _repeated(
    table: ClaimsTable, root: Path, claims: list[Claim], names: Iterable[str], *, keep: bool
) -> tuple[ClaimsTable, list[Repeated], list[str]]:
    """Repeat runs; return the table, perhaps with the new values, the rows, and what failed."""
    rows: list[Repeated] = []
    failed: list[str] = []
    for name in names:
        mine = [claim for claim in claims if claim.run == name]
        if count := sum(claim.by_hand for claim in mine):
            told = number_of(count, "claim was", "claims were")
            warn(f"run {name}: {told} taken from a page's words, and not compared")
        try:
            with (
                terminal(stderr=True).status(f"repeat {name}"),
                repeated(table, root, name) as made,
            ):
                new = file_values(made)
                rows += compared(table, root, mine, new)
                table = with_new_values(table, root, name, made, new) if keep else table
        except KitError as error:
            warn(str(error))
            failed.append(str(error))
    return table, rows, failed


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    shown = Table(title=title or None)
    for head in heads:
        justify: JustifyMethod = "right" if head in _NUMBERS else "left"
        shown.add_column(head, justify=justify, no_wrap=head == "date")
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def _claims_table(claims: Iterable[Claim]) -> Table:
    rows = (
        (claim.page, claim.what, claim.figure, f"{claim.tolerance:g}", claim.run)
        for claim in claims
    )
    return _table("", ("page", "what", "figure", "tolerance", "run"), rows)


def _runs_table(table: ClaimsTable, root: Path, counts: Counter[str]) -> Table:
    rows = (
        (name, str(counts[name]), run.date, run.machine,
         cannot(run, root) or f"yes, {run.seconds:.0f} s")
        for name, run in table.runs.items()
        if name in counts
    )  # fmt: skip
    heads = ("run", "claims", "date", "machine", "repeated here?")
    return _table("runs behind the figures", heads, rows)


def _rerun_table(repetitions: Iterable[Repeated]) -> Table:
    rows = (
        (one.claim.page, one.claim.what, f"{one.old:.5g}",
         "none" if one.new is None else f"{one.new:.5g}",
         f"{one.claim.tolerance:g}", "yes" if one.holds else "no")
        for one in repetitions
    )  # fmt: skip
    heads = ("page", "what", "old", "new", "tolerance", "within")
    return _table("old and new values", heads, rows)


def _show_added(added: Added, page: str) -> None:
    rows = ((claim.figure, claim.what, f"{claim.run}: {claim.value}") for claim in added.new)
    show_table(_table(f"new claims about {page}", ("figure", "what", "value"), rows), terminal())
    for claim in added.dropped:
        terminal().print(f"dropped: {claim.text} ({claim.what})", soft_wrap=True, highlight=False)


def renew_weights(root: Path) -> list[str]:
    """Make everything anew that depends on the default weights: golden maps, runs, claims, pages.

    Runs that need an idle machine are named, and left to `--rerun PATTERN --keep`.

    Raises:
        KitError: An engine is missing, or a file cannot be written.
    """
    from inference.manifest import load_manifest
    from inference.shipped import DEFAULT_MANIFEST
    from inference.tools.golden import write_golden

    described = load_manifest(DEFAULT_MANIFEST)
    with terminal(stderr=True).status("label the sample with every engine and precision"):
        golden = write_golden(described)
    terminal().print(f"samples/golden: {number_of(len(golden.maps), 'map')} of {described.name}")
    return rerun_claims(root, "", keep=True, only_weights=True)
