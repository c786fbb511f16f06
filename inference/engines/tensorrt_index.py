"""Which plans there are: `plans/index.json` beside the manifest's ONNX file, one entry a plan.

A plan fits one network, one version of one runtime and one kind of GPU, and nothing else. The entry
says which, so that a plan that does not fit is never opened.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from imaging.digest import sha256
from imaging.errors import EngineError, KitError
from imaging.files import replacing
from imaging.records import read_record, write_json
from inference.engines import plan_folder
from inference.manifest import Manifest

SCHEMA = 1
INDEX = "index.json"
UNCHECKED = "not checked: no GPU"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EnginePlan:
    """One plan file: what it is, what it fits, how long it took to build."""

    file: str
    """Name, in the folder of the index."""
    sha256: str
    bytes: int
    onnx_sha256: str
    """Of the float32 network it was made from."""
    engine: str
    """"tensorrt" or "tensorrt-rtx"."""
    version: str
    """Version of the runtime; other versions refuse the plan."""
    target: str
    """Compute capability of the GPU: "sm86" is 8.6."""
    gpu: str | None
    """Name of the GPU; None fits every one of the target."""
    precision: str
    flags: dict[str, int]
    build_seconds: float
    layers: dict[str, int]
    """Layers by type and precision: "CONVOLUTION HALF"."""
    parity: str | dict[str, Any]
    """Difference of its logits from those of float32, or why it was not measured."""

    def misfit(self, version: str, target: str, gpu: str) -> str | None:
        """Return why this plan does not fit a runtime and a GPU; None if it does."""
        if self.version != version:
            return f"built by {self.engine} {self.version}, here is {version}"
        if self.target != target:
            return f"built for {self.target}, {gpu} is {target}"
        if self.gpu not in (None, gpu):
            return f"built for {self.gpu}, here is {gpu}"
        return None


@dataclass(frozen=True)
class _Index:
    plans: list[EnginePlan]


def plans_of(manifest: Manifest, engine: str | None = None) -> list[EnginePlan]:
    """Return the plans of the manifest's network, by any engine or by the one called `engine`.

    Raises:
        EngineError: The index cannot be read.
    """
    if "onnx" not in manifest.files:
        return []
    plans, digest = read_index(plan_folder(manifest)), manifest.files["onnx"].sha256
    return [one for one in plans if one.onnx_sha256 == digest and engine in (None, one.engine)]


def engines_with_plans(manifest: Manifest, gpu: bool) -> set[str]:
    """Return the engines that have a plan of the network; warn if there is a GPU and no plan."""
    try:
        found = {plan.engine for plan in plans_of(manifest)}
    except EngineError as error:
        _log.warning("plans passed over: %s", error)
        return set()
    if gpu and not found:
        _log.warning(
            "the GPU is passed over: %s holds no plan of this network; "
            "build one with `python -m inference engine build`, or use --engine torch",
            plan_folder(manifest),
        )
    return found


def fitting(
    plans: Sequence[EnginePlan], engine: str, version: str, target: str, gpu: str
) -> EnginePlan:
    """Return the plan for this GPU and runtime.

    Raises:
        EngineError: None fits; says why of each, and how to build one.
    """
    reasons = []
    for plan in plans:
        reason = plan.misfit(version, target, gpu)
        if reason is None:
            return plan
        reasons.append(f"{plan.file}: {reason}")
    why = "; ".join(reasons) or "there is none for this network"
    raise EngineError(
        f"no {engine} plan fits {gpu} ({target}): {why}; build one with "
        f"`python -m inference engine build --engine {engine}`"
    )


def read_index(folder: Path) -> list[EnginePlan]:
    """Return the entries of `folder`'s index; none where there is no index.

    Raises:
        EngineError: The file is not an index, or has another schema.
    """
    path = folder / INDEX
    if not path.exists():
        return []
    try:
        head, advice = {"schema": SCHEMA}, "delete the folder and build them again"
        return read_record(path, _Index, "index of plans", head=head, advice=advice).plans
    except KitError as error:
        raise EngineError(str(error)) from error


def read_plan(folder: Path, plan: EnginePlan) -> bytes:
    """Return the bytes of a plan, as they were built.

    Raises:
        EngineError: The file is missing, or is not the one in the index.
    """
    path = folder / plan.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EngineError(
            f"plan {path} cannot be read ({error.strerror}); build it again"
        ) from error
    if (found := sha256(content)) != plan.sha256:
        raise EngineError(f"plan {path}: sha256 {found}, the index says {plan.sha256}; build again")
    return content


def add_plan(folder: Path, plan: EnginePlan, content: bytes) -> EnginePlan:
    """Write a plan whole or not at all, then the index, in which it replaces its like.

    Args:
        folder: Of the index.
        plan: What it is, without digest and size.
        content: The plan itself.

    Returns:
        The entry as it stands in the index.

    Raises:
        KitError: The folder cannot be written, or its index not be read.
    """
    made = replace(plan, sha256=sha256(content), bytes=len(content))
    others = [other for other in read_index(folder) if other.file != plan.file]
    with replacing(folder / plan.file) as partial:
        partial.write_bytes(content)
    entries = sorted(map(asdict, (*others, made)), key=itemgetter("file"))
    table = {"schema": SCHEMA, "plans": entries}
    write_json(table, folder / INDEX, indent=2)
    return made
