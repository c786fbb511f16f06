"""`inference estimate`: the estimated time and memory of one CT, as a table and as JSON."""

from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from imaging.fitted_tables import show_table
from imaging.records import write_json
from imaging.terminal import terminal, warn
from inference.ct import opened_ct
from inference.limits import Estimate, estimate_case
from inference.manifest import Manifest
from inference.report import CaseReport, now_s, process_start_s
from inference.segmentation import open_predictor
from inference.settings import Settings


def estimate_on_screen(
    ct: Path, manifest: Manifest, settings: Settings, output: Path | None
) -> tuple[str, ...]:
    """Read and prepare `ct`, time one window, print the table and write `output`.

    Args:
        ct: The CT, in any format that `predict` reads.
        manifest: The network.
        settings: What differs from the manifest.
        output: JSON file.

    Returns:
        The limits that no step keeps.

    Raises:
        KitError: The CT or the network cannot be used.
    """
    report = CaseReport(ct.name.removesuffix("_0000.nii.gz"))
    with opened_ct(ct) as source, open_predictor(manifest, settings) as predictor:
        prepared = predictor.prepare_ct(source, report)
        found = estimate_case(predictor, prepared, report, now_s() - process_start_s())
        description = predictor.engine.description
    show_table(_table(report, found, settings.time_limit_s), terminal())
    for warning in report.warnings:
        warn(f"{ct.name}: {warning}")
    if output is not None:
        table = {
            "case": report.case,
            "engine": description,
            "warnings": report.warnings,
            "input_shape": report.input_shape,
            "region": report.region,
            "working_shape": report.working_shape,
            **asdict(found),
        }
        table |= table.pop("costs")
        write_json(table, output, indent=2)
    return found.over


def _table(report: CaseReport, found: Estimate, limit_s: float | None) -> Table:
    sizes = ("×".join(map(str, shape)) for shape in (report.input_shape, report.working_shape))
    costs = found.costs
    title = "{}: {} voxels, {} on the working grid".format(report.case, *sizes)
    kept = "no limit" if limit_s is None else f"the limit is {limit_s:g} s"
    more = f" ({costs.resizing_s:.2f} s more, resampled)" if costs.resizing_s else ""
    caption = (
        f"{costs.spent_s:.1f} s gone, {costs.window_s:.2f} s a window{more}, about "
        f"{costs.after_s:.1f} s after the last; {kept}. At most about {found.memory_mib:,.0f} MiB."
    )
    table = Table(
        "tta", "step", "windows", "seconds, the whole case", "", title=title, caption=caption
    )
    for choice in found.choices:
        mark = "taken" if choice == found.chosen else ""
        table.add_row(
            choice.tta, f"{choice.step:g}", str(choice.windows), f"{choice.seconds:.1f}", mark
        )
    return table
