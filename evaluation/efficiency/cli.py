"""The command `efficiency`."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from evaluation.efficiency.options import (
    GPU_INDEX,
    MEMORY_LIMIT,
    TIME_LIMIT,
    TIMEOUT,
    limits_of,
    timeout_of,
)
from evaluation.profiles.option import PROFILE
from imaging.errors import KitError
from imaging.words import number_of

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--inputs", required=True, type=_PATH, help="Folder of <case>_0000.nii.gz.")
@click.option("-o", "--output", required=True, type=_PATH, help="Folder of the results.")
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
@click.option("--split", help='Which cases, for `compare`: "public validation", "test" …')
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
    timeout: float,
    time_limit: float,
    memory_limit: float,
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
    from evaluation.efficiency.screen import evaluate_on_screen
    from inference.pipeline import find_cases

    said = {"timeout": timeout, "time_limit": time_limit, "memory_limit": memory_limit}
    if profile is not None:  # what nobody gave is the profile's
        default = ParameterSource.DEFAULT
        said = {k: v for k, v in said.items() if ctx.get_parameter_source(k) is not default}
    limits = limits_of(profile, said.get("time_limit"), said.get("memory_limit"))
    settings = Protocol(repeat, timeout_of(profile, said.get("timeout")), limits)
    cases = find_cases(inputs)
    subject = subject_of(command, image, gpu_index)
    name = team or (subject.image.team if subject.image else output.resolve().name)
    report = evaluate_on_screen(
        cases, output, subject, settings, team=name, split=split, profile=profile, warm=warm
    )
    if report.together is not None and report.together.error:
        raise KitError(f"all cases in one process: {report.together.error}")
    if report.failed:
        raise KitError(
            f"{len(report.failed)} of {number_of(len(report.cases), 'case')} failed; see above"
        )
