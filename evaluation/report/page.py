"""The page itself: values for the template, and the file."""

import base64
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

import inference
from evaluation.profiles.profile import FLARE23
from evaluation.report.pictures import PRED_COLOR, TRUTH_COLOR, Picture, draw_planes
from evaluation.report.plots import organ_boxes
from evaluation.report.scene import Folders, read_scene, worst_organs
from evaluation.scoring.annotated import doubt_of, line_of
from evaluation.scoring.fixed import RESAMPLES
from evaluation.scoring.folders import SUFFIX
from evaluation.scoring.healthy import healthy_line
from evaluation.scoring.intervals import Difference
from evaluation.scoring.lesions import LEAST_OVERLAP
from evaluation.scoring.log import log_sentence
from evaluation.scoring.scores import FIGURES, CaseScores, Mean, Scores
from evaluation.scoring.strata import PARTLY
from imaging.errors import in_one_line
from imaging.files import replacing
from viewer.linked import Link, write_linked

_LOW, _HIGH, _DARKEST = 0.5, 0.95, 78
"""DSC or NSD at which a cell is darkest and white; lightness of the darkest in percent."""
_LABEL_TABLES = ("dsc", "nsd")
_NO_LINK = Link(None)


@dataclass(frozen=True)
class Row:
    """One case in the tables."""

    case: CaseScores
    figures: tuple[float | None, ...]
    """By FIGURES."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Worst:
    """One of the worst cases as it is shown."""

    row: Row
    organs: str
    """Those that were scored worst."""
    voxel: str = ""
    """Where the planes meet: x, y, z in the file."""
    remark: str | None = None
    """Why there is no CT behind the outlines, or no picture at all."""
    pictures: tuple[Picture, ...] = ()
    link: Link = _NO_LINK
    """Its page in the viewer."""


def write_report(
    scores: Scores,
    path: Path,
    truth: Path,
    pred: Path,
    images: Path | None,
    worst: int = 6,
    *,
    view: bool = False,
) -> None:
    """Write one self-contained HTML file; the same scores and files give the same bytes.

    With `view` each of the worst cases gets a page of its own too, view/<case>.html beside it.

    Args:
        scores: What to show.
        path: The file.
        truth: Folder of the truths.
        pred: Folder of the predictions.
        images: Folder of the CTs; None draws outlines on shades of the truth.
        worst: How many of the worst cases to draw.
        view: Write pages of them, and link to them; only where there are CTs.

    Raises:
        KitError: The file cannot be written.
    """
    rows, profile = _rows(scores), scores.challenge
    view = view and profile.numbered_as_flare23  # the viewer has FLARE23's names
    folders = Folders(truth, pred, images)
    html = page_templates().get_template("report.html").render(
        scores=scores,
        kit=inference.__version__,
        **_sentences(scores),
        resamples=RESAMPLES,
        least_overlap=LEAST_OVERLAP,
        organs=list(scores.names),
        organ_count=sum(organ not in scores.unannotated for organ in profile.organs),
        tolerance_mm=profile.tolerances_mm,
        figures=FIGURES,
        rows=rows,
        lowest=[_lowest(column) for column in zip(*(row.figures for row in rows), strict=True)],
        labels={metric: _label_table(rows, metric, scores.names) for metric in _LABEL_TABLES},
        boxes={metric: organ_boxes(scores.cases, metric, scores.names) for metric in _LABEL_TABLES},
        worst=[
            _worst(row, folders, scores, path if view and images else None)
            for row in _shown(rows)[:worst]
        ],
        on_images=images is not None,
        colors=(TRUTH_COLOR, PRED_COLOR),
    )  # fmt: skip
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8", errors="backslashreplace")


def _sentences(scores: Scores) -> dict[str, str | None]:
    """Return what is said of the scores in words; None is left out."""
    return {
        "rules": _rules_text(scores),
        "healthy": None if scores.healthy is None else healthy_line(scores.healthy),
        "looks": log_sentence(scores.looks),
        "annotated": line_of(scores),
        "doubt": doubt_of(scores),
        "partly": PARTLY if scores.partly_annotated else None,
    }


def _rules_text(scores: Scores) -> str:
    """Say by which rules the scores are."""
    profile = scores.challenge
    known = profile.left_out if scores.profile != FLARE23.name else ()
    note = f" Not confirmed: {'; '.join(known)}." if known else ""
    if scores.rules == "fixed":
        return (
            f"{profile.challenge}'s measures with the published scorer's quirks mended: a label "
            "that neither map has is not scored, every labelled slice counts, nothing is rounded "
            f"before the means.{note}"
        )
    quirks = ["a label that neither map has counts 1"]
    if profile.axially_cropped:
        quirks.append("the last labelled slice of aorta, vena cava and esophagus does not count")
    if scores.low_dsc:
        quirks.append(f"a DSC under {scores.low_dsc:g} makes the NSD 0")
    if profile.digits:
        quirks.append("means are of rounded values")
    return (
        f"{profile.challenge}'s published scorer to its last digit, quirks included: "
        f"{', '.join(quirks)}.{note}"
    )


def page_templates(*packages: str) -> Environment:
    """Return jinja2 with the templates of some packages, those of this one, and the filters."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (*packages, "evaluation.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        value=_value, signed=_signed, shade=_shade, interval=_interval, share=_share, base64=_base64
    )
    return environment


