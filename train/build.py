"""From a recipe and a data folder to an nnU-Net raw dataset."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from inference.files import replacing
from train.anatomy import Anatomy
from train.collection import anatomies, collect
from train.nnunet import TrainingSpec
from train.raw import write_dataset
from train.recipe import Recipe
from train.registration import Bend, fit_bend
from train.synthesis import LabelledCT, synthesize


def build_dataset(recipe: Recipe, data: Path, work: Path) -> int:
    """Write the recipe's raw dataset under `work`/raw; deformations are kept in `work`/bends.

    Returns:
        The number of cases.
    """
    torch.manual_seed(recipe.seed)
    real = collect(recipe, data, work / "pseudo")
    shapes = anatomies(recipe, data)
    bent = [ct for ct in real if ct.name in recipe.bend]
    pairs = [(ct, shape) for ct in bent for shape in shapes]
    bends = [
        (ct, shape, _bend(ct, shape, work / "bends"))
        for ct, shape in track(pairs, description="bend", transient=True)
    ]
    variants = (recipe.variants.repainted, recipe.variants.bent)
    total = len(real) * (1 + variants[0]) + len(bends) * variants[1]
    cases: Iterator[LabelledCT] = synthesize(real, bends, variants, recipe.shares, recipe.seed)
    return write_dataset(
        track(cases, description="cases", total=total, transient=True),
        work / "raw" / spec_of(recipe).dataset,
        recipe.synthesis_mm,
    )


def spec_of(recipe: Recipe) -> TrainingSpec:
    """Return the network that `recipe` trains."""
    z, y, x = recipe.spacing_mm
    return TrainingSpec(recipe.name, recipe.seed, (z, y, x), recipe.training)


def _bend(ct: LabelledCT, anatomy: Anatomy, folder: Path) -> Bend:
    """Fit the deformation, or read it where an earlier run left it."""
    path = folder / f"{ct.name}_{anatomy.name}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            return Bend(stored["start"], stored["field"], float(stored["overlap"]))
    bend = fit_bend(ct.labels, anatomy.labels)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, start=bend.start, field=bend.field, overlap=bend.overlap)
    return bend
