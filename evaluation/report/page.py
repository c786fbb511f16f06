"""The page itself: values for the template, and the file."""

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

import inference
from evaluation.organs import TOLERANCE_MM, TUMOUR
from evaluation.report.pictures import Folders, picture, worst_organs
from evaluation.report.plots import organ_boxes
from evaluation.scores import CaseScores, Mean, Scores, organ_mean
from inference.errors import KitError
from inference.files import replacing
from inference.organs import ORGANS

_RULES = {
    "official": "FLARE23's published scorer to its last digit, quirks included: a label that "
    "neither map has counts 1, the last labelled slice of aorta, vena cava and esophagus does not "
    "count, and a DSC under {low_dsc:g} makes the NSD 0.",
    "fixed": "FLARE23's measures with the published scorer's quirks mended: a label that neither "
    "map has is not scored, every labelled slice counts, nothing is rounded. Intervals are 95 %, "
    "from 2,000 draws of the cases with replacement.",
}
_LOW, _HIGH = 0.5, 0.95
"""DSC or NSD at which a cell is darkest, and white."""


@dataclass(frozen=True)
class Worst:
    """One of the worst cases as it is shown."""

    case: str
    told: str
    png: str | None
    """Base64; None where `reason` says why there is none."""
    reason: str | None = None


def write_report(
    scores: Scores,
    path: Path,
    truth: Path,
    pred: Path,
    images: Path | None,
    worst: int = 6,
) -> None:
    """Write one self-contained HTML file; the same scores and files give the same bytes.

    Args:
        scores: What to show.
        path: The file.
        truth: Folder of the truths.
        pred: Folder of the predictions.
        images: Folder of the CTs; None draws contours on plain grey.
        worst: How many of the worst cases to draw.

    Raises:
        KitError: The file cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(value=_value, shade=_shade, interval=_interval, share=_share)
    html = environment.get_template("report.html").render(
        scores=scores,
        kit=inference.__version__,
        rules=_RULES[scores.rules].format(low_dsc=scores.low_dsc),
        organs=list(ORGANS),
        tumour=TUMOUR,
        tolerance_mm=TOLERANCE_MM,
        rows=[(case, _summary(case)) for case in scores.cases],
        lowest=_lowest(scores.cases),
        boxes=organ_boxes(scores.cases),
        worst=_worst_cases(scores.cases, Folders(truth, pred, images), worst),
        on_images=images is not None,
    )
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8")


def _summary(case: CaseScores) -> dict[str, float | None]:
    """Return the four figures of a case's row."""
    tumour = case.labels.get(TUMOUR)
    return {
        "organ DSC": organ_mean(case, "dsc"),
        "organ NSD": organ_mean(case, "nsd"),
        "tumour DSC": tumour.dsc if tumour else None,
        "tumour NSD": tumour.nsd if tumour else None,
    }


def _lowest(cases: tuple[CaseScores, ...]) -> dict[str, float]:
    """Return the lowest value of each of those figures: it is marked."""
    found: dict[str, float] = {}
    for case in cases:
        for name, value in _summary(case).items():
            if value is not None:
                found[name] = min(value, found.get(name, value))
    return {name: value for name, value in found.items() if value < 1}


def _worst_cases(cases: tuple[CaseScores, ...], folders: Folders, count: int) -> list[Worst]:
    """Draw the cases with the lowest mean organ DSC, of equal ones the lower tumour DSC first."""
    ranked = []
    for case in cases:
        figures = _summary(case)
        organs, tumour = figures["organ DSC"], figures["tumour DSC"]
        if organs is not None and worst_organs(case):
            ranked.append((organs, 1.0 if tumour is None else tumour, case.case, case))
    ranked.sort(key=lambda row: row[:3])
    return [_worst(row[3], folders) for row in ranked[:count]]


def _worst(case: CaseScores, folders: Folders) -> Worst:
    organs = worst_organs(case)
    told = ", ".join(f"{organ} {case.labels[organ].dsc:.3f}" for organ in organs)
    try:
        png = base64.b64encode(picture(case, organs, folders)).decode("ascii")
    except KitError as error:
        return Worst(case.case, told, None, str(error))
    return Worst(case.case, told, png)


def _value(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(mean: Mean, digits: int = 3) -> str:
    if mean.low is None or mean.high is None:
        return ""
    return f"{mean.low:.{digits}f} to {mean.high:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _shade(value: float | None) -> int:
    """Return the lightness in percent of a cell's background: darker is worse."""
    if value is None:
        return 100
    place = min(1.0, max(0.0, (value - _LOW) / (_HIGH - _LOW)))
    return round(78 + 22 * place)
