"""The option --annotated of `score` and of `train calibrate`."""

from typing import Any

import click


def _read(ctx: click.Context, option: click.Parameter, words: str | None) -> Any:
    from evaluation.scoring.annotated import UnknownLabelError, read_annotated

    try:
        return None if words is None else read_annotated(words)
    except UnknownLabelError as error:
        raise click.BadParameter(str(error), ctx, option) from error


ANNOTATED = click.option(
    "--annotated",
    metavar="FILE|LABELS",
    callback=_read,
    help="What was annotated in the truths: `all`, labels as in `1,2,spleen`, or a cases.json "
    "that says it case by case. By default: what occurs in any of them (calibrate: in each).",
)
