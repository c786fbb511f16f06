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
    import cc3d

    found = cc3d.statistics(labels)  # counts and boxes of all labels in one pass
    cleaned = labels.copy()
    for rule in rules:
        value = values[rule.label]
        if value < len(found["voxel_counts"]) and found["voxel_counts"][value]:
            inside = found["bounding_boxes"][value]
            cleaned[inside][_dropped(labels[inside] == value, rule, voxel_ml)] = 0
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