def _rows(scores: Scores) -> list[Row]:
    """Return the cases: first those without scores, then by organ DSC, then tumour, worst first."""
    everywhere = scores.unannotated  # named once, above the tables
    rows = [
        Row(case, tuple(case.value(*figure) for figure in FIGURES), _notes(case, everywhere))
        for case in scores.cases
    ]
    return sorted(rows, key=lambda row: (bool(row.case.labels), *_rank(row), row.case.case))


def _rank(row: Row) -> tuple[float, float]:
    organs, _, tumour, _ = (1.0 if value is None else value for value in row.figures)
    return organs, tumour


def _notes(case: CaseScores, known: Collection[str]) -> tuple[str, ...]:
    """Return a case's error and warning, and the notes of organs that are not in `known`."""
    notes = [reason for reason in (case.error, case.warning) if reason]
    organs_of: dict[str, list[str]] = {}
    for organ, score in case.labels.items():
        if score.note and score.note not in (case.warning or "") and organ not in known:
            organs_of.setdefault(score.note, []).append(organ)
    for note, organs in organs_of.items():
        which = "all labels" if len(organs) == len(case.labels) else ", ".join(organs)
        notes.append(f"{which}: {note}")
    return tuple(notes)


def _lowest(values: Iterable[float | None]) -> float | None:
    """Return the value that is marked in a column; None where nothing is short of 1."""
    return min((value for value in values if value is not None and value < 1), default=None)


def _label_table(
    rows: Iterable[Row], metric: str, names: Iterable[str]
) -> dict[str, tuple[list[float | None], float | None]]:
    """Return each organ's values in the order of the rows, and the one to mark."""
    table = {}
    for organ in names:
        column = [row.case.value(organ, metric) for row in rows]
        table[organ] = column, _lowest(column)
    return table


def _shown(rows: list[Row]) -> list[Row]:
    """Return the rows that have something wrong to show, worst first."""
    return [row for row in rows if row.figures[0] is not None and worst_organs(row.case)]


def _worst(row: Row, folders: Folders, scores: Scores, report: Path | None) -> Worst:
    """Draw a case; beside `report` write its page in the viewer, where that is wanted."""
    link = _NO_LINK if report is None else _page_of(row.case.case, folders, report)
    organs = worst_organs(row.case)
    organs_dsc = ", ".join(f"{organ} {_value(row.case.labels[organ].dsc)}" for organ in organs)
    try:
        scene = read_scene(row.case, folders, scores.rules, scores.challenge.labels)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
        return Worst(row, organs_dsc, remark=in_one_line(error, row.case.case), link=link)
    voxel = ", ".join(str(index) for index in reversed(scene.stored))
    return Worst(row, organs_dsc, voxel, scene.remark, tuple(draw_planes(scene)), link)


def _page_of(case: str, folders: Folders, report: Path) -> Link:
    ct = (folders.images or folders.truth) / f"{case}_0000.nii.gz"
    pred, truth = (folder / f"{case}{SUFFIX}" for folder in (folders.pred, folders.truth))
    return write_linked(report, case, (ct, pred, truth))


def _value(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def _interval(mean: Mean | Difference, digits: int = 3) -> str:
    if mean.low is None or mean.high is None:
        return ""
    return f"{mean.low:.{digits}f} to {mean.high:.{digits}f}".replace("-", "−")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _shade(value: float | None) -> int:
    """Return the lightness in percent of a cell's background: darker is worse."""
    if value is None:
        return 100
    place = min(1.0, max(0.0, (value - _LOW) / (_HIGH - _LOW)))
    return round(_DARKEST + (100 - _DARKEST) * place)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
