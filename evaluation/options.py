"""Options that several commands share; what reads their values is imported when they are given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from imaging.errors import KitError

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
HOUR_S = 3600.0
"""What FLARE22 counted for a container that hangs."""


def _read_annotated(ctx: click.Context, option: click.Parameter, words: str | None) -> Any:
    from evaluation.scoring.annotated import UnknownLabelError, read_annotated

    try:
        return None if words is None else read_annotated(words)
    except UnknownLabelError as error:
        raise click.BadParameter(str(error), ctx, option) from error


def _load_profile(ctx: click.Context, option: click.Parameter, name: str | None) -> Any:
    from evaluation.profiles.profile import load_profile

    try:
        return None if name is None else load_profile(name)
    except KitError as error:
        raise click.BadParameter(str(error), ctx, option) from error


OUTPUT = click.option("-o", "--output", required=True, type=PATH, help="Folder of the results.")
SPLIT = click.option("--split", help='Which cases, for `compare`: "public validation", "test" …')
ANNOTATED = click.option(
    "--annotated",
    metavar="FILE|LABELS",
    callback=_read_annotated,
    help="What was annotated in the truths: `all`, labels as in `1,2,spleen`, `each` for what each "
    "truth shows, or a cases.json that says it case by case. By default: what occurs in any of "
    "them (calibrate: each).",
)
PROFILE = click.option(
    "--profile",
    metavar="NAME",
    callback=_load_profile,
    help="Rules of flare21, flare22, flare23, flare24-organs, flare24-lesions, flare25-organs, "
    "flare25-lesions or flare26-lesions.",
)
GPU_INDEX = click.option(
    "--gpu-index",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Physical GPU; the organisers' script has 1.",
)
TIMEOUT = click.option(
    "--timeout",
    default=HOUR_S,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds after which a run is killed.",
)
TIME_LIMIT = click.option(
    "--time-limit", default=15.0, show_default=True, type=click.FloatRange(min=0), help="Seconds."
)
MEMORY_LIMIT = click.option(
    "--memory-limit",
    default=4096.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="GPU memory, MiB.",
)


def jobs(what: str) -> Callable[[F], F]:
    """Return the option --jobs: how many of `what` work at once."""
    return click.option(
        "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help=f"{what}."
    )
