"""Command line of `train package`."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from imaging.errors import KitError
from inference.manifest import PLAIN_CROPS
from train.package.context import MANIFEST

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_EXPORT = ("fold", "checkpoint", "storage", "crop", "trust_checkpoint")


@click.command()
@click.argument("model", type=_FOLDER)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The archive: <team>.tar.gz, in lower case.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of what is made on the way; by default <team>_package beside the archive.",
)
@click.option("--fold", default="all", show_default=True, help="Which training: a number, or all.")
@click.option("--checkpoint", default="checkpoint_final.pth", show_default=True)
@click.option("--storage", type=click.Choice(["f32", "f16"]), default="f32", show_default=True)
@click.option("--crop", type=click.Choice(PLAIN_CROPS), default="nonzero", show_default=True)
@click.option("--trust-checkpoint", is_flag=True, help="As for `export`.")
@click.option(
    "--calibrate", multiple=True, type=_FILE, help="CT for 8-bit weights; may be repeated."
)
@click.option("--images", type=_FOLDER, help="Labelled CTs on which the 8-bit weights are judged.")
@click.option("--truth", type=_FOLDER, help="Their labels.")
@click.option("--cases", type=_FOLDER, help="CTs that the image is run on, to check it.")
@click.option("--target", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True)
@click.option("--base", help="Image that it is built on; by default python:3.11-slim.")
@click.option(
    "--build-arg",
    "build_args",
    multiple=True,
    metavar="NAME=VALUE",
    help="For the Dockerfile: PIP_INDEX_URL, PIP_CERT, TENSORRT; may be repeated.",
)
@click.option("--network", help="As for `docker build`: host, where that has no bridge.")
@click.option(
    "--checkout",
    default=Path(__file__).parents[2],
    type=_FOLDER,
    help="The kit's own files; by default the folder that this command is in.",
)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
def package(
    model: Path,
    output: Path,
    work: Path | None,
    cases: Path | None,
    target: str,
    checkout: Path,
    network: str | None,
    threads: int,
    **options: Any,
) -> None:
    """Turn MODEL into the archive that is handed in: exported, built, saved, checked.

    MODEL is nnU-Net's result folder, or a bundle that `export` wrote. Needs Docker and a checkout
    of the kit. The image holds MODEL's weights and no others.

    Exit code 1: a step failed; with --cases, also if the archive breaks a rule.
    """
    from inference.pipeline import find_cases
    from train.package.request import Int8Cases, PackageRequest
    from train.package.screen import package_on_screen

    _refuse_unused(model)
    int8 = (options["calibrate"], options["images"], options["truth"])
    if any(int8) and not all(int8):
        raise click.UsageError("--calibrate, --images and --truth go together")
    team = output.name.partition(".")[0]
    request = PackageRequest(
        model=model,
        archive=output,
        work=work or output.with_name(f"{team}_package"),
        checkout=checkout,
        target=target,
        network=network,
        build_arguments=_build_arguments(options["build_args"], options["base"]),
        export={name: options[name] for name in _EXPORT},
        int8=Int8Cases(*int8) if all(int8) else None,
        cases=None if cases is None else find_cases(cases),
        threads=threads,
    )
    done = package_on_screen(request)
    if done.failed:
        raise KitError(f"{done.failed[-1].found}; {output} is there all the same")


def _refuse_unused(model: Path) -> None:
    """Refuse options of the export where there is nothing to export."""
    context = click.get_current_context()
    given = [
        f"--{name.replace('_', '-')}"
        for name in _EXPORT
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given and (model / MANIFEST).is_file():
        raise click.UsageError(
            f"{model} is a bundle, exported already: leave out {', '.join(given)}"
        )


def _build_arguments(words: tuple[str, ...], base: str | None) -> dict[str, str]:
    pairs = [word.partition("=")[::2] for word in words]
    if not all(name for name, _ in pairs) or not all("=" in word for word in words):
        raise click.UsageError("--build-arg is NAME=VALUE")
    return {**dict(pairs), **({} if base is None else {"BASE_IMAGE": base})}
