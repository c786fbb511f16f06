"""Keep the plausible connected components of each label."""

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import foreground_box
from imaging.slab_components import SlabComponents
from inference.manifest import ComponentRule

MUCH_SHARE, MUCH_ML = 0.25, 1.0
"""A rule removed much: at least this share of an organ, and at least this volume."""


def clean(
    labels: NDArray[np.uint8],
    rules: tuple[ComponentRule, ...],
    values: dict[str, int],
    voxel_ml: float,
) -> dict[str, float]:
    """Set the components that `rules` drop to background.

    Components are 26-connected; all labels are divided in one pass over the box that they fill.

    Args:
        labels: uint8 [Z, Y, X], changed in place.
        rules: What to keep of which label; the others are left as they are.
        values: Label values by name.
        voxel_ml: Volume of a voxel in millilitres.

    Returns:
        The volume that each rule removed in millilitres, by the label's name.
    """
    removed_ml = {rule.label: 0.0 for rule in rules}
    box = foreground_box(labels)
    if box is None or not rules:
        return removed_ml
    components = SlabComponents(labels[box])
    gone = np.zeros(components.sizes.size, np.bool_)
    for rule in rules:
        mine = np.flatnonzero(components.labels == values[rule.label])
        dropped = mine[_implausible(components.sizes[mine], rule, voxel_ml) & ~gone[mine]]
        gone[dropped] = True
        removed_ml[rule.label] += float(components.sizes[dropped].sum()) * voxel_ml
    components.erase(gone)
    return {name: round(ml, 3) for name, ml in removed_ml.items()}


def much_removed(removed_ml: dict[str, float], left_ml: dict[str, float]) -> tuple[str, ...]:
    """Return a warning for the labels of which the rules removed much.

    The rules are right if the network found an organ in a wrong place, and wrong if an organ is in
    pieces.

    Args:
        removed_ml: As `clean` returns it.
        left_ml: Volumes afterwards, by label.
    """
    much = [
        f"{name} ({ml:.1f} of {ml + left_ml[name]:.1f} ml)"
        for name, ml in removed_ml.items()
        if ml >= MUCH_ML and ml >= MUCH_SHARE * (ml + left_ml[name])
    ]
    if not much:
        return ()
    return (f"component rules took much away: {', '.join(much)}; --no-clean keeps it",)


def _implausible(
    sizes: NDArray[np.int64], rule: ComponentRule, voxel_ml: float
) -> NDArray[np.bool_]:
    """Say which components of one label, of `sizes` voxels, the rule drops."""
    if rule.keep == "largest":
        dropped = np.ones(sizes.size, dtype=np.bool_)
        dropped[sizes.argmax() if sizes.size else slice(0)] = False
        return dropped
    return sizes * voxel_ml < (rule.min_ml or 0.0)
