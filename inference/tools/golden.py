"""The golden case: the sample CT, and what the default weights make of it, by engine and precision.

`verify --run` labels the sample again and compares every voxel with the maps in samples/golden/.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imaging.digest import file_sha256, sha256
from imaging.errors import KitError
from imaging.files import make_folder
from imaging.label_maps import read_label_map
from imaging.machine import cpu_flags, cpu_name
from imaging.overlap import label_counts
from imaging.records import read_record, write_json
from imaging.volumes import write_labels
from imaging.words import number_of
from inference.engines import Precision
from inference.manifest import Manifest
from inference.predictor import Segmentation
from inference.segmentation import open_predictor
from inference.settings import Settings
from inference.shipped import GOLDEN
from inference.tools.sample import sample_ct

Verdict = Literal["equal", "expected", "not expected"]
_HEAD = {"schema": 1, "kind": "golden"}
_MADE: tuple[tuple[str, Precision], ...] = (
    ("openvino", "f32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("onnxruntime", "f32"),
    ("torch", "f32"),
)
"""Engine and precision of each golden map; int8 where the manifest has such weights."""
_THREADS = 2
INSTRUCTIONS = {
    "f32": ("avx512f", "avx2"),
    "bf16": ("amx_bf16", "avx512_bf16"),
    "int8": ("amx_int8", "avx512_vnni", "avx_vnni"),
}
"""What a precision is computed with, the best first: each sums in another order."""
_LEFT_OUT = "ONEDNN_MAX_CPU_ISA"
"""Environment variable with the best instructions that OpenVINO's oneDNN may take."""
LIMITS = {"f32": 0.0005, "bf16": 0.003, "int8": 0.015}
"""Share of the labelled voxels that may differ on another CPU, version or number of threads.

Two to ten times what the sample showed (docs/claims.md): float32 with one thread 0.017 %, bfloat16
0.048 %, int8 0.449 %; int8 on an AMD EPYC, with other threads, 0.57 %.
"""


@dataclass(frozen=True)
class GoldenMap:
    """One map in samples/golden/, and how it was made."""

    engine: str
    engine_version: str
    precision: Precision
    threads: int
    device: str
    """Name of the CPU, or of a GPU."""
    instructions: str
    """One of `INSTRUCTIONS`, or "" for none of them; and what `_LEFT_OUT` says, if it is set."""
    sha256: str
    """Of the labels, uint8 [Z, Y, X]: not of the file, whose compression may change."""
    voxels: dict[str, int]
    """Of each organ."""

    @property
    def file(self) -> str:
        """The name of the label map."""
        return f"{self.engine}_{self.precision}.nii.gz"

    @property
    def labelled(self) -> int:
        """Voxels with a label."""
        return sum(self.voxels.values())

    def unlike(self, other: "GoldenMap") -> tuple[str, ...]:
        """Say what differs between the circumstances of two maps, so that voxels may."""
        found = [
            f"another {what}"
            for what, name in (
                ("device", "device"),
                ("instruction set", "instructions"),
                (f"version of {self.engine}", "engine_version"),
            )
            if getattr(self, name) != getattr(other, name)
        ]
        if self.threads != other.threads:
            found.append(number_of(other.threads, "thread"))
        return tuple(found)


@dataclass(frozen=True)
class Golden:
    """samples/golden/golden.json."""

    weights: dict[str, str]
    """SHA-256 of the manifest's files, by format."""
    ct: str
    """SHA-256 of the sample's file."""
    maps: tuple[GoldenMap, ...]


@dataclass(frozen=True)
class GoldenComparison:
    """The sample labelled again, beside its golden map."""

    golden: GoldenMap
    seconds: float
    differ: int
    """Voxels."""
    first: tuple[str, ...]
    """A few of them: the place (Z, Y, X), the label that is expected, the one that was found."""
    unlike: tuple[str, ...]
    """What differs from the circumstances of the golden map."""

    @property
    def share(self) -> float:
        """Voxels that differ, as a share of the labelled ones."""
        return self.differ / max(self.golden.labelled, 1)

    @property
    def verdict(self) -> Verdict:
        """Whether the maps are equal, or differ as another CPU may make them differ."""
        if not self.differ:
            return "equal"
        if self.unlike and self.share <= LIMITS[self.golden.precision]:
            return "expected"
        return "not expected"


