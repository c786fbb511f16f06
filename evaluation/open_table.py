"""Tables as most commands of the evaluation print them: few lines, numbers on the right."""

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table
from rich.text import TextType


def numbers(*names: str) -> list[Column]:
    """Return columns of numbers: they stand on the right, and are never folded."""
    return [Column(name, justify="right") for name in names]


def open_table(title: TextType, *columns: Column | str, caption: str | None = None) -> Table:
    """Return an empty table without lines between its columns."""
    return Table(
        *columns,
        title=title,
        caption=caption,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def with_interval(
    value: float, low: float | None, high: float | None, digits: int, *, sign: bool = False
) -> str:
    """Return a figure with its interval, "1.2 (−0.3 to 2.6)", or with `sign` "+1.2 (…".

    Where there is no interval: "1.2 (–)".
    """
    form = f"{'+' if sign else ''}.{digits}f"
    ends = "–" if low is None or high is None else f"{low:{form}} to {high:{form}}"
    return f"{value:{form}} ({ends})".replace("-", "−")
