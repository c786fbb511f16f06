"""One case from file to file; the only module that knows the order of the steps."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.engines import Engine, EngineOptions, Precision, open_engine
from inference.errors import EngineError, KitError, ManifestError
from inference.geometry import Box, Grid, Orientation, SpacingMm, as_shape
from inference.labels import NativeLabels
from inference.manifest import Manifest, verify_file
from inference.postprocess import clean
from inference.region import region
from inference.report import CaseReport, RunReport, peak_memory_mib
from inference.resampling import resample_linear
from inference.sliding_window import Window, flips_of, logit_slabs, window_count
from inference.volumes import Volume, read_header, read_volume, write_labels

SUFFIX = "_0000.nii.gz"


@dataclass(frozen=True)
class Settings:
    """What a run may change; None keeps what the manifest says."""

    engine: str = "auto"
    threads: int = 0
    precision: Precision = "auto"
    step: float | None = None
    blending: str | None = None
    tta: str | None = None
    crop: str | None = None
    clean: bool = True


@dataclass(frozen=True)
class Watch:
    """Callbacks for whoever shows progress."""

    case: Callable[[str, int], None] = lambda name, windows: None
    """A case reaches the network: its name and number of windows."""
    window: Callable[[], None] = lambda: None
    done: Callable[[CaseReport], None] = lambda report: None


class Predictor:
    """A network, ready to label volumes."""

    def __init__(self, manifest: Manifest, engine: Engine, settings: Settings) -> None:
        spec = manifest.window
        self._manifest = manifest
        self._engine = engine
        self._clean = settings.clean
        self._crop = settings.crop or manifest.crop
        self._window = Window(
            spec.patch,
            settings.step or spec.step,
            settings.blending or spec.blending,
            flips_of(settings.tta or spec.tta, spec.mirror_axes),
        )

    def predict(self, volume: Volume, report: CaseReport, watch: Watch) -> NDArray[np.uint8]:
        """Label one CT.

        Args:
            volume: The CT as stored.
            report: Filled with grids, windows, seconds and organ volumes.
            watch: Told of every window.

        Returns:
            uint8 [Z, Y, X] labels on the CT's own voxels.
        """
        manifest = self._manifest
        report.warnings = volume.warnings
        report.input_shape = volume.grid.shape
        report.input_spacing_mm = volume.grid.spacing_mm
        with report.stage("prepare"):
            turn = Orientation.to(manifest.orientation, volume.direction)
            turned = turn.apply(volume.hu)
            box = self._box(turned, turn.grid(volume.grid).spacing_mm)
            image = self.prepared(volume, turn, box)
        report.region = tuple((part.start, part.stop) for part in box)
        report.working_shape = image.shape
        report.windows = window_count(as_shape(image), self._window)
        watch.case(report.case, report.windows)
        whole = np.zeros(turned.shape, dtype=np.uint8)
        native = NativeLabels(as_shape(image), whole[box])
        slabs = logit_slabs(image, self._engine.infer, self._window, watch.window)
        while True:
            with report.stage("network"):
                logits = next(slabs, None)
            if logits is None:
                break
            self._check(logits)
            with report.stage("labels"):
                native.add(logits)
        labels: NDArray[np.uint8] = np.ascontiguousarray(turn.undo(whole))
        if self._clean:
            with report.stage("clean"):
                rules, voxel_ml = manifest.postprocess, volume.grid.voxel_ml
                labels = clean(labels, rules, manifest.labels, voxel_ml)
        report.volumes_ml = volumes_ml(labels, manifest.labels, volume.grid.voxel_ml)
        return labels

    def _box(self, hu: NDArray[Any], spacing_mm: SpacingMm) -> Box:
        patch = zip(self._window.patch, self._manifest.spacing_mm, spacing_mm, strict=True)
        z, y, x = (math.ceil(voxels * wide / mm) for voxels, wide, mm in patch)
        return region(self._crop, hu, spacing_mm, (z, y, x))

    def _check(self, logits: NDArray[np.float32]) -> None:
        names = len(self._manifest.labels)
        if logits.shape[0] != names + 1:
            raise ManifestError(
                f"the network says {logits.shape[0]} classes, the manifest names "
                f"{names} and background; give them the same labels"
            )
        if not all(np.isfinite([of.min(), of.max()]).all() for of in logits):
            raise EngineError("the network answers NaN or infinity; try --precision f32")

    def prepared(
        self, volume: Volume, turn: Orientation, box: tuple[slice, ...]
    ) -> NDArray[np.float32]:
        """Clip, resample and normalize: float32 [Z, Y, X] on the manifest's spacing."""
        intensity = self._manifest.intensity
        part: NDArray[Any] = turn.apply(volume.hu)[box]
        grid = Grid(as_shape(part), turn.grid(volume.grid).spacing_mm)
        shape = grid.resampled(self._manifest.spacing_mm).shape
        image = resample_linear(part, shape, intensity.clip_hu)
        image -= np.float32(intensity.mean_hu)
        image /= np.float32(intensity.std_hu)
        return image


