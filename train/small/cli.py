"""Command line of `train small`: the steps that make the default weights."""

from pathlib import Path

import click


@click.group()
def small() -> None:
    """Make the default weights from few CTs and fresh samples."""


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_RECIPE = click.argument("recipe", type=_FILE)
_DATA = click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with ct/ and truth/.",
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
    default=Path(__file__).parents[1] / "teachers" / "flare25_student.json",
    type=_FILE,
    help="Manifest of the external source.",
)
@click.option("--weights", required=True, type=click.Path(path_type=Path), help="Its ONNX file.")
def label(recipe: Path, data: Path, work: Path, teacher: Path, weights: Path) -> None:
    """Ask the first external source, several views of each CT: WORK/soft."""
    from train.small.prepare import label_cases
    from train.small.recipe import load_small_recipe
    from train.small.screen import counted

    loaded = load_small_recipe(recipe)
    with counted("label", len(loaded.cases)) as done:
        label_cases(loaded, data, work, teacher, weights, done)


@small.command()
@_RECIPE
@_DATA
@_WORK
@click.option(
    "--weights",
    required=True,
    type=_FILE,
    help="Keras file of the lesion network in pyliverlesionseg 0.3.",
)
def lesions(recipe: Path, data: Path, work: Path, weights: Path) -> None:
    """Ask the second external source for lesions in the livers that RECIPE names: WORK/lesions."""
    from train.small.prepare import find_lesions_of_cases
    from train.small.recipe import load_small_recipe
    from train.small.screen import counted

    loaded = load_small_recipe(recipe)
    with counted("lesions", len(loaded.lesions_in_liver)) as done:
        find_lesions_of_cases(loaded, data, work, weights, done)


@small.command()
@_RECIPE
@_DATA
@_WORK
def prepare(recipe: Path, data: Path, work: Path) -> None:
    """Merge CTs, real labels and both sources: WORK/prepared, all that `fit` needs."""
    from train.small.prepare import prepare as merge
    from train.small.recipe import load_small_recipe
    from train.small.screen import counted

    with counted("prepare", len(load_small_recipe(recipe).cases)) as done:
        folder = merge(recipe, data, work, done)
    size = sum(path.stat().st_size for path in folder.iterdir())
    click.echo(f"{folder}: {size / 1e6:.1f} MB")


@small.command()
@_WORK
@click.option("--device", default="cpu", type=click.Choice(["cpu", "cuda"]), show_default=True)
@click.option(
    "--start",
    type=_FILE,
    help="ONNX file of the weights that the recipe starts from, where it names one.",
)
def fit(work: Path, device: str, start: Path | None) -> None:
    """Train on WORK/prepared, or go on where a stopped training left off: WORK/results."""
    from train.small.screen import fit_on_screen

    click.echo(fit_on_screen(work, device, start))


@small.command()
@_RECIPE
@_WORK
@click.option("--weights", required=True, type=_FILE, help="ONNX file of RECIPE's network.")
def nnunet(recipe: Path, work: Path, weights: Path) -> None:
    """Write exported weights as nnU-Net has them, for nnUNetv2_predict: WORK/results."""
    from train.small.fit import results_of
    from train.small.recipe import load_small_recipe

    click.echo(results_of(load_small_recipe(recipe), weights, work / "results"))
