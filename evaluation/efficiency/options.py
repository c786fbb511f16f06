"""Options of the commands that time a submission."""

import click

GPU_INDEX = click.option(
    "--gpu-index",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Physical GPU; the organisers' script has 1.",
)
TIMEOUT = click.option(
    "--timeout",
    default=3600.0,
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
