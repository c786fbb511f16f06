"""Write each stage whole or not at all, with a record of its inputs and outputs.

The record is for people and for comparing runs. Only Snakemake decides which stages are stale.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import inference
from imaging.digest import sha256
from imaging.errors import KitError
from imaging.files import make_folder
from imaging.machine import cpu_name
from imaging.records import read_table, write_json
from train.rounds.known import KnownDigests, known_path

RECORD = "stage.json"
SCHEMA = 1
_PACKAGES = (
    "nnunetv2", "torch", "numpy", "openvino", "onnx", "onnxruntime", "SimpleITK", "snakemake",
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """A stage to run."""

    key: str
    run: Path
    facts: Mapping[str, Any]
    """What it depends on besides files: recipe, seed, threads, device."""
    inputs: Mapping[str, Path]
    """Files that it reads, by the name they have in the record."""
    hands_on: bool = False
    """Whether later stages read its inputs too, so that these count among its outputs."""
    known: KnownDigests = field(default_factory=KnownDigests)
    """Of its inputs, as earlier stages read them."""


def digests_path(run: Path, key: str) -> Path:
    """Return the file that tells a stage's outputs apart: what Snakemake compares.

    It is equally small however many files there are: Snakemake compares times alone where a file
    has a megabyte or more.
    """
    return run / "digests" / f"{key.replace('/', '.')}.json"


def run_stage(work: Work, make: Callable[[Path], object]) -> Path:
    """Run `make` in a folder that becomes RUN/<key> when it is whole, with its record in it.

    A stage that fails or is killed leaves at most a folder RUN/<key>.partial, which the next try
    removes.

    Args:
        work: What is run.
        make: Writes the stage's files into the folder it is given.

    Raises:
        KitError: The stage failed, a file cannot be written, or another process runs this stage.
    """
    place, digests_file = work.run / work.key, digests_path(work.run, work.key)
    partial = place.with_name(place.name + ".partial")
    try:
        make_folder(digests_file.parent)
        with locked(digests_file.with_suffix(".lock")):
            try:
                _make(work, partial, make)
                digests_file.unlink(missing_ok=True)
                shutil.rmtree(place, ignore_errors=True)
                partial.replace(place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            _write_digests(work, place, digests_file)
    except OSError as error:
        raise KitError(f"stage {work.key}: {error.strerror or error}; nothing is kept") from error
    return place


def _write_digests(work: Work, place: Path, digests_file: Path) -> None:
    """Write what later stages need of the digests, and then what Snakemake waits for."""
    outputs = load_record(place / RECORD)["outputs"]
    partial = place.with_name(place.name + ".partial")
    places = {partial / name: place / name for name in outputs}
    places |= {path: path.absolute() for path in work.inputs.values() if work.hands_on}
    work.known.write(places, known_path(work.run, work.key))
    digest = sha256("\n".join(f"{name} {of}" for name, of in sorted(outputs.items())).encode())
    write_json({"files": len(outputs), "sha256": digest}, digests_file)


def _make(work: Work, folder: Path, make: Callable[[Path], object]) -> None:
    """Make a stage's files in `folder`, and its record."""
    start_s = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    inputs = {name: work.known.sha256(path) for name, path in sorted(work.inputs.items())}
    make(folder)
    outputs = digests(folder, work.known) | (inputs if work.hands_on else {})
    seconds = round(time.perf_counter() - start_s, 3)
    record = {"schema": SCHEMA, "stage": work.key, **work.facts, **_circumstances()}
    record.update(inputs=inputs, outputs=outputs, seconds=seconds)
    write_json(record, folder / RECORD)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out; the system lets go when this one ends, however it ends.

    Raises:
        KitError: Another process is in.
    """
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KitError(
                f"another process works there and holds {path}; wait for it, or end it"
            ) from error
        yield


def digests(folder: Path, known: KnownDigests) -> dict[str, str]:
    """Return the sha256 of every file under `folder`, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): known.sha256(path) for path in files}


def _circumstances() -> dict[str, Any]:
    """Return code, packages and machine."""
    return {
        "kit": inference.__version__,
        "commit": _commit(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "gpu": _gpu(),
        "cores": len(os.sched_getaffinity(0)),
    }


def load_record(path: Path) -> dict[str, Any]:
    """Read a stage.json.

    Raises:
        KitError: It is none.
    """
    record, _ = read_table(path, "stage record")
    if record.get("schema") != SCHEMA or not isinstance(record.get("outputs"), dict):
        raise KitError(f"{path}: not a stage record of schema {SCHEMA}")
    return record


def _commit() -> str | None:
    """Return the checkout's commit, with a mark where files differ from it; None without git."""
    root = str(Path(__file__).parents[2])
    command = ["git", "-C", root, "describe", "--always", "--abbrev=40", "--dirty", "--match", ""]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu() -> str | None:
    """Return the first GPU's name as the driver tells it, without loading torch."""
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for row in path.read_text("utf-8", errors="replace").splitlines():
            if row.startswith("Model:"):
                return row.partition(":")[2].strip()
    return None
