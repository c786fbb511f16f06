"""`package` for people: what is under way, the table of steps."""

from rich.table import Table
from rich.text import Text

from evaluation.submission.screen import check_on_screen
from imaging.terminal import terminal
from inference.predictor import Progress
from train.package.packaging import Watcher, package
from train.package.request import Package, PackageRequest

_STYLES = {"done": "green", "warning": "bold yellow", "failed": "bold red", "not asked for": "dim"}


def package_on_screen(request: PackageRequest) -> Package:
    """Package, and print the steps.

    Raises:
        KitError: As `package`.
    """
    console = terminal(stderr=True)

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    done = package(
        request, Watcher(check_on_screen, say, Progress(done=lambda case: say(case.summary)))
    )
    terminal().print(steps_table(done))
    return done


def steps_table(done: Package) -> Table:
    """Return a row for every step: how it ended, how long it took, what was found."""
    table = Table(title=Text(done.archive.name))
    for name in ("step", "outcome"):
        table.add_column(name, no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for step in done.steps:
        outcome = Text(step.outcome, _STYLES[step.outcome])
        table.add_row(step.name, outcome, f"{step.seconds:.1f}", Text(step.found))
    return table