def volumes_ml(
    labels: NDArray[np.uint8], values: dict[str, int], voxel_ml: float
) -> dict[str, float]:
    """Return the volume of each organ in millilitres."""
    counts = np.zeros(256, dtype=np.int64)
    for part in labels:  # slice by slice: bincount makes 64-bit integers of what it counts
        counts += np.bincount(part.ravel(), minlength=256)
    return {name: round(float(counts[value]) * voxel_ml, 3) for name, value in values.items()}


def find_cases(inputs: Path) -> dict[str, Path]:
    """Return the files of a folder by case, sorted: `<case>_0000.nii.gz`.

    Raises:
        KitError: There is no such folder, or no case in it.
    """
    if not inputs.is_dir():
        what = "is not a folder" if inputs.exists() else "does not exist"
        raise KitError(f"inputs folder {inputs} {what}; make it and put CTs there")
    found = [p for p in sorted(inputs.glob(f"*{SUFFIX}")) if not p.name.startswith(".")]
    cases = {p.name.removesuffix(SUFFIX): p for p in found}
    if not cases:
        raise KitError(f"inputs folder {inputs} holds no <case>{SUFFIX}; put a CT there")
    return cases


def predict_folder(
    cases: dict[str, Path],
    outputs: Path,
    manifest: Manifest,
    settings: Settings,
    watch: Watch | None = None,
) -> RunReport:
    """Label every case; one that fails gets a background map and the others go on.

    Args:
        cases: Files by case name.
        outputs: Folder for `<case>.nii.gz`; made if missing.
        manifest: The network and how to use it; its weights are checked first.
        settings: What the run changes.
        watch: Told of progress.

    Raises:
        KitError: Nothing can be done at all: weights, engine or output folder.
    """
    watch = watch or Watch()
    report = RunReport(manifest.name, manifest.sha256, asdict(settings))
    _make_folder(outputs)
    start_s = time.perf_counter()
    kind = "torch" if settings.engine == "torch" else "onnx"
    path = manifest.weights(kind)
    with ThreadPoolExecutor(1) as reader:
        volumes = _read_ahead(reader, cases)
        verify_file(path, manifest.files[kind])
        options = EngineOptions(settings.threads, settings.precision)
        with open_engine(settings.engine, manifest, options) as engine:
            report.engine = engine.description
            report.start_s["engine"] = round(time.perf_counter() - start_s, 4)
            predictor = Predictor(manifest, engine, settings)
            for case, volume in volumes:
                done = CaseReport(case)
                report.cases.append(done)
                _one_case(predictor, cases[case], volume, outputs, done, watch)
                watch.done(done)
    return report


def _read_ahead(
    reader: ThreadPoolExecutor, cases: dict[str, Path]
) -> Iterator[tuple[str, Future[tuple[Volume, float]]]]:
    """Start reading each case while the one before it is computed."""
    names = list(cases)
    coming = reader.submit(_timed_read, cases[names[0]])

    def pairs() -> Iterator[tuple[str, Future[tuple[Volume, float]]]]:
        nonlocal coming
        for name, following in zip(names, [*names[1:], None], strict=True):
            current = coming
            if following is not None:
                current.exception()  # at most one volume waits while another is computed
                coming = reader.submit(_timed_read, cases[following])
            yield name, current

    return pairs()


def _timed_read(path: Path) -> tuple[Volume, float]:
    start_s = time.perf_counter()
    return read_volume(path), time.perf_counter() - start_s


def _one_case(
    predictor: Predictor,
    path: Path,
    reading: Future[tuple[Volume, float]],
    outputs: Path,
    report: CaseReport,
    watch: Watch,
) -> None:
    target = outputs / f"{report.case}.nii.gz"
    start_s = time.perf_counter()
    try:
        volume, read_s = reading.result()
        report.seconds["read"] = round(read_s, 4)
        labels = predictor.predict(volume, report, watch)
        with report.stage("write"):
            write_labels(labels, volume.header, target)
        report.status = "done"
    except KitError as error:
        report.error = str(error)
    except MemoryError:
        report.error = f"{path.name}: not enough memory for {report.input_shape} voxels"
    finally:
        report.seconds["total"] = round(time.perf_counter() - start_s, 4)
        report.peak_memory_mib = round(peak_memory_mib(), 1)
    if report.status != "done":
        _write_background(path, target, report)


def _write_background(path: Path, target: Path, report: CaseReport) -> None:
    """Write an empty map for a failed case: the official scorer stops at a missing file."""
    try:
        header = read_header(path)
        write_labels(np.zeros(header.shape, dtype=np.uint8), header, target)
    except (KitError, MemoryError):
        return
    report.warnings += ("an empty label map was written in its place",)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise KitError(
            f"cannot write to {folder}: {error.strerror}; give another folder"
        ) from error
