"""Build plans: ONNX, float16 graph, plan, parity gate, index.

TensorRT-RTX builds for a GPU that is not there, TensorRT only for the one that is.
"""

import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging.errors import EngineError, KitError
from imaging.extras import how_to_install
from imaging.files import make_folder
from inference.builders.tensorrt_parity import measured
from inference.engines import one_line
from inference.engines.tensorrt_index import UNCHECKED, EnginePlan, add_plan
from inference.engines.tensorrt_runtime import complaint, listener, runtime_module
from inference.manifest import Manifest, checked_weights

if TYPE_CHECKING:
    from inference.engines.cuda import Gpu

WORKSPACE_MIB = 3072
"""Most scratch memory of a layer. FLARE23 allows 4,096 MiB of GPU memory without a penalty, and the
driver's own share, the weights and the buffers count too."""


@dataclass(frozen=True)
class Request:
    """What `build_plans` builds."""

    manifest: Manifest
    engine: str
    targets: tuple[str, ...]
    """Compute capabilities: "sm86"; empty for the GPU that is here."""
    folder: Path
    precision: str = "fp16"
    parity_case: Path | None = None
    """CT whose fullest patch is compared; None takes a generated one."""


def build_plans(request: Request, built: Callable[[EnginePlan], None]) -> None:
    """Build a plan for each target and call `built` with it; a refused plan ends the work.

    Raises:
        EngineError: The runtime is not installed or does not know a target, the network cannot be
            built, or a plan's logits differ from the network's.
        KitError: The weights are damaged, or the folder cannot be written.
    """
    manifest, trt = request.manifest, runtime_module(request.engine)
    gpu, nowhere = _gpu_here()
    targets = _checked_targets(request, trt, gpu, nowhere)
    graph = _float16(checked_weights(manifest, "onnx"))
    make_folder(request.folder)
    for target in targets:
        content, plan = _built(trt, request, graph, target, gpu)
        if gpu is not None and gpu.target == target:
            plan = _published(trt, request, plan, content, gpu)
        elif gpu is not None:
            plan = replace(plan, parity=f"not checked: the GPU here is {gpu.target}")
        built(add_plan(request.folder, plan, content))


def _float16(path: Path) -> bytes:
    try:
        from inference.builders.half_graph import half_graph  # needs onnx, which no image has
    except ImportError as error:
        raise EngineError(
            f"no plan without onnx ({error}); {how_to_install('tensorrt-build')}"
        ) from error
    return half_graph(path)


def _published(
    trt: Any, request: Request, plan: EnginePlan, content: bytes, gpu: "Gpu"
) -> EnginePlan:
    """Run a plan in a temporary folder; return it with its parity, keep compiled kernels."""
    folder = request.folder
    try:
        with tempfile.TemporaryDirectory(prefix=".plan-", dir=folder) as stage:
            staged = add_plan(Path(stage), plan, content)
            found = measured(request.manifest, trt, staged, Path(stage), gpu, request.parity_case)
            for kernels in Path(stage).glob("*.cache"):
                shutil.move(kernels, folder / kernels.name)
    except OSError as error:
        raise KitError(f"cannot write into {folder}: {error.strerror or error}") from error
    return replace(plan, parity=found)


def _gpu_here() -> tuple["Gpu | None", str]:
    """Return the GPU, or None and why there is none."""
    try:
        from inference.engines.cuda import present_gpu  # not where cuda-bindings are not installed

        return present_gpu(), ""
    except (ImportError, EngineError) as error:
        return None, one_line(error)


def _checked_targets(request: Request, trt: Any, gpu: "Gpu | None", nowhere: str) -> Sequence[str]:
    """Return the targets to build for.

    Raises:
        EngineError: The runtime does not know a target, or there is no target and no GPU.
    """
    if request.engine == "tensorrt":
        if gpu is None:
            raise EngineError(f"TensorRT builds on the GPU that a plan is for: {nowhere}")
        others = set(request.targets) - {gpu.target}
        if others:
            raise EngineError(
                f"TensorRT builds for the GPU that is here, {gpu.name} ({gpu.target}), not for "
                f"{', '.join(sorted(others))}; use --engine tensorrt-rtx, or build there"
            )
        return (gpu.target,)
    known = [name.lower() for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    requested = request.targets or ((gpu.target,) if gpu else ())
    if not requested:
        raise EngineError(f"no --target is given and no GPU is here: {nowhere}")
    for target in requested:
        if target not in known:
            raise EngineError(
                f"TensorRT-RTX {trt.__version__} does not build for {target}; it knows "
                f"{', '.join(known)}"
            )
    return requested


def _built(
    trt: Any, request: Request, graph: bytes, target: str, gpu: "Gpu | None"
) -> tuple[bytes, EnginePlan]:
    """Build one plan; return it and its entry."""
    log = listener(trt)
    builder = trt.Builder(log)
    # Needed by TensorRT 10; TensorRT 11, which has no other kind, ignores it.
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    start_s = time.perf_counter()
    parser = trt.OnnxParser(network, log)
    if not parser.parse(graph):
        errors = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise EngineError(f"{request.engine} cannot read the network: {complaint(errors)}")
    config, flags = _configured(trt, request, builder, target)
    content = builder.build_serialized_network(network, config)
    if content is None:
        raise EngineError(f"{request.engine} cannot build for {target}: {complaint(log.errors)}")
    plan = EnginePlan(
        file="",
        sha256="",
        bytes=0,
        onnx_sha256=request.manifest.files["onnx"].sha256,
        engine=request.engine,
        version=trt.__version__,
        target=target,
        gpu=gpu.name if gpu and request.engine == "tensorrt" else None,
        precision=request.precision,
        flags=flags,
        build_seconds=round(time.perf_counter() - start_s, 2),
        layers=layers_of(network),
        parity=UNCHECKED,
    )
    return bytes(content), replace(plan, file=_file_name(plan))


def _configured(
    trt: Any, request: Request, builder: Any, target: str
) -> tuple[Any, dict[str, int]]:
    """Return the builder's configuration, and the flags that a plan depends on."""
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_MIB << 20)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    flags = {"optimization": config.builder_optimization_level, "workspace_mib": WORKSPACE_MIB}
    if request.engine == "tensorrt-rtx":
        # Without it no CUDA graph may be captured of the plan (release notes of TensorRT-RTX 1.2).
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
        flags["user_allocation"] = 1
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), 0)
    return config, flags


def _file_name(plan: EnginePlan) -> str:
    """Return a plan's file name, made of everything that the plan depends on."""
    flags = (f"{name[0]}{value}" for name, value in plan.flags.items())
    parts = (plan.onnx_sha256[:16], plan.engine, plan.version, plan.target, plan.gpu)
    words = "-".join(part for part in (*parts, plan.precision, *flags) if part)
    return re.sub(r"[^\w.]+", "-", words) + ".plan"


def layers_of(network: Any) -> dict[str, int]:
    """Count the layers of a parsed network by type and precision: "CONVOLUTION HALF"."""
    layers = (network.get_layer(number) for number in range(network.num_layers))
    counts = Counter(
        f"{layer.type.name} {layer.get_output(0).dtype.name}"
        for layer in layers
        if layer.type.name != "CONSTANT"
    )
    return dict(sorted(counts.items()))
