"""`train audit`: a round's labels as one HTML page, as JSON, and its first rows on screen."""

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from rich.progress import track
from rich.table import Column, Table

import inference
from evaluation.report.pictures import Picture, draw_planes
from evaluation.report.scene import Folders, read_scene, worst_organs
from evaluation.scoring.scores import CaseScores, LabelScore
from imaging.errors import KitError, in_one_line
from imaging.files import make_folder, replacing
from imaging.fitted_tables import show_table
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

_TEMPLATES = ("train.pseudo_labels.audit", "evaluation.report")
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
        KitError: There is no such round, or its stage `fuse` is not done.
    """
    step = run.recipe.step(name)
    files = _files(run, step)
    make_folder(output)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        console = terminal(stderr=True)
        found = pool.map(measure, files.values(), chunksize=4)
        cases = list(track(found, "cases", len(files), console=console, transient=True))
    normals = normals_of(cases)
    ranked = rank_cases(cases, normals)
    pair, page = _compared(run, step), output / "audit.html"
    worst = [
        _shown(row, files[row.measured.case], run, pair, page)
        for row in _worth_drawing(ranked)[:pictures]
    ]
    _write_json(ranked, normals, output / "audit.json")
    html = _environment().get_template("audit.html").render(
        run=run, step=step, ranked=ranked, worst=worst, volumes=draw_volumes(ranked, normals),
        kit=inference.__version__, most_z=MOST_Z, flag=FLAG, pair=pair,
        most=_LISTED,
    )  # fmt: skip
    with replacing(page) as partial:
        partial.write_text(html, encoding="utf-8")
    _show(ranked, name)
    return sum(case.error is not None for case in cases)


def _before(run: Run, step: Round) -> Round | None:
    """Return the round before, whose labels a round of one source is compared with."""
    place = run.recipe.rounds.index(step)
    return run.recipe.rounds[place - 1] if place else None


def _compared(run: Run, step: Round) -> tuple[str, ...]:
    """Name the maps that agreement is between."""
    if len(step.sources) > 1:
        return step.sources
    before = _before(run, step)
    return (f"labels of round {before.name}", f"labels of round {step.name}") if before else ()


def _files(run: Run, step: Round) -> dict[str, Files]:
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
    sources = [run.labels_of(source) for source in step.sources]
    before, earlier = _before(run, step), dict[str, Path]()
    if before:
        earlier = {c.case: run.fused(before, c) for c in cases_of(run.recipe, before, run.cases)}
    found = {}
    for case in cases:
        fused = run.fused(step, case)
        compared = [of[case.case] for of in sources]
        if len(sources) < 2:
            compared = [earlier[case.case], fused] if case.case in earlier else []
        real = None if case.label is None else run.release / case.label
        found[case.case] = Files(case.case, fused, tuple(compared), real, case.annotated)
    return found


def _worth_drawing(ranked: Sequence[Ranked]) -> list[Ranked]:
    """Return the cases in which maps disagree."""
    return [row for row in ranked if any(value < 1 for value in row.measured.agreement.values())]


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


def _environment() -> Environment:
    """Return jinja2 with this page's template, and the style of the report of scores."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    return environment


def _write_json(ranked: Sequence[Ranked], normals: Mapping[str, Normal], path: Path) -> None:
    rows = [{**asdict(row), "worth": None if row.measured.error else row.worth} for row in ranked]
    table = {"labelled": {organ: asdict(one) for organ, one in normals.items()}, "cases": rows}
    write_json(table, path)


def _show(ranked: Sequence[Ranked], name: str) -> None:
    table = Table(
        "case",
        Column("worth", justify="right"),
        "why",
        title=f"{name}: the cases most worth a look",
    )
    for row in ranked[:_ON_SCREEN]:
        worth = "–" if row.measured.error else f"{row.worth:.2f}"
        table.add_row(row.measured.case, worth, "; ".join(row.reasons))
    show_table(table, terminal())
