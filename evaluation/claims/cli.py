"""The command `claims`."""

from pathlib import Path
from typing import Any

import click

from imaging.errors import KitError
from imaging.words import number_of


@click.command()
@click.argument("pattern", default="")
@click.option("--rerun", is_flag=True, help="Repeat the runs behind the claims; old, new, within?")
@click.option("--keep", is_flag=True, help="With --rerun: put the new values in place of the old.")
@click.option(
    "--add", "page", metavar="PAGE", help="Claim every figure of PAGE, such as README.md."
)
@click.option("--section", default="", help="With --add: only below the heading with these words.")
@click.option("--run", "runs", multiple=True, help="With --add: a run behind it; may be repeated.")
@click.option(
    "--command", default="", help="With --add: what made it, where the last --run is new."
)
@click.option("--needs", multiple=True, help="With --command: data, gpu, hours …; may be repeated.")
@click.option("--input", "inputs", multiple=True, help="With --command: a file it depends on.")
@click.option(
    "--given",
    multiple=True,
    help="With --add: a figure that nobody measured, as '15 s', or '| HEAD': all of that column.",
)
@click.option("--why", default="", help="With --given: what these are instead.")
@click.option("--update", is_flag=True, help="Write the values of results files into the pages.")
@click.option(
    "--new-weights",
    is_flag=True,
    help="After a change of the default weights: golden maps, runs that depend on them, pages.",
)
def claims(
    pattern: str,
    rerun: bool,
    keep: bool,
    page: str | None,
    update: bool,
    new_weights: bool,
    **details: Any,
) -> None:
    """List the figures that README.md and docs/ claim, and say which are wrong or in no claim.

    PATTERN: only claims with these words in page, text or run.

    Exit code 1: a figure is wrong or in no claim, or a repetition is not within its tolerance.
    """
    if sum((rerun, page is not None, update, new_weights)) > 1:
        raise click.UsageError("give one of --rerun, --add, --update and --new-weights")
    from evaluation.claims import screen
    from evaluation.claims.checking import repository

    root = repository(Path.cwd())
    if page is not None:
        if left := screen.add_claims(root, screen.AddRequest(page, **details)):
            raise KitError(f"in no results file, so name their --run: {'; '.join(left)}")
        return
    if rerun:
        odd, what = screen.rerun_claims(root, pattern, keep=keep), "claim does not hold"
    elif new_weights:
        odd, what = screen.renew_weights(root), "problem is left"
    elif update:
        odd, what = screen.update_claims(root), "problem is left"
    else:
        odd, what = screen.list_claims(root, pattern), "figure is wrong or in no claim"
    if odd:
        many = what.replace(" does ", "s do ").replace(" is ", "s are ")
        raise KitError(f"{number_of(len(odd), what, many)}; see above")
