"""`package` for people: what is under way, the table of steps."""

from rich.table import Table
from rich.text import Text

from evaluation.submission.screen import check_submission_on_screen
from imaging.fitted_tables import show_table
from imaging.terminal import terminal
from inference.predictor import Progress
from train.package.packaging import Watcher, make_package
from train.package.request import Package, PackageRequest

_STYLES = {"done": "green", "warning": "bold yellow", "failed": "bold red", "not asked for": "dim"}


def package_on_screen(request: PackageRequest) -> Package:
    """Package, and print the steps.

    Raises:
        KitError: As `make_package`.
    """
    console = terminal(stderr=True)

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    progress = Progress(done=lambda case: say(case.summary))
    done = make_package(request, Watcher(check_submission_on_screen, say, progress))
    show_steps(done)
    return done


def show_steps(done: Package) -> None:
    """Print a row for every step: how it ended, how long it took, what was found."""
    table = Table(title=Text(done.archive.name))
    for name in ("step", "outcome"):
        table.add_column(name, no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for step in done.steps:
        outcome = Text(step.outcome, _STYLES[step.outcome])
        table.add_row(step.name, outcome, f"{step.seconds:.1f}", Text(step.found))
    show_table(table, terminal())
