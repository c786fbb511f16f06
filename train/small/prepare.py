"""Prepare a training: label the CTs with both sources and write the compact folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.errors import KitError
from imaging.files import make_folder
from imaging.geometry import Orientation, Shape, as_shape
from imaging.label_maps import read_label_map
from imaging.resampling import resample_linear, resample_nearest
from imaging.volumes import Volume, read_volume
from inference.engines import EngineOptions, open_engine
from inference.manifest import load_manifest
from inference.pipeline import SUFFIX
from inference.region import region
from train.small.compact import (
    ORIENTATION,
    PreparedCase,
    SoftLabels,
    read_arrays,
    write_arrays,
    write_case,
)
from train.small.fit import RECIPE
from train.small.lesion_network import load_lesion_network
from train.small.lesion_source import find_lesions
from train.small.recipe import SmallRecipe, load_small_recipe
from train.small.targets import LIVER, with_lesions, with_truth
from train.small.teacher import ask

_LIMIT_BYTES = 40_000_000

Report = Callable[[str], None]
"""Called with each case's name when it is done."""


def label_cases(
    recipe: SmallRecipe, data: Path, work: Path, teacher: Path, weights: Path, report: Report
) -> None:
    """Write the teacher's soft labels of every case into `work`/soft; what is there stays.

    Args:
        recipe: Names the cases.
        data: Folder with ct/.
        work: Folder of the run.
        teacher: The external network's manifest.
        weights: Its ONNX file.
        report: Called with each case's name.

    Raises:
        KitError: A case cannot be read or labelled.
    """
    manifest = load_manifest(teacher).with_onnx(weights)
    make_folder(work / "soft")
    with open_engine("openvino", manifest, EngineOptions(0, "bf16")) as engine:
        for case in recipe.cases:
            target = work / "soft" / f"{case}.npz"
            if not target.is_file():
                volume, _, shape = _read(recipe, data, case)
                soft = ask(volume, manifest, engine, shape)
                write_arrays(target, first=soft.first, second=soft.second, share=soft.share)
            report(case)


def find_lesions_of_cases(
    recipe: SmallRecipe, data: Path, work: Path, weights: Path, report: Report
) -> None:
    """Write where the second source finds lesions into `work`/lesions; what is there stays.

    Args:
        recipe: Names the cases whose livers it labels.
        data: Folder with ct/.
        work: Folder of the run, with soft/.
        weights: The Keras file of the lesion network.
        report: Called with each case's name.

    Raises:
        KitError: A case or its first source is missing, or `weights` is another file.
    """
    network = load_lesion_network(weights)
    make_folder(work / "lesions")
    for case in recipe.lesions_in_liver:
        target = work / "lesions" / f"{case}.npz"
        if not target.is_file():
            hu = _hounsfield(recipe, data, case)
            liver = _soft(work / "soft" / f"{case}.npz", as_shape(hu)).first == LIVER
            found = find_lesions(hu, liver, recipe.stored_mm, network)
            write_arrays(target, lesions=found.astype(np.uint8))
        report(case)


def prepare(recipe_file: Path, data: Path, work: Path, report: Report) -> Path:
    """Merge CTs, real labels and both sources into `work`/prepared: all that `fit` needs.

    Args:
        recipe_file: The recipe.
        data: Folder with ct/ and truth/.
        work: Folder of the run, with soft/ and lesions/.
        report: Called with each case's name.

    Raises:
        KitError: A source of a case is missing, or the folder would be too large to carry.
    """
    recipe = load_small_recipe(recipe_file)
    prepared = work / "prepared"
    make_folder(prepared)
    for case in recipe.cases:
        write_case(_merged(recipe, data, work, case), prepared)
        report(case)
    shutil.copyfile(recipe_file, prepared / RECIPE)
    size = sum(path.stat().st_size for path in prepared.iterdir())
    if size > _LIMIT_BYTES:
        raise KitError(
            f"{prepared} holds {size / 1e6:.1f} MB, {_LIMIT_BYTES / 1e6:.0f} are allowed; "
            "take fewer cases or a coarser stored_mm"
        )
    return prepared


def _merged(recipe: SmallRecipe, data: Path, work: Path, case: str) -> PreparedCase:
    """Return a case cut to the patient's body."""
    hu = _hounsfield(recipe, data, case)
    shape = as_shape(hu)
    soft = _soft(work / "soft" / f"{case}.npz", shape)
    truth = data / "truth" / f"{case}.nii.gz"
    if truth.is_file():
        soft = with_truth(soft, _annotated(truth, shape), case in recipe.duodenum_in_stomach)
    if case in recipe.lesions_in_liver:
        soft = with_lesions(soft, hu, _lesions(work, case, shape), recipe.stored_mm)
    box = region("body", hu, (recipe.stored_mm,) * 3, (1, 1, 1)).box
    return PreparedCase(case, hu[box], soft[box])


def _hounsfield(recipe: SmallRecipe, data: Path, case: str) -> NDArray[np.float32]:
    """Return a CT on the stored grid, float32 [Z, Y, X], as prediction resamples it."""
    volume, turn, shape = _read(recipe, data, case)
    return resample_linear(np.ascontiguousarray(turn.apply(volume.hu)), shape)


def _read(recipe: SmallRecipe, data: Path, case: str) -> tuple[Volume, Orientation, Shape]:
    """Return a CT, how it is turned, and its shape on the stored grid."""
    volume = read_volume(data / "ct" / f"{case}{SUFFIX}")
    turn = Orientation.to(ORIENTATION, volume.direction)
    return volume, turn, turn.grid(volume.grid).resampled((recipe.stored_mm,) * 3).shape


def _annotated(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """Return real labels on the stored grid."""
    stored = read_label_map(path)
    turned = Orientation.to(ORIENTATION, stored.place.direction).apply(stored.labels)
    return resample_nearest(np.ascontiguousarray(turned), shape)


def _soft(path: Path, shape: Shape) -> SoftLabels:
    soft = SoftLabels(*read_arrays(path, "label", "first", "second", "share"))
    _refuse_other_shape(path, soft.first, shape, "label again")
    return soft


def _lesions(work: Path, case: str, shape: Shape) -> NDArray[np.bool_]:
    path = work / "lesions" / f"{case}.npz"
    (lesions,) = read_arrays(path, "lesions", "lesions")
    _refuse_other_shape(path, lesions, shape, "ask again")
    return lesions > 0


def _refuse_other_shape(path: Path, stored: NDArray[np.uint8], shape: Shape, advice: str) -> None:
    if stored.shape != shape:
        raise KitError(f"{path}: {stored.shape} voxels, the CT has {shape}; delete it, {advice}")
