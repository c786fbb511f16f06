"""Keep the plausible connected components of each label."""

import numpy as np
from numpy.typing import NDArray

from inference.manifest import ComponentRule


def clean(
    labels: NDArray[np.uint8],
    rules: tuple[ComponentRule, ...],
    values: dict[str, int],
    voxel_ml: float,
) -> NDArray[np.uint8]:
    """Return `labels` without the components that `rules` drop; they become background.

    Args:
        labels: uint8 [Z, Y, X].
        rules: What to keep of which label; the others are left as they are.
        values: Label values by name.
        voxel_ml: Volume of a voxel in millilitres.
    """
    if not rules:
        return labels
    cleaned = labels.copy()
    for rule in rules:
        mask = labels == values[rule.label]
        inside = _box(mask)
        if inside is not None:
            cleaned[inside][_dropped(mask[inside], rule, voxel_ml)] = 0
    return cleaned


def _dropped(mask: NDArray[np.bool_], rule: ComponentRule, voxel_ml: float) -> NDArray[np.bool_]:
    """Return the voxels of components that the rule does not keep (26-connected)."""
    import cc3d

    # cc3d 4.1 counts on a border: "maximum length exception" for scattered voxels in a thin box.
    components = cc3d.connected_components(np.pad(mask, 1), connectivity=26)[1:-1, 1:-1, 1:-1]
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    if rule.keep == "largest":
        keep = np.arange(sizes.size) == sizes.argmax()
    else:
        keep = sizes * voxel_ml >= (rule.min_ml or 0.0)
    keep[0] = True
    dropped: NDArray[np.bool_] = ~keep[components]
    return dropped


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """Return the smallest box around the True voxels; None if there are none."""
    spans = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not spans[0].size:
        return None
    return tuple(slice(int(s[0]), int(s[-1]) + 1) for s in spans)
