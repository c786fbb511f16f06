"""Export an nnU-Net result folder to a bundle of weights, manifest and parity report."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from imaging.errors import KitError
from imaging.records import write_json
from inference.manifest import ComponentRule, Manifest, WeightsFile, WindowSpec, load_manifest
from train.export.checkpoint import Checkpoint, load_checkpoint
from train.export.network import build_network, resolved_configuration, round_to_f16
from train.export.onnx_graph import exported_program, write_onnx
from train.export.parity import LogitAgreement, logit_agreements, refuse_disagreement, report
from train.export.patches import parity_patches
from train.export.plans import PlannedModel, planned_model, read_json

MANIFEST = "weights_manifest.json"
PARITY = "parity.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and how."""

    model_folder: Path
    bundle: Path
    fold: str = "all"
    checkpoint: str = "checkpoint_final.pth"
    storage: str = "f32"
    parity_cases: tuple[Path, ...] = ()
    name: str | None = None
    provenance: Path | None = None
    components: Path | None = None
    crop: str = "nonzero"
    step: float = 0.5
    threads: int = 2
    trust_checkpoint: bool = False


@dataclass(frozen=True)
class Export:
    """What was exported."""

    manifest: Path
    agreements: tuple[LogitAgreement, ...]
    warnings: tuple[str, ...]


def export_bundle(request: ExportRequest) -> Export:
    """Export one fold of a model into `request.bundle`.

    The files are made in a folder beside their place and moved there only when the parity report
    is within its tolerances; the manifest comes last.

    Raises:
        KitError: The model is not supported, is damaged, or the engines disagree with torch.
    """
    checkpoint = load_checkpoint(_checkpoint_path(request), trusted=request.trust_checkpoint)
    plans = read_json(request.model_folder / "plans.json")
    dataset = read_json(request.model_folder / "dataset.json")
    resolved = resolved_configuration(plans, checkpoint.configuration)
    model = planned_model(plans, dataset, checkpoint.configuration, resolved)
    name = _name(request, model)
    provenance = _read_provenance(request.provenance)
    rules = _read_rules(request.components, model.labels)
    network = build_network(
        model.architecture, model.outputs, checkpoint.weights, model.axes_in_network
    )
    if request.storage == "f16":
        round_to_f16(network)
    with _staged(request.bundle) as stage:
        onnx = stage / "weights" / f"{name}.onnx"
        onnx.parent.mkdir()
        program = exported_program(network, model.patch)
        opset = write_onnx(program, onnx, f16_storage=request.storage == "f16")
        provenance |= _origin(request, checkpoint, model, opset)
        manifest = _manifest(request, model, checkpoint, onnx, rules, provenance)
        manifest.write(stage / MANIFEST)
        load_manifest(stage / MANIFEST)  # what prediction would refuse is not published
        patches, sources = parity_patches(manifest, request.parity_cases)
        agreements = logit_agreements(network, patches, manifest, request.threads)
        refuse_disagreement(agreements)
        parity = report(agreements, sources, manifest.files["onnx"].sha256)
        write_json(parity, stage / PARITY, indent=2)
        _put_in_place(stage, request.bundle)
    return Export(request.bundle / MANIFEST, tuple(agreements), model.warnings)


def _checkpoint_path(request: ExportRequest) -> Path:
    fold = request.model_folder / f"fold_{request.fold}"
    if not fold.is_dir():
        found = sorted(path.name for path in request.model_folder.glob("fold_*"))
        raise KitError(
            f"{request.model_folder} has no fold {request.fold!r}; it has "
            f"{', '.join(found) or 'none: is it an nnU-Net result folder?'}"
        )
    return fold / request.checkpoint


def _name(request: ExportRequest, model: PlannedModel) -> str:
    name = request.name or f"{model.dataset}_{model.configuration}"
    if not _NAME.fullmatch(name):
        raise KitError(f"name {name!r}: use letters, digits, '.', '_' and '-' only")
    return name


def _read_provenance(path: Path | None) -> dict[str, Any]:
    provenance = {} if path is None else read_json(path)
    if taken := provenance.keys() & {"training", "export"}:
        raise KitError(f"{path}: the export itself writes {', '.join(sorted(taken))}; rename it")
    return provenance


def _read_rules(path: Path | None, labels: dict[str, int]) -> tuple[ComponentRule, ...]:
    """Read the component rules: {"components": [{"label": …, "keep": "largest"}, …]}."""
    if path is None:
        return ()
    rows = read_json(path).get("components") or ()
    try:
        rules = tuple(ComponentRule(**row) for row in rows)
    except TypeError as error:
        raise KitError(f"{path}: 'components' is no list of component rules: {error}") from error
    if unknown := sorted({rule.label for rule in rules} - labels.keys()):
        raise KitError(f"{path}: no such label in this network: {', '.join(unknown)}")
    return rules


@contextmanager
def _staged(bundle: Path) -> Iterator[Path]:
    """Yield a folder inside `bundle` for the making; leave nothing of it behind."""
    is_new = not bundle.exists()
    try:
        bundle.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".export-", dir=bundle))
    except OSError as error:
        raise KitError(f"{bundle}: cannot be written ({error.strerror})") from error
    try:
        yield stage
    finally:
        shutil.rmtree(stage)
        if is_new and not any(bundle.iterdir()):
            bundle.rmdir()


def _origin(
    request: ExportRequest, checkpoint: Checkpoint, model: PlannedModel, opset: int
) -> dict[str, Any]:
    """Say what was trained and how it was exported; no path of this machine."""
    return {
        "training": {
            "dataset": model.dataset,
            "plans": model.plans,
            "configuration": model.configuration,
            "network": model.architecture.class_path.rpartition(".")[2],
            "trainer": checkpoint.trainer,
            "fold": request.fold,
            "epochs": checkpoint.epochs,
            "checkpoint": {"name": checkpoint.path.name, "sha256": checkpoint.sha256},
        },
        "export": {
            "storage": request.storage,
            "onnx_opset": opset,
            "versions": {name: version(name) for name in ("torch", "nnunetv2", "onnx")},
            "warnings": list(model.warnings),
        },
    }


def _manifest(
    request: ExportRequest,
    model: PlannedModel,
    checkpoint: Checkpoint,
    onnx: Path,
    rules: tuple[ComponentRule, ...],
    provenance: dict[str, Any],
) -> Manifest:
    axes = sorted(model.axes_in_network[axis] for axis in checkpoint.mirror_axes)
    return Manifest(
        name=onnx.stem,
        files={"onnx": WeightsFile.of(onnx, f"weights/{onnx.name}")},
        orientation=model.orientation,
        spacing_mm=model.spacing_mm,
        crop=request.crop,
        intensity=model.intensity,
        window=WindowSpec(model.patch, request.step, "gaussian", "none", tuple(axes)),
        labels=model.labels,
        postprocess=rules,
        provenance=provenance,
        folder=onnx.parents[1],
    )


def _put_in_place(stage: Path, bundle: Path) -> None:
    """Move what was made into the bundle, the manifest last: it names the other files."""
    (bundle / "weights").mkdir(exist_ok=True)
    for path in (stage / "weights").iterdir():
        path.replace(bundle / "weights" / path.name)
    for name in (PARITY, MANIFEST):
        (stage / name).replace(bundle / name)
