"""`train audit`: a round's labels as one HTML page, as JSON, and its first rows on screen."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.progress import track
from rich.table import Column, Table

import inference
from evaluation.report.page import page_templates
from evaluation.report.pictures import Picture, draw_planes
from evaluation.report.scene import Folders, read_scene, worst_organs
from evaluation.scoring.scores import CaseScores, LabelScore
from imaging.errors import KitError, in_one_line
from imaging.files import make_folder, replacing
from imaging.fitted_tables import show_table
from imaging.processes import in_processes
from imaging.records import write_json
from imaging.terminal import terminal
from train.data.anatomy import IGNORE
from train.pseudo_labels.audit.figure import draw_volumes
from train.pseudo_labels.audit.measure import Files, measure
from train.pseudo_labels.audit.ranking import FLAG, MOST_Z, Normal, Ranked, normals_of, rank_cases
from train.rounds.graph import cases_of
from train.rounds.recipe import Round
from train.rounds.run import Run
from viewer.linked import Link, write_linked

_ON_SCREEN = 10
_LISTED = 15
"""Rows of the page that are seen at once."""


@dataclass(frozen=True)
class Shown:
    """A case that is shown with pictures."""

    row: Ranked
    organs: str
    remark: str | None
    pictures: tuple[Picture, ...]
    link: Link
    """Its page in the viewer."""


def audit_round(run: Run, name: str, output: Path, jobs: int, pictures: int = 6) -> int:
    """Measure the labels that a round is trained on; write audit.html and audit.json.

    Each case that is shown with pictures has a page of its own too, view/<case>.html.

    Args:
        run: The run.
        name: Which of its rounds.
        output: Folder for both files.
        jobs: Cases that are read at once.
        pictures: How many of the cases most worth a look are shown with pictures.

    Returns:
        The number of cases that could not be read.

    Raises:
        KitError: There is no such round, or its stage `fuse` is not done; or the system ended one
            of the processes.
    """
    step = run.recipe.step(name)
    compared = _compared(run, step)
    files = _files(run, step, compared.values())
    make_folder(output)
    found = in_processes(measure, [*files.values()], jobs)
    console = terminal(stderr=True)
    cases = list(track(found, "cases", len(files), console=console, transient=True))
    normals = normals_of(cases)
    ranked = rank_cases(cases, normals)
    pair, page = tuple(compared), output / "audit.html"
    disagreeing = [row for row in ranked if min(row.measured.agreement.values(), default=1) < 1]
    worst = [
        _shown(row, files[row.measured.case], run, pair, page) for row in disagreeing[:pictures]
    ]
    _write_json(ranked, normals, output / "audit.json")
    html = page_templates("train.pseudo_labels.audit").get_template("audit.html").render(
        run=run, step=step, ranked=ranked, worst=worst, volumes=draw_volumes(ranked, normals),
        kit=inference.__version__, most_z=MOST_Z, flag=FLAG, pair=pair,
        most=_LISTED,
    )  # fmt: skip
    with replacing(page) as partial:
        partial.write_text(html, encoding="utf-8")
    _show(ranked, name)
    return sum(case.error is not None for case in cases)


def _compared(run: Run, step: Round) -> dict[str, dict[str, Path]]:
    """Return the maps that agreement is between, by their name and case.

    Those of a round's sources; where it has one source or none, its own and the round's before it.
    """
    if len(step.sources) > 1:
        return {source: run.labels_of(source) for source in step.sources}
    place = run.recipe.rounds.index(step)
    pair = run.recipe.rounds[place - 1 : place + 1] if place else ()
    return {f"labels of round {one.name}": run.fused_labels(one) for one in pair}


def _files(run: Run, step: Round, maps: Collection[Mapping[str, Path]]) -> dict[str, Files]:
    """Return every case's files.

    Raises:
        KitError: The round's labels are not there yet.
    """
    cases = cases_of(run.recipe, step, run.cases)
    if not (run.folder / step.name / "fuse").is_dir():
        raise KitError(
            f"round {step.name!r} has no labels in {run.folder}; run its stage fuse first: "
            f"python -m train stage fuse … --round {step.name}"
        )
    found = {}
    for case in cases:
        name, everywhere = case.case, all(case.case in of for of in maps)
        compared = tuple(of[name] for of in maps) if everywhere else ()
        real = None if case.label is None else run.release / case.label
        found[name] = Files(name, run.fused(step, case), compared, real, case.annotated)
    return found


def _shown(row: Ranked, files: Files, run: Run, pair: tuple[str, ...], page: Path) -> Shown:
    """Draw the place where the two first maps of a case disagree most; write its page."""
    labels = {organ: LabelScore(dsc=value) for organ, value in row.measured.agreement.items()}
    case = CaseScores(files.case, labels)
    text = ", ".join(f"{organ} {labels[organ].dsc:.2f}" for organ in worst_organs(case))
    image = next(one.image for one in run.cases if one.case == files.case)
    first, second = files.compared[:2]
    folders = Folders(first.parent, second.parent, (run.release / image).parent)
    maps = (run.release / image, second, first)
    link = write_linked(page, files.case, maps, (pair[1], pair[0]), {IGNORE: "ignored"})
    try:
        scene = read_scene(case, folders, "official")
    except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
        return Shown(row, text, in_one_line(error, files.case), (), link)
    return Shown(row, text, scene.remark, tuple(draw_planes(scene)), link)


def _write_json(ranked: Sequence[Ranked], normals: Mapping[str, Normal], path: Path) -> None:
    rows = [{**asdict(row), "worth": None if row.measured.error else row.worth} for row in ranked]
    table = {"labelled": {organ: asdict(one) for organ, one in normals.items()}, "cases": rows}
    write_json(table, path)


def _show(ranked: Sequence[Ranked], name: str) -> None:
    title = f"{name}: the cases most worth a look"
    table = Table("case", Column("worth", justify="right"), "why", title=title)
    for row in ranked[:_ON_SCREEN]:
        worth = "–" if row.measured.error else f"{row.worth:.2f}"
        table.add_row(row.measured.case, worth, "; ".join(row.reasons))
    show_table(table, terminal())
