"""Generated abdomens with all that a report has to show, for a look at the page.

`python -m tests.evaluation.sample_report FOLDER` writes FOLDER/fixed and FOLDER/official.
"""

import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

from evaluation.report import write_report
from evaluation.report.scene import Folders
from evaluation.scoring.folders import Scoring, score_folder
from imaging.organs import ORGANS
from tests.evaluation.maps import write_map
from train.synthesis.phantom import phantom

SHAPE, SPACING_MM = (96, 140, 150), (3.0, 2.5, 2.5)
ERRORS_MM = (1.0, 2.0, 3.0, 4.5)


def wobbled(labels, spacing_mm, error_mm, seed):
    """Return `labels`, each voxel taken from a smoothly random place about `error_mm` away."""
    rng = np.random.default_rng(seed)
    places = []
    for axis, (count, mm) in enumerate(zip(labels.shape, spacing_mm, strict=True)):
        noise = ndimage.gaussian_filter(rng.normal(size=labels.shape), [15 / s for s in spacing_mm])
        along = np.arange(count).reshape([-1 if a == axis else 1 for a in range(3)])
        steps = np.rint(noise / noise.std() * error_mm / mm).astype(int)
        places.append(np.clip(along + steps, 0, count - 1))
    return labels[tuple(places)]


def write_case(folders, name, seed, pred, shape=SHAPE, spacing_mm=SPACING_MM):
    """Write a CT and its truth, and what `pred` makes of the truth (None: nothing)."""
    hu, truth = phantom(seed, shape, spacing_mm)
    write_map(hu, folders.images / f"{name}_0000.nii.gz", spacing_mm)
    write_map(truth, folders.truth / f"{name}.nii.gz", spacing_mm)
    if (found := pred(truth.copy())) is not None:
        write_map(found, folders.pred / f"{name}.nii.gz", spacing_mm)


def twelve_cases(root):
    """Write predictions good and bad, one with an unknown label, one missing, one without a CT."""
    folders = Folders(root / "truth", root / "pred", root / "images")
    for seed in range(12):

        def pred(labels, seed=seed):
            found = wobbled(labels, SPACING_MM, ERRORS_MM[seed % 4], seed)
            if seed == 3:
                found[found == ORGANS["gallbladder"]] = 0
            if seed == 5:
                found[found == ORGANS["tumour"]] = ORGANS["liver"]
            if seed == 7:
                found[5:12, 60:66, 60:66] = ORGANS["tumour"]
            if seed == 8:
                found[:2, :2, :2] = 15
            return None if seed == 10 else found

        write_case(folders, f"FLARE23Ts_{seed + 1:04d}", seed, pred)
    (folders.images / "FLARE23Ts_0008_0000.nii.gz").unlink()
    return folders


def main(root):
    """Write the sample's files and reports below `root`."""
    folders = twelve_cases(root)
    for rules in ("fixed", "official"):
        scores = score_folder(
            Scoring(folders.truth, folders.pred, rules, team="generated abdomens", split="made up")
        )
        (root / rules).mkdir(exist_ok=True)
        write_report(
            scores, root / rules / "report.html", folders.truth, folders.pred, folders.images
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
