"""The command `efficiency`."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from evaluation.options import (
    GPU_INDEX,
    MEMORY_LIMIT,
    OUTPUT,
    PATH,
    PROFILE,
    SPLIT,
    TIME_LIMIT,
    TIMEOUT,
)
from imaging.errors import KitError
from imaging.words import number_of


@click.command()
@click.option("--inputs", required=True, type=PATH, help="Folder of <case>_0000.nii.gz.")
@OUTPUT
@click.option("--image", help="NAME of a loaded image, or its archive NAME.tar.gz.")
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--warm", is_flag=True, help="Label all cases in one process, too: the first and later ones."
)
@PROFILE
@TIMEOUT
@TIME_LIMIT
@MEMORY_LIMIT
@GPU_INDEX
@click.option("--team", default="", help="Whose it is. By default the image's or OUTPUT's name.")
@SPLIT
@click.argument("command", nargs=-1)
@click.pass_context
def efficiency(
    ctx: click.Context,
    inputs: Path,
    output: Path,
    image: str | None,
    repeat: int,
    warm: bool,
    profile: Any,
    timeout: float | None,
    time_limit: float | None,
    memory_limit: float | None,
    gpu_index: int,
    team: str,
    split: str | None,
    command: tuple[str, ...],
) -> None:
    """Time COMMAND or an image on one case at a time, as the challenge does.

    COMMAND stands after `--`. It runs in a fresh folder that shows everything in the current one
    but has its own `inputs` and `outputs`; {inputs} and {outputs} in it become their paths.

    Exit code 1: a run failed or wrote no label map; the others are done.
    """
    if (image is None) == (not command):
        raise click.UsageError("give either --image or, after --, the command to time")
    from evaluation.efficiency.protocol import Protocol, subject_of
    from evaluation.efficiency.results import limits_of, timeout_of
    from evaluation.efficiency.screen import evaluate_on_screen
    from inference.pipeline import find_cases

    if profile is not None:  # what nobody gave is the profile's
        timeout, time_limit, memory_limit = _without_defaults(
            ctx, timeout=timeout, time_limit=time_limit, memory_limit=memory_limit
        )
    limits = limits_of(profile, time_limit, memory_limit)
    settings = Protocol(repeat, timeout_of(profile, timeout), limits)
    cases = find_cases(inputs)
    subject = subject_of(command, image, gpu_index)
    name = team or (subject.image.team if subject.image else output.resolve().name)
    report = evaluate_on_screen(
        cases, output, subject, settings, team=name, split=split, profile=profile, warm=warm
    )
    if report.together is not None and report.together.error:
        raise KitError(f"all cases in one process: {report.together.error}")
    if report.failed:
        cases_text = number_of(len(report.cases), "case")
        raise KitError(f"{len(report.failed)} of {cases_text} failed; see above")


def _without_defaults(ctx: click.Context, **values: float | None) -> list[float | None]:
    """Return the values of options, with None for those that the user did not give."""
    default = ParameterSource.DEFAULT
    return [None if ctx.get_parameter_source(k) is default else v for k, v in values.items()]
