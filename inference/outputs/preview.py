"""A picture of each case, as `python -m inference show` draws it: <case>.png."""

from pathlib import Path

from inference.outputs.names import PREVIEW
from inference.outputs.segments import LabelledCase
from inference.tools.show import write_overlay


def write_preview(case: LabelledCase, outputs: Path) -> tuple[str, ...]:
    """Write <case>.png.

    Raises:
        KitError: The CT cannot be read again, or the picture cannot be written.
    """
    organs = {segment.name: segment.value for segment in case.segments}
    target = outputs / f"{case.name}{PREVIEW}"
    write_overlay(case.volume, case.labels, case.name, target, organs)
    return ()
