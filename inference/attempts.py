"""Label a prepared case within its limits; once more, where the engine on the GPU fails."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imaging.errors import EngineError
from inference.report import CaseReport

if TYPE_CHECKING:
    from inference.predictor import Predictor, Progress
    from inference.preparing import Prepared


def labelled(
    predictor: "Predictor",
    prepared: "Prepared",
    report: CaseReport,
    progress: "Progress",
    begun_s: float,
) -> NDArray[np.uint8]:
    """Label a prepared CT, with the step that the settings' limits leave.

    If the engine fails and there is another in its place, that one labels the whole CT: no map
    has parts of two. It keeps the following cases too, and the report's warnings say why.

    Args:
        predictor: The network; its engine is exchanged where it fails.
        prepared: What `Predictor.prepare` made.
        report: Filled in.
        progress: Called with every window.
        begun_s: When the case began, on the clock of `now_s`; a time limit counts from there.

    Raises:
        KitError: The network cannot be used.
    """
    known = report.warnings
    try:
        return _attempt(predictor, prepared, report, progress, begun_s)
    except EngineError as error:
        predictor.engine = predictor.instead(error)
        name, precision = (predictor.engine.description[key] for key in ("name", "precision"))
        why = f"{report.engine} failed ({error}); {name} {precision} labelled this case instead"
        report.warnings = (*known, why)
    return _attempt(predictor, prepared, report, progress, begun_s)


def _attempt(
    predictor: "Predictor",
    prepared: "Prepared",
    report: CaseReport,
    progress: "Progress",
    begun_s: float,
) -> NDArray[np.uint8]:
    report.engine = str(predictor.engine.description["name"])
    settings = predictor.settings
    if settings.time_limit_s is None and settings.memory_limit_mib is None:
        return predictor.label(prepared, report, progress)
    from inference.within_limits import label_within_limits  # imported only if there is a limit

    return label_within_limits(predictor, prepared, report, progress, begun_s)
