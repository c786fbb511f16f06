"""Options of the commands that time a submission."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evaluation.efficiency.results import ChallengeLimits
    from evaluation.profiles.profile import Profile

HOUR_S = 3600.0
"""What FLARE22 counted for a container that hangs."""

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


def limits_of(
    profile: "Profile | None", time_limit: float | None, memory_limit: float | None
) -> "ChallengeLimits":
    """Return the limits that the options and a profile say; the options come first."""
    from evaluation.efficiency.results import ChallengeLimits

    limits = ChallengeLimits()
    if profile is not None:
        known = profile.limits
        ram_mib = None if known.ram_gib is None else 1024 * known.ram_gib
        limits = ChallengeLimits(known.seconds, known.gpu_mib, ram_mib)
    if time_limit is not None:
        limits = replace(limits, seconds=time_limit)
    return limits if memory_limit is None else replace(limits, gpu_mib=memory_limit)


def timeout_of(profile: "Profile | None", timeout_s: float | None) -> float:
    """Return when a run is killed: by the option, by a profile, or after an hour."""
    if timeout_s is not None:
        return timeout_s
    known = None if profile is None else profile.limits.timeout_s
    return known or HOUR_S
