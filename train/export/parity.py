"""Compare every engine with torch on patches, before an export is published."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from imaging.errors import KitError
from imaging.fitted_tables import show_table
from imaging.terminal import terminal
from inference.builders.tensorrt_parity import logit_errors
from inference.engines import EngineOptions, Precision, open_engine
from inference.manifest import Manifest

# Measured on trained networks: ONNX Runtime 1e-6, OpenVINO float32 (Winograd) 1e-4 at most.
MOST_RELATIVE_RMS = 1e-3
LEAST_LABEL_AGREEMENT = 0.999
# Engine and precision; only float32 is held to the tolerances. Each engine reads the ONNX file.
_MEASURED: tuple[tuple[str, Precision], ...] = (
    ("torch", "f32"),
    ("onnxruntime", "f32"),
    ("openvino", "f32"),
    ("openvino", "auto"),
)


@dataclass(frozen=True)
class LogitAgreement:
    """How far one engine's logits are from torch's float32 ones on the same patches.

    `relative_rms` is the error's root mean square over that of torch's logits, `max_abs` the
    largest error of a logit, `label_agreement` the share of voxels with the same highest logit.
    """

    engine: str
    version: str
    precision: str
    held_to_tolerance: bool
    relative_rms: float
    max_abs: float
    label_agreement: float

    @property
    def within_tolerance(self) -> bool:
        """Whether both tolerances are met; a NaN never is."""
        return (
            self.relative_rms <= MOST_RELATIVE_RMS and self.label_agreement >= LEAST_LABEL_AGREEMENT
        )


def torch_logits(network: torch.nn.Module, patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map float32 [N, 1, Z, Y, X] to float32 logits [N, K, Z, Y, X], eagerly, one by one."""
    with torch.inference_mode():
        logits = [network(torch.from_numpy(patch[np.newaxis])).numpy() for patch in patches]
    return np.concatenate(logits).astype(np.float32, copy=False)


def logit_agreements(
    network: torch.nn.Module, patches: NDArray[np.float32], manifest: Manifest, threads: int
) -> list[LogitAgreement]:
    """Run the manifest's network in every engine.

    Args:
        network: The network that was exported, in evaluation mode.
        patches: float32 [N, 1, Z, Y, X], normalized as the network expects.
        manifest: Names the exported files.
        threads: CPU threads of each engine.

    Raises:
        KitError: The network's own answers are no numbers, or an engine does not run it.
    """
    reference = torch_logits(network, patches)
    if not np.isfinite(reference).all():
        raise KitError("the network itself answers NaN or infinity: give another checkpoint")
    found = []
    for name, precision in _MEASURED:
        with open_engine(name, manifest, EngineOptions(threads, precision)) as engine:
            # copied: the next call may overwrite what an engine gave
            logits = np.concatenate([engine.infer(patch[np.newaxis]).copy() for patch in patches])
            version = str(engine.description["version"])
            used = str(engine.description["precision"])
        label = used if precision != "auto" else f"auto: {used}"
        row = (name, version, label, precision == "f32")
        found.append(LogitAgreement(*row, *logit_errors(reference, logits)))
    return found


def refuse_disagreement(rows: Sequence[LogitAgreement]) -> None:
    """Stop an export whose network is not the trained one.

    Raises:
        KitError: An engine at float32 is beyond a tolerance.
    """
    for row in rows:
        if row.held_to_tolerance and not row.within_tolerance:
            raise KitError(
                f"{row.engine} {row.version} ({row.precision}) disagrees with torch: relative RMS "
                f"{row.relative_rms:.1e} (at most {MOST_RELATIVE_RMS:.0e}), label agreement "
                f"{row.label_agreement:.5f} (at least {LEAST_LABEL_AGREEMENT}); nothing was written"
            )


def report(
    rows: Sequence[LogitAgreement], patches_from: Sequence[str], onnx_sha256: str
) -> dict[str, Any]:
    """Gather the figures with their circumstances, for `parity.json`."""
    return {
        "schema": 1,
        "onnx_sha256": onnx_sha256,
        "reference": {"engine": "torch eager", "version": torch.__version__, "precision": "f32"},
        "patches": list(patches_from),
        "tolerance": {"relative_rms": MOST_RELATIVE_RMS, "label_agreement": LEAST_LABEL_AGREEMENT},
        "engines": [asdict(row) for row in rows],
    }


def show_agreements(rows: Sequence[LogitAgreement]) -> None:
    """Print one line for each engine on stderr."""
    table = Table("engine", "precision", title="Agreement with torch (eager, f32)")
    for heading in ("relative RMS", "largest error", "same label"):
        table.add_column(heading, justify="right")
    table.add_column("held to")
    for row in rows:
        table.add_row(
            f"{row.engine} {row.version.partition('-')[0]}",
            row.precision,
            f"{row.relative_rms:.1e}",
            f"{row.max_abs:.1e}",
            f"{100 * row.label_agreement:.3f} %",
            "tolerance" if row.held_to_tolerance else "nothing",
        )
    show_table(table, terminal(stderr=True))
