"""Cases made in the tests."""

import numpy as np

from tests.evaluation.maps import write_map
from train.synthesis.phantom import phantom

SHAPE, SPACING_MM = (40, 44, 52), (8.0, 7.0, 7.0)
LPS = {"LPS": np.eye(3), "RAS": np.diag([-1.0, -1, 1])}


def write_case(root, name="a", truth=True, shape=SHAPE, spacing_mm=SPACING_MM, turn=lambda x: x):
    """Write an abdomen: its CT, its organs as prediction, and a truth that lies a voxel off.

    `turn` changes every array before it is written: axes to Superior, Posterior, Left.
    """
    hu, labels = phantom(1, shape, spacing_mm)
    paths = [root / f"{name}_0000.nii.gz", root / "pred" / f"{name}.nii.gz"]
    write_map(turn(hu), paths[0], spacing_mm)
    write_map(turn(labels), paths[1], spacing_mm)
    if truth:
        paths.append(root / "truth" / f"{name}.nii.gz")
        write_map(turn(np.roll(labels, 1, 2)), paths[2], spacing_mm)
    return paths
