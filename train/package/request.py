"""What is packaged, where it goes, and how each step ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["done", "warning", "failed", "not asked for"]
TARGETS = {"cpu": "locks/inference.txt", "gpu": "locks/gpu.txt"}
"""The Dockerfile's targets, each with its lock file."""


@dataclass(frozen=True)
class Int8Cases:
    """What 8-bit weights are made from and judged on, as for `train quantize`."""

    calibration: tuple[Path, ...]
    images: Path
    truth: Path


@dataclass(frozen=True)
class PackageRequest:
    """What to package."""

    model: Path
    """nnU-Net's result folder, or a bundle of `train export`."""
    archive: Path
    """<team>.tar.gz."""
    work: Path
    """Gets bundle/, build.log, check/ and package.json."""
    checkout: Path
    """A checkout of the kit: its Dockerfile, imaging/, inference/, locks/ and predict.sh."""
    target: str = "cpu"
    """One of `TARGETS`."""
    network: str | None = None
    """As `docker build --network` has it."""
    build_arguments: Mapping[str, str] = field(default_factory=dict)
    """By name: BASE_IMAGE and others; they replace the kit's own."""
    export: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of `train.export.bundle.ExportRequest`."""
    int8: Int8Cases | None = None
    cases: dict[str, Path] | None = None
    """CTs that the image is checked on; None: it is not run."""
    threads: int = 2


@dataclass(frozen=True)
class Step:
    """One step, and how it ended."""

    name: str
    outcome: Outcome
    seconds: float
    found: str


@dataclass(frozen=True)
class Package:
    """An archive that was written."""

    archive: Path
    steps: tuple[Step, ...]

    @property
    def failed(self) -> tuple[Step, ...]:
        """The steps that failed: the archive is there all the same."""
        return tuple(step for step in self.steps if step.outcome == "failed")
