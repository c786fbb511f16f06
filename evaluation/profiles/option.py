"""The option --profile of `score` and `efficiency`."""

from typing import Any

import click

from imaging.errors import KitError


def _read(ctx: click.Context, option: click.Parameter, name: str | None) -> Any:
    from evaluation.profiles.profile import load_profile

    try:
        return None if name is None else load_profile(name)
    except KitError as error:
        raise click.BadParameter(str(error), ctx, option) from error


PROFILE = click.option(
    "--profile",
    metavar="NAME",
    callback=_read,
    help="Rules of flare21, flare22, flare23, flare24-organs, flare24-lesions, flare25-organs, "
    "flare25-lesions or flare26-lesions.",
)
