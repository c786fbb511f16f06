"""Compare logits of two engines, and a plan with the trained network before it is published.

A float16 nnU-Net that overflows returns background or NaN, and does so fast.
"""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import EngineError
from imaging.geometry import as_shape
from imaging.volumes import read_volume
from inference.engines import EngineOptions, open_engine
from inference.engines.tensorrt_index import EnginePlan
from inference.manifest import Manifest
from inference.predictor import Predictor
from inference.report import CaseReport
from inference.settings import Settings
from inference.sliding_window import Window, window_slices
from inference.tools.sample import sample_ct

if TYPE_CHECKING:
    from inference.engines.cuda import Gpu

# Measured on the CPU with every tensor rounded to float16: see docs/tensorrt.md.
MOST_RELATIVE_RMS = 0.01
LEAST_LABEL_AGREEMENT = 0.995
_REFERENCE = "openvino"


def measured(
    manifest: Manifest, trt: Any, plan: EnginePlan, folder: Path, gpu: "Gpu", case: Path | None
) -> dict[str, Any]:
    """Run a plan on the GPU and float32 on the CPU; return the difference of their logits.

    Kernels that TensorRT-RTX compiles for the GPU are kept beside the plan.

    Args:
        manifest: The network.
        trt: The plan's runtime.
        plan: The plan, in `folder`.
        folder: Where the plan is.
        gpu: The GPU that it is for.
        case: CT whose fullest patch is taken; None takes the sample CT.

    Raises:
        EngineError: The difference is too large, or the plan does not run.
    """
    from inference.engines.tensorrt_engine import TensorRTEngine

    with open_engine(_REFERENCE, manifest, EngineOptions(precision="f32")) as engine:
        patch = fullest_patch(Predictor(manifest, engine, Settings()), manifest, case)
        reference = engine.infer(patch).copy()
    with closing(TensorRTEngine(trt, plan, folder, gpu, keep_kernels=True)) as candidate:
        logits = candidate.infer(patch).copy()
    found = plan_agreement(reference, logits)
    source = case.name if case else "the sample CT"
    return {"reference": f"{_REFERENCE} f32", "patch": source, "gpu": gpu.name, **found}


def plan_agreement(reference: NDArray[np.float32], logits: NDArray[np.float32]) -> dict[str, float]:
    """Return how far float32 logits [1, K, Z, Y, X] of a plan are from the reference's.

    Raises:
        EngineError: Too far: NaN, all background, or beyond a tolerance.
    """
    if not reference.argmax(axis=1).any():
        raise EngineError("the network finds no organ in this patch; give another --parity-case")
    if not np.isfinite(logits).all():
        raise EngineError("the plan is refused: it answers NaN or infinity")
    if not logits.argmax(axis=1).any():
        raise EngineError("the plan is refused: it answers background where float32 has organs")
    rms, largest, labels = logit_errors(reference, logits)
    if rms > MOST_RELATIVE_RMS or labels < LEAST_LABEL_AGREEMENT:
        raise EngineError(
            f"the plan is refused: relative RMS {rms:.1e} (at most {MOST_RELATIVE_RMS}), label "
            f"agreement {labels:.5f} (at least {LEAST_LABEL_AGREEMENT})"
        )
    return {"relative_rms": rms, "max_abs": largest, "label_agreement": labels}


def logit_errors(
    reference: NDArray[np.float32], logits: NDArray[np.float32]
) -> tuple[float, float, float]:
    """Return relative RMS error, largest error and label agreement of float32 [N, K, Z, Y, X].

    The first is the error's root mean square over that of the reference, the last the share of
    voxels with the same highest logit.
    """
    difference = logits.astype(np.float64) - reference
    scale = max(_rms(reference.astype(np.float64)), 1e-30)
    agreement = float(np.mean(logits.argmax(axis=1) == reference.argmax(axis=1)))
    return _rms(difference) / scale, float(np.abs(difference).max()), agreement


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def fullest_patch(
    predictor: Predictor, manifest: Manifest, case: Path | None
) -> NDArray[np.float32]:
    """Return the window with the most voxels inside the clip range, float32 [1, 1, Z, Y, X].

    Raises:
        KitError: The CT cannot be read.
    """
    volume = read_volume(case or sample_ct())
    image = predictor.prepare(volume, CaseReport("parity")).image
    missing = [max(0, p - n) for n, p in zip(image.shape, manifest.window.patch, strict=True)]
    padded = np.pad(image, [(0, voxels) for voxels in missing])
    intensity = manifest.intensity
    low, high = ((hu - intensity.mean_hu) / intensity.std_hu for hu in intensity.clip_hu)
    window = Window(manifest.window.patch, manifest.window.step, "constant", ((),))
    patches = [padded[place] for place in window_slices(as_shape(padded), window)]
    fullest = max(patches, key=lambda patch: float(np.mean((patch > low) & (patch < high))))
    return np.ascontiguousarray(fullest)[np.newaxis, np.newaxis]
