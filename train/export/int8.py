"""Quantize an exported network to 8-bit integers, and refuse it if the DSC falls too much."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import KitError
from inference.manifest import INT8, Manifest, WeightsFile, load_manifest, verify_files
from inference.pipeline import SUFFIX, predict_folder
from inference.predictor import UNSEEN, Progress
from inference.settings import Settings
from train.data.release import LABEL_SUFFIX
from train.export.patches import all_patches

MOST_LOST = 0.001
"""Mean DSC that int8 may lose: 0.1 point."""
PATCHES_A_CASE = 32


@dataclass(frozen=True)
class Gate:
    """What int8 costs on labelled CTs."""

    cases: tuple[str, ...]
    f32_dsc: float
    """Mean over organs, of each one's mean over the cases in which it was annotated."""
    int8_dsc: float
    threads: int


def add_int8(
    manifest: Path,
    calibration: Sequence[Path],
    images: Path,
    truth: Path,
    threads: int,
    progress: Progress = UNSEEN,
) -> Gate:
    """Add 8-bit weights to a bundle, made by NNCF's post-training quantization.

    Activations are calibrated on patches from all over each CT, air and bone too. The manifest is
    written last, and only if mean DSC on the labelled CTs falls by no more than
    `MOST_LOST`.

    Args:
        manifest: The bundle's manifest.
        calibration: CTs, `<case>_0000.nii.gz`.
        images: Folder with the labelled CTs.
        truth: Folder with their labels, `<case>.nii.gz`.
        threads: Of the network; part of what decides the last bits.
        progress: Called as the labelled CTs are segmented, with float32 and with int8.

    Raises:
        KitError: A file is missing or damaged, or int8 loses too much.
    """
    described = load_manifest(manifest)
    verify_files(described)
    cases = _cases(images, truth)
    provenance = {
        "method": "NNCF post-training quantization, mixed preset, transposed ones symmetric",
        "calibration": sorted(path.name.removesuffix(SUFFIX) for path in calibration),
        "versions": {name: version(name) for name in ("nncf", "openvino")},
    }
    with tempfile.TemporaryDirectory(prefix=".int8-", dir=described.folder) as folder:
        stage = Path(folder)
        made = dict(zip(INT8, _write(described, calibration, stage), strict=True))
        files = {kind: file for kind, file in described.files.items() if kind not in INT8}
        tried = {kind: WeightsFile.of(p, str(p.absolute())) for kind, p in made.items()}
        trial = replace(described, files={**files, **tried})
        gate = _gate(trial, cases, truth, threads, progress)
        # Cut off from here on, this leaves a bundle without integers, not one of two halves.
        replace(described, files=dict(files)).write(manifest)
        for kind, path in made.items():
            place = described.weights("onnx").parent / path.name
            files[kind] = WeightsFile.of(path, place.relative_to(described.folder).as_posix())
            shutil.move(path, place)
    record = {**provenance, "mean_dsc": {"f32": gate.f32_dsc, "int8": gate.int8_dsc}}
    record["labelled"] = list(gate.cases)
    replace(described, files=files, provenance={**described.provenance, "int8": record}).write(
        manifest
    )
    return gate


def _gate(
    trial: Manifest, cases: dict[str, Path], truth: Path, threads: int, progress: Progress
) -> Gate:
    """Judge both networks; refuse what loses too much."""
    f32 = _dsc(trial, cases, truth, Settings(precision="f32", threads=threads), progress)
    int8 = _dsc(trial, cases, truth, Settings(precision="int8", threads=threads), progress)
    if f32 - int8 > MOST_LOST:
        raise KitError(
            f"int8 loses {f32 - int8:.4f} of a mean DSC of {f32:.4f}, {MOST_LOST} is allowed; "
            "give other CTs to calibrate on"
        )
    return Gate(tuple(cases), f32, int8, threads)


def _cases(images: Path, truth: Path) -> dict[str, Path]:
    """Return the labelled CTs by case."""
    labels = sorted(truth.glob(f"*{LABEL_SUFFIX}"))
    names = [path.name.removesuffix(LABEL_SUFFIX) for path in labels]
    cases = {name: images / f"{name}{SUFFIX}" for name in names}
    if not cases:
        raise KitError(f"{truth} holds no <case>{LABEL_SUFFIX}; give labelled CTs")
    for path in cases.values():
        if not path.is_file():
            raise KitError(f"{path} is missing, its labels are in {truth}; give both or none")
    return cases


def _write(described: Manifest, calibration: Sequence[Path], folder: Path) -> list[Path]:
    """Write the integer network; the same inputs, versions and threads give the same bytes."""
    import nncf
    import openvino as ov

    onnx = described.weights("onnx")
    patches = [patch for ct in calibration for patch in _spread(all_patches(ct, described))]
    data = nncf.Dataset(patches)
    model = nncf.quantize(
        ov.Core().read_model(str(onnx)),
        data,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(patches),
    )
    for step in model.get_ordered_ops():
        if step.get_type_name() == "ConvolutionBackpropData":
            _make_symmetric(step.input_value(0).get_node())
    for number, step in enumerate(model.get_ordered_ops()):
        # OpenVINO's own names count what the process has made before.
        step.set_friendly_name(f"{step.get_type_name()}_{number}")
    path = folder / f"{onnx.stem}_int8.xml"
    ov.save_model(model, path)
    return [path, path.with_suffix(".bin")]


def _make_symmetric(rounding: Any) -> None:
    """Move the range of a FakeQuantize operation, in place, so that it is symmetric about 0.

    OpenVINO computes a transposed convolution with integers only if those of its input are (the
    CPU plugin asks `isAsymmetricQuantization`). If they are not, it is computed in bfloat16 or
    float32, its result is rounded in float32 and with other axes first, and the skip that it is
    joined with is turned there and back: a seventh of a window's time.
    """
    from openvino import op

    if rounding.get_type_name() != "FakeQuantize":
        return
    half = rounding.get_attributes()["levels"] // 2  # as many below 0, and one less above
    low, high = (rounding.input_value(end).get_node().get_data() for end in (1, 2))
    most = np.maximum(-low, high * (half / (half - 1)))
    for place, end in zip(range(1, 5), [-most, most * ((half - 1) / half)] * 2, strict=True):
        value = op.Constant(np.ascontiguousarray(end, np.float32))
        rounding.input(place).replace_source_output(value.output(0))


def _spread(patches: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return evenly spaced ones, so that a long CT does not outvote the others."""
    places = np.linspace(0, len(patches) - 1, min(len(patches), PATCHES_A_CASE))
    return [patches[place] for place in np.rint(places).astype(int)]


def _dsc(
    manifest: Manifest, cases: dict[str, Path], truth: Path, settings: Settings, progress: Progress
) -> float:
    """Predict and score; what nobody drew in a case does not count."""
    from evaluation.scoring.folders import score_files

    with tempfile.TemporaryDirectory() as folder:
        report = predict_folder(cases, Path(folder), manifest, settings, progress)
        if report.failed:
            raise KitError(f"{report.failed[0].case}: {report.failed[0].error}")
        truths = {name: truth / f"{name}{LABEL_SUFFIX}" for name in cases}
        scores = score_files(truths, Path(folder))
    found: dict[str, list[float]] = {}
    for case in scores.cases:
        for organ, label in case.labels.items():
            if label.truth_ml and label.dsc is not None:
                found.setdefault(organ, []).append(label.dsc)
    return mean(map(mean, found.values()))
