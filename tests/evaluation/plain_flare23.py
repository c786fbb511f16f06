"""FLARE23's scoring rules written down plainly: what `evaluation.scoring.official` must equal.

One step after the other on whole volumes, with nibabel and the `surface-distance` package, as
the organisers' script works; for its quirks see `evaluation.scoring.official`. Deliberately slow
and without any code of the kit. Run as a program it prints the scores of two folders as JSON.
"""

import json
import sys
import warnings
from pathlib import Path

import nibabel
import numpy as np
import surface_distance

TOLERANCES_MM = {
    1: 5,
    2: 3,
    3: 3,
    4: 5,
    5: 2,
    6: 2,
    7: 2,
    8: 2,
    9: 2,
    10: 3,
    11: 5,
    12: 7,
    13: 3,
    14: 2,
}


def score_arrays(truth, pred, spacing_mm, low_dsc):
    """Return [(DSC, NSD)] of labels 1 to 14 for int8 [X, Y, Z] arrays; ValueError as theirs."""
    rows = []
    for label, tolerance_mm in TOLERANCES_MM.items():
        # Each condition is worked out where it stands, as in the script.
        if np.sum(truth == label) == 0 and np.sum(pred == label) == 0:
            dsc, nsd = 1, 1
        elif np.sum(truth == label) == 0 and np.sum(pred == label) > 0:
            dsc, nsd = 0, 0
        elif np.sum(truth == label) > 0 and np.sum(pred == label) == 0:
            dsc, nsd = 0, 0
        else:
            a, b = truth == label, pred == label
            if label in (5, 6, 10):
                z = np.where(a)[2]
                a, b = a[:, :, z.min() : z.max()], b[:, :, z.min() : z.max()]
                if a.size == 0:
                    raise ValueError(label)
            dsc = surface_distance.compute_dice_coefficient(a, b)
            nsd = 0
            if not dsc < low_dsc:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    surfaces = surface_distance.compute_surface_distances(a, b, spacing_mm)
                nsd = surface_distance.compute_surface_dice_at_tolerance(surfaces, tolerance_mm)
        rows.append((round(dsc, 4), round(nsd, 4)))
    return rows


def score_files(truth, pred, low_dsc):
    """Score two NIfTI files."""
    reference, submission = nibabel.load(truth), nibabel.load(pred)
    spacing_mm = reference.header.get_zooms()[:3]
    truth_map = reference.get_fdata().astype(np.int8)
    pred_map = submission.get_fdata().astype(np.int8)
    if truth_map.shape != pred_map.shape:
        raise AttributeError(f"{truth_map.shape} and {pred_map.shape}")
    return score_arrays(truth_map, pred_map, spacing_mm, low_dsc)


def score_folders(truth, pred, low_dsc):
    """Return the scores by case, the mean of each column, and the two means over organs."""
    cases = {
        path.name: score_files(path, Path(pred) / path.name, low_dsc)
        for path in sorted(Path(truth).glob("*.nii.gz"))
    }
    columns = [
        [round(np.mean([rows[label][metric] for rows in cases.values()]), 4) for label in range(14)]
        for metric in (0, 1)
    ]
    organs = [round(np.mean(column[:13]), 4) for column in columns]
    return {"cases": cases, "means": columns, "organs": organs}


if __name__ == "__main__":
    found = score_folders(sys.argv[1], sys.argv[2], float(sys.argv[3]))
    json.dump(found, sys.stdout, default=float)
