"""`inference plan`: what one CT will take, as a table and as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from imaging.files import replacing
from imaging.terminal import terminal
from imaging.volumes import read_volume
from inference.engines import EngineOptions, open_engine, weights_of
from inference.limits import Limits, Plan, now_s, process_start_s
from inference.manifest import Manifest, verify_weights
from inference.predictor import Predictor, Settings
from inference.report import CaseReport


def plan_on_screen(
    ct: Path, manifest: Manifest, settings: Settings, output: Path | None
) -> tuple[str, ...]:
    """Read and prepare `ct`, time one window, print the table and write `output`.

    Returns:
        The limits that no step keeps.

    Raises:
        KitError: The CT or the network cannot be used.
    """
    report = CaseReport(ct.name.removesuffix("_0000.nii.gz"))
    for kind in weights_of(settings.engine, manifest):
        verify_weights(manifest, kind)
    with report.stage("read"):
        volume = read_volume(ct)
    options = EngineOptions(settings.threads, settings.precision)
    with open_engine(settings.engine, manifest, options) as engine:
        predictor = Predictor(manifest, engine, settings)
        prepared = predictor.prepare(volume, report)
        del volume
        before_s = report.seconds["read"] + report.seconds["prepare"]
        spent_s = now_s() - process_start_s()
        plan = predictor.plan(prepared, settings.limits, spent_s, before_s)
        description = engine.description
    terminal().print(_table(report, plan, settings.limits))
    for warning in report.warnings:
        terminal(stderr=True).print(f"{ct.name}: {warning}", soft_wrap=True, highlight=False)
    if output is not None:
        told = {
            "case": report.case,
            "engine": description,
            "warnings": report.warnings,
            "input_shape": report.input_shape,
            "region": report.region,
            "working_shape": report.working_shape,
            **asdict(plan),
        }
        with replacing(output) as partial:
            partial.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return plan.over


def _table(report: CaseReport, plan: Plan, limits: Limits) -> Table:
    sizes = ("×".join(map(str, shape)) for shape in (report.input_shape, report.working_shape))
    title = "{}: {} voxels, {} on the working grid".format(report.case, *sizes)
    kept = "no limit" if limits.seconds is None else f"the limit is {limits.seconds:g} s"
    caption = (
        f"{plan.spent_s:.1f} s gone, {plan.window_s:.2f} s a window, about {plan.after_s:.1f} s "
        f"after the last; {kept}. At most about {plan.memory_mib:,.0f} MiB."
    )
    table = Table("step", "windows", "seconds, the whole case", "", title=title, caption=caption)
    for choice in plan.choices:
        mark = "taken" if choice == plan.chosen else ""
        table.add_row(f"{choice.step:g}", str(choice.windows), f"{choice.seconds:.1f}", mark)
    return table
