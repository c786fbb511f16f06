"""A training of the default weights' kind that takes seconds: two abdomens, three stages."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from train.small.compact import PreparedCase, SoftLabels, write_case
from train.small.fit import RECIPE
from train.small.recipe import Contrast, Filling, Lesions, Scanner, Space
from train.synthesis.phantom import phantom

DEFAULT = Path(__file__).parents[3] / "train" / "recipes" / "default_weights.toml"
NAMES = ("one", "two")
STORED_MM = 6.0
STILL = Space(
    rotation_z=0.0,
    rotation_xy=0.0,
    scale=(1.0, 1.0),
    stretch=0.0,
    bend_mm=0.0,
    bend_every_mm=50.0,
    centred=0.0,
    cut=0.0,
    circle=0.0,
)
"""A sample is then a plain crop."""
QUIET = Scanner(*[0.0] * 10)
"""A scanner without any effect."""


def certain(labels):
    """Return labels without uncertainty."""
    return SoftLabels(labels, labels, np.full(labels.shape, 255, np.uint8))


def abdomens():
    """Return two generated abdomens of 30 × 48 × 60 voxels."""
    painted = [phantom(seed, (30, 48, 60), (STORED_MM,) * 3) for seed in range(len(NAMES))]
    return [
        PreparedCase(name, hu.astype(np.float32), certain(labels))
        for name, (hu, labels) in zip(NAMES, painted, strict=True)
    ]


def write_recipe(path, steps=3, features="[4, 8, 8]"):
    """Write the default recipe, made small."""
    text = DEFAULT.read_text(encoding="utf-8")
    start, end = text.index("cases = ["), text.index("[space]")
    lists = (
        'cases = ["one", "two"]\nduodenum_in_stomach = []\nlesions_in_liver = []\n\n'
        "[repeats]\ntwo = 2\n\n"
    )
    changed = {
        "spacing_mm": "[7.0, 7.0, 7.0]",
        "stored_mm": str(STORED_MM),
        "patch": "[16, 24, 24]",
        "features": features,
        "steps": str(steps),
        "horizon": str(steps),
        "cool_down": "1",
        "threads": "1",
        "start_sha256": '""',
    }
    rows = []
    for row in (text[:start] + lists + text[end:]).splitlines():
        key = row.partition(" = ")[0]
        rows.append(f"{key} = {changed.pop(key)}" if key in changed else row)
    assert not changed, "the recipe no longer has these keys"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def without_augmentation(recipe, space=STILL, **fit):
    """Return the recipe with samples that are crops on the stored grid."""
    return replace(
        recipe,
        spacing_mm=(recipe.stored_mm,) * 3,
        space=space,
        contrast=Contrast(0.0, 0.0),
        filling=Filling(0.0, 0.0, 0.0, 0.0),
        lesions=Lesions(0.0, 0.0, 0.0),
        scanner=QUIET,
        fit=replace(recipe.fit, **fit),
    )


def write_prepared(folder, **changes):
    """Write a folder as `train small prepare` does."""
    folder.mkdir(parents=True)
    for case in abdomens():
        write_case(case, folder)
    write_recipe(folder / RECIPE, **changes)
    return folder
