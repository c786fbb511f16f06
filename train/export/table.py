"""Print the parity report as a table."""

from collections.abc import Sequence

from rich.table import Table

from imaging.fitted_tables import show_table
from imaging.terminal import terminal
from train.export.parity import LogitAgreement


def show_agreements(rows: Sequence[LogitAgreement]) -> None:
    """Print one line for each engine on stderr."""
    table = Table(title="Agreement with torch (eager, f32)")
    for heading in ("engine", "precision"):
        table.add_column(heading)
    for heading in ("relative RMS", "largest error", "same label"):
        table.add_column(heading, justify="right")
    table.add_column("held to")
    for row in rows:
        table.add_row(
            f"{row.engine} {row.version.partition('-')[0]}",
            row.precision,
            f"{row.relative_rms:.1e}",
            f"{row.max_abs:.1e}",
            f"{100 * row.label_agreement:.3f} %",
            "tolerance" if row.held_to_tolerance else "nothing",
        )
    show_table(table, terminal(stderr=True))
