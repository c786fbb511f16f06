"""What each family of sample changes brings to the default weights.

`python -m benchmarks augmentation WORK`: the recipe of WORK/prepared is trained once as it is and
once without each family, all from the same seed and for the same few steps, without the patients
that are left out. There the labels are compared with the teacher's, organ by organ.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from imaging.errors import KitError
from imaging.fitted_tables import show_table
from imaging.geometry import Shape
from imaging.machine import cpu_name
from imaging.organs import ORGANS
from imaging.overlap import dice_by_label, joint_counts
from imaging.records import read_table, write_json
from imaging.resampling import resample_linear, resample_nearest
from imaging.terminal import terminal, warn
from inference.lattices import logit_slabs
from inference.sliding_window import Window
from train.small.compact import UNKNOWN, PreparedCase, read_case
from train.small.fit import RECIPE, trained
from train.small.recipe import SmallRecipe, load_small_recipe

WHOLE = "all families"
FAMILIES = ("space", "contrast", "filling", "lesions", "scanner")
VARIANTS = (WHOLE, *FAMILIES)
_LEAST_ML = 1.0
"""An organ of which a case shows less is not compared there."""

Floats = NDArray[np.float32]


def benchmark_augmentation(
    work: Path,
    left_out: tuple[str, ...],
    steps: int,
    patch: Shape,
    output: Path,
    only: tuple[str, ...] = (),
) -> None:
    """Train every variant, compare it with the teacher on the cases left out, write and show.

    Args:
        work: Folder of a run of `train small`, with prepared/.
        left_out: Cases that judge and are not trained on: all series of a patient.
        steps: Of each training.
        patch: Voxels (Z, Y, X) of a sample.
        output: JSON file.
        only: The variants to train; what `output` has of the others stays. Empty: all, anew.

    Raises:
        KitError: A case that is left out is none of the recipe's; or `output` is to be completed
            and cannot be read, or is of other settings.
    """
    prepared = work / "prepared"
    recipe = load_small_recipe(prepared / RECIPE)
    if unknown := set(left_out) - set(recipe.cases):
        raise KitError(f"no case of the recipe: {', '.join(sorted(unknown))}")
    facts = {"cpu": cpu_name(), "steps": steps, "patch": [*patch], "left_out": [*left_out]}
    variants = tuple(dict.fromkeys(only)) or VARIANTS
    found = _kept(output, facts) if only else {}
    recipe = _short(recipe, left_out, steps, patch)
    cases = [read_case(prepared / f"{case}.npz") for case in recipe.cases]
    judges = [read_case(prepared / f"{case}.npz") for case in left_out]
    for name in variants:
        start_s = time.monotonic()
        network = trained(without(recipe, name), cases, torch.device("cpu"))
        dice = teacher_dice(network, recipe, judges)
        mean = float(np.mean(list(dice.values())))
        found[name] = {"mean": mean, "dice": dice, "train_s": round(time.monotonic() - start_s)}
        terminal(stderr=True).print(f"{name}: {mean:.3f}")
        ordered = {variant: found[variant] for variant in VARIANTS if variant in found}
        write_json({**facts, "variants": ordered}, output, indent=2)
    _show(found)


def _short(recipe: SmallRecipe, left_out: tuple[str, ...], steps: int, patch: Shape) -> SmallRecipe:
    """Return the recipe of a short training without some cases, from random weights."""
    rest = tuple(case for case in recipe.cases if case not in left_out)
    fit = replace(recipe.fit, steps=steps, horizon=steps, patch=patch, window=(), start_sha256="")
    return replace(recipe, cases=rest, fit=fit)


def _kept(output: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variants that an earlier run wrote; none where there is no such file."""
    if not output.is_file():
        return {}
    table, _ = read_table(output, "benchmark")
    for key, value in facts.items():
        if table.get(key) != value:
            raise KitError(
                f"{output} has {key} {table.get(key)!r}, requested is {value!r}; give another -o, "
                "or leave --only out to train all variants anew"
            )
    return dict(table.get("variants", {}))


def without(recipe: SmallRecipe, family: str) -> SmallRecipe:
    """Return the recipe with one family of changes off; `WHOLE` changes nothing.

    Without "space" samples are still cut at random places, and scans never end within a patch.
    """
    if family == WHOLE:
        return recipe
    group = getattr(recipe, family)
    off: dict[str, Any] = {field.name: 0.0 for field in fields(group)}
    if family == "space":
        off |= {"scale": (1.0, 1.0), "bend_every_mm": group.bend_every_mm, "centred": group.centred}
    if family == "lesions":
        off |= {"centred": group.centred}
    return replace(recipe, **{family: replace(group, **off)})


def teacher_dice(
    network: torch.nn.Module, recipe: SmallRecipe, cases: Iterable[PreparedCase]
) -> dict[str, float]:
    """Return the Dice coefficient of each organ with the teacher's labels, a mean over cases.

    Voxels whose label is unknown are left out; the tumour too: the teacher has none.
    """
    found: dict[str, list[float]] = {}
    for case in cases:
        z, y, x = (
            round(n * recipe.stored_mm / mm)
            for n, mm in zip(case.hu.shape, recipe.spacing_mm, strict=True)
        )
        teacher = resample_nearest(case.labels.first, (z, y, x))
        prediction = labels_of(network, recipe, resample_linear(case.hu, (z, y, x)))
        known = teacher != UNKNOWN
        joint = joint_counts(teacher[known], prediction[known])
        dice, voxels = dice_by_label(joint), joint.sum(axis=1)
        least = 1000 * _LEAST_ML / float(np.prod(recipe.spacing_mm))
        for organ, label in ORGANS.items():
            if organ != "tumour" and voxels[label] >= least:
                found.setdefault(organ, []).append(float(dice[label]))
    return {organ: float(np.mean(values)) for organ, values in found.items()}


def labels_of(network: torch.nn.Module, recipe: SmallRecipe, hu: Floats) -> NDArray[np.uint8]:
    """Return the network's labels, uint8 [Z, Y, X], of a CT on its working grid in HU."""
    fit = recipe.fit
    low, high = fit.clip_hu
    image = (np.clip(hu, low, high) - fit.mean_hu) / fit.std_hu

    def infer(patches: Iterable[Floats]) -> Iterator[Floats]:
        for patch in patches:
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                yield network(torch.from_numpy(patch))[0].float().numpy()

    z, y, x = fit.patch
    window = Window((z, y, x), 0.5, "gaussian", ((),))
    slabs = logit_slabs(image.astype(np.float32), infer, window)
    return np.concatenate([slab.argmax(axis=0).astype(np.uint8) for slab in slabs])


def _show(found: Mapping[str, Any]) -> None:
    """Print organs down, variants across; each family's column is the loss against all of them."""
    if WHOLE not in found:
        warn(f"no table: the file has no {WHOLE!r} to compare with")
        return
    families = [family for family in FAMILIES if family in found]
    table = Table("organ", WHOLE, *(f"- {family}" for family in families))
    whole = found[WHOLE]["dice"]
    for organ, dice in whole.items():
        losses = (found[family]["dice"][organ] - dice for family in families)
        table.add_row(organ, f"{dice:.3f}", *(f"{loss:+.3f}" for loss in losses))
    means = (found[family]["mean"] - found[WHOLE]["mean"] for family in families)
    table.add_row("mean", f"{found[WHOLE]['mean']:.3f}", *(f"{loss:+.3f}" for loss in means))
    show_table(table, terminal())
