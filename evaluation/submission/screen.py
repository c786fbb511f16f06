"""`submission` for people: progress, the table of rules, the files."""

from dataclasses import replace

from rich.table import Table
from rich.text import Text

from evaluation.efficiency.protocol import Subject
from evaluation.efficiency.results import Efficiency
from evaluation.efficiency.screen import evaluate_on_screen
from evaluation.submission.check import CheckRequest, check
from evaluation.submission.rules import RULES, Status, Submission
from imaging.files import make_folder
from imaging.fitted_tables import show_table
from imaging.terminal import terminal

_STYLE: dict[Status, str] = {"passed": "green", "failed": "bold red", "not checked": "yellow"}
_RUNS = 2


def check_submission_on_screen(request: CheckRequest) -> Submission:
    """Check a submission, print the table, write submission.json and alone/ into `request.output`.

    Raises:
        KitError: There is no such archive, Docker does not answer, or the output cannot be written.
    """
    make_folder(request.output)
    console = terminal(stderr=True)

    def timing(subject: Subject) -> Efficiency:
        settings = replace(request.settings, repeat=_RUNS)
        team = "" if subject.image is None else subject.image.team
        folder = request.output / "alone"
        return evaluate_on_screen(request.cases, folder, subject, settings, team=team, split=None)

    found = check(request, timing, lambda step: console.print(step, highlight=False, markup=False))
    found.write(request.output / "submission.json")
    show_table(rules_table(found), terminal())
    return found


def rules_table(found: Submission) -> Table:
    """Return a row for every rule: what it requires, the result, the reason."""
    seen = [result.status for result in found.results.values()]
    counts = ", ".join(f"{seen.count(status)} {status}" for status in _STYLE)
    title = Text(f"{found.team}: {counts}")
    table = Table("rule", "required", "result", "reason", title=title)
    for rule, result in found.results.items():
        status = Text(result.status, _STYLE[result.status])
        table.add_row(rule, Text(RULES[rule]), status, Text(result.reason))
    return table