def read_golden(folder: Path = GOLDEN) -> Golden:
    """Read golden.json, and check that it is of the sample CT that is here.

    Raises:
        KitError: It is missing or damaged, or another CT is here.
    """
    path = folder / "golden.json"
    if not path.is_file():
        raise KitError(f"no golden maps here ({path}); run this in a checkout of the kit")
    golden = read_record(path, Golden, "golden maps", head=_HEAD)
    if (found := file_sha256(sample_ct())) != golden.ct:
        raise KitError(f"{sample_ct()}: sha256 {found}, the golden maps are of {golden.ct}")
    return golden


def golden_labels(golden: GoldenMap, folder: Path = GOLDEN) -> NDArray[np.uint8]:
    """Read a golden map: uint8 [Z, Y, X].

    Raises:
        KitError: It is missing, or not what golden.json says.
    """
    labels = read_label_map(folder / golden.file).labels
    if (found := _digest(labels)) != golden.sha256:
        raise KitError(f"{folder / golden.file}: sha256 {found}, golden.json says {golden.sha256}")
    return labels


def run_again(
    golden: GoldenMap, manifest: Manifest, threads: int = 0, folder: Path = GOLDEN
) -> GoldenComparison:
    """Label the sample as a golden map was made, and compare.

    Args:
        golden: The map.
        manifest: The network.
        threads: 0: as many as the map was made with.
        folder: Where the map is.

    Raises:
        EngineError: Engine or precision cannot be used here.
        KitError: The golden map is damaged.
    """
    expected = golden_labels(golden, folder)
    found, made = _labelled(golden.engine, golden.precision, threads or golden.threads, manifest)
    places = np.argwhere(found.labels != expected)
    names = {0: "background"} | {value: name for name, value in manifest.labels.items()}
    first = tuple(
        f"{(z, y, x)} {names[expected[z, y, x]]} → {names[found.labels[z, y, x]]}"
        for z, y, x in places[:3].tolist()
    )
    return GoldenComparison(
        golden, found.report.seconds["total"], len(places), first, golden.unlike(made)
    )


def write_golden(manifest: Manifest, folder: Path = GOLDEN) -> Golden:
    """Label the sample with every engine and precision, and write maps and golden.json.

    Raises:
        KitError: An engine is not installed, or this CPU lacks a precision.
    """
    make_folder(folder)
    maps = []
    for engine, precision in _MADE:
        if precision == "int8" and "int8" not in manifest.files:
            continue
        found, made = _labelled(engine, precision, _THREADS, manifest)
        write_labels(found.labels, found.header, folder / made.file)
        maps.append(made)
    weights = {kind: file.sha256 for kind, file in manifest.files.items()}
    golden = Golden(weights, file_sha256(sample_ct()), tuple(maps))
    write_json({**_HEAD, **asdict(golden)}, folder / "golden.json")
    for path in {*folder.glob("*.nii.gz")} - {folder / made.file for made in maps}:
        path.unlink()  # of weights that are no more
    return golden


def _labelled(
    engine: str, precision: Precision, threads: int, manifest: Manifest
) -> tuple[Segmentation, GoldenMap]:
    """Label the sample; return the labels and what would be said of them as a golden map."""
    settings = Settings(engine=engine, precision=precision, threads=threads)
    with open_predictor(manifest, settings) as predictor:
        found, described = predictor.segment(sample_ct()), predictor.engine.description
    counts, limit = label_counts(found.labels), os.environ.get(_LEFT_OUT)
    flags, device = cpu_flags(), str(described["device"])
    best = next((name for name in INSTRUCTIONS[precision] if name in flags), "")
    made = GoldenMap(
        engine,
        str(described["version"]),
        precision,
        threads,
        cpu_name() if device.upper() == "CPU" else device,
        best if limit is None else f"{best}, {_LEFT_OUT}={limit}",
        _digest(found.labels),
        {name: int(counts[value]) for name, value in manifest.labels.items()},
    )
    return found, made


def _digest(labels: NDArray[np.uint8]) -> str:
    return sha256(np.ascontiguousarray(labels).tobytes())
