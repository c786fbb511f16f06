"""The commands that made the default weights, one after the other: `train small`."""

import json
from pathlib import Path

import click


@click.group()
def small() -> None:
    """Make the default weights from few CTs and many synthetic ones."""


_RECIPE = click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_DATA = click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with ct/, truth/ and labels/.",
)
_WORK = click.option(
    "--work", required=True, type=click.Path(path_type=Path), help="Folder of this run's files."
)


@small.command()
@_RECIPE
@_DATA
@_WORK
@click.option(
    "--teacher",
    default=Path(__file__).parent / "teachers" / "flare25_student.json",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Manifest of the external source.",
)
@click.option("--weights", required=True, type=click.Path(path_type=Path), help="Its ONNX file.")
def label(recipe: Path, data: Path, work: Path, teacher: Path, weights: Path) -> None:
    """Label the real CTs of RECIPE with an external network: WORK/pseudo."""
    from train.label import label_cases
    from train.recipe import load_recipe

    label_cases(load_recipe(recipe), data, work, teacher, weights)


@small.command()
@_RECIPE
@_DATA
@_WORK
def synthesize(recipe: Path, data: Path, work: Path) -> None:
    """Write the training cases of RECIPE as an nnU-Net raw dataset: WORK/raw."""
    from train.build import build_dataset
    from train.recipe import load_recipe

    count = build_dataset(load_recipe(recipe), data, work)
    click.echo(json.dumps({"cases": count}))


@small.command()
@_RECIPE
@_WORK
def prepare(recipe: Path, work: Path) -> None:
    """Fingerprint, plan and preprocess with nnU-Net's commands: WORK/preprocessed."""
    from train.build import spec_of
    from train.nnunet import prepare as prepare_dataset
    from train.recipe import load_recipe

    prepare_dataset(spec_of(load_recipe(recipe)), work)


@small.command()
@_WORK
@click.option("--device", default="cpu", type=click.Choice(["cpu", "cuda"]), show_default=True)
def fit(work: Path, device: str) -> None:
    """Train with nnU-Net, or go on where a stopped training left off: WORK/results."""
    from train.nnunet import fit as fit_network

    fit_network(work.resolve(), device)
