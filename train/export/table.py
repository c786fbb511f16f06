"""Print the parity report as a table."""

from collections.abc import Sequence

from rich.table import Table

from imaging.terminal import terminal
from train.export.parity import LogitAgreement


def show_agreements(rows: Sequence[LogitAgreement]) -> None:
    """Print one line for each engine on stderr."""
    columns = ("engine", "precision", "relative RMS", "largest error", "same label", "held to")
    table = Table(*columns, title="Agreement with torch (eager, f32)")
    for row in rows:
        table.add_row(
            f"{row.engine} {row.version.partition('-')[0]}",
            row.precision,
            f"{row.relative_rms:.1e}",
            f"{row.max_abs:.1e}",
            f"{100 * row.label_agreement:.3f} %",
            "tolerance" if row.held_to_tolerance else "nothing",
        )
    terminal(stderr=True).print(table)
