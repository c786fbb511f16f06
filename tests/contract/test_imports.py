"""The image is lean only as long as these hold: every container pays for every import."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAINING = {
    "nnunetv2",
    "onnx",
    "train",
    "torch",
    "matplotlib",
    "pandas",
    "scipy",
    "skimage",
    "sklearn",
}
RUNTIMES = {"cuda", "onnxruntime", "openvino", "tensorrt_bindings", "tensorrt_rtx_bindings"}
RUNTIME_MODULES = {"cuda", "half_graph", "torch_network", "torch_windows"}
"""Modules beside the engines that stand on a runtime, or on onnx; imported when they are used."""
WORK = {"PIL", "SimpleITK", "cc3d", "msgspec", "numpy", "pydicom", "rich"}
HELP_LIMIT_S = 0.25
RUNS = 7
EVALUATION_HAS = {"matplotlib", "scipy"}
BURN = "import time\nwhile time.process_time() < 0.3: pass"


def fresh(*arguments):
    """Run a fresh interpreter in the repository's root, where nothing of the kit is installed."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )


def loaded_by(code):
    """Top-level modules that `code` leaves in a fresh interpreter."""
    probe = f"{code}\nimport sys; print(*{{m.partition('.')[0] for m in sys.modules}})"
    return set(fresh("-c", probe).stdout.split())


def imported_by_command(*arguments):
    """Top-level modules that a command line imports, by the interpreter's own account."""
    told = fresh("-X", "importtime", *arguments).stderr
    names = re.findall(r"^import time:.*\|\s*([\w.]+)$", told, re.MULTILINE)
    return {name.partition(".")[0] for name in names}


def processor_seconds(*arguments):
    """Processor time of a fresh interpreter, the best of several runs.

    The command uses one thread and waits for nothing: on an idle machine this is its wall time,
    and on a busy one the figure stays the same.
    """
    spent = []
    for _ in range(RUNS):
        before = os.times()
        fresh(*arguments)
        after = os.times()
        user = after.children_user - before.children_user
        spent.append(user + after.children_system - before.children_system)
    return min(spent)


def test_help_loads_nothing_that_works():
    loaded = imported_by_command("-m", "inference", "--help")
    assert {"click", "inference"} <= loaded
    assert loaded.isdisjoint(TRAINING | RUNTIMES | WORK)


def test_help_of_a_command_loads_nothing_that_works():
    loaded = imported_by_command("-m", "inference", "predict", "--help")
    assert loaded.isdisjoint(TRAINING | RUNTIMES | WORK)


def test_the_default_weights_train_where_only_torch_and_nnunet_are():
    loaded = loaded_by("import train.small.fit")
    assert {"torch", "nnunetv2"} <= loaded
    heavy = {"SimpleITK", "cc3d", "h5py", "onnx", "scipy", "snakemake"}
    assert loaded.isdisjoint(heavy | RUNTIMES - {"cuda"})  # torch brings a `cuda` of its own


def test_help_is_there_at_once():
    assert processor_seconds("-m", "inference", "--help") <= HELP_LIMIT_S


def all_of(package):
    """Code that imports every module of a package but entries and what is on top of a runtime."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.stem.endswith("_engine") and path.stem not in {"__main__", *RUNTIME_MODULES}
    ]
    return "\n".join(f"import {name}" for name in names)


def test_no_module_of_inference_loads_training_evaluation_or_a_runtime():
    loaded = loaded_by(all_of("inference"))
    assert {"inference", "numpy"} <= loaded
    assert loaded.isdisjoint(TRAINING | RUNTIMES | {"evaluation"})


def test_no_module_of_the_viewer_loads_training_evaluation_or_a_runtime():
    loaded = loaded_by(all_of("viewer"))
    assert {"viewer", "inference"} <= loaded
    assert loaded.isdisjoint(TRAINING | RUNTIMES | {"evaluation", "jinja2"})


def test_no_module_of_evaluation_loads_training_or_a_runtime():
    loaded = loaded_by(all_of("evaluation"))
    assert {"evaluation", "inference", *EVALUATION_HAS} <= loaded
    assert loaded.isdisjoint((TRAINING | RUNTIMES) - EVALUATION_HAS)


def test_the_openvino_engine_loads_no_other():
    pytest.importorskip("openvino")
    loaded = loaded_by("import inference.engines.openvino_engine")
    assert "openvino" in loaded
    assert loaded.isdisjoint(TRAINING | RUNTIMES - {"openvino"})


def test_the_probes_themselves_can_fail():
    assert "train" in loaded_by("import train.cli")
    assert "numpy" in imported_by_command("-c", "import imaging.geometry")
    assert processor_seconds("-c", BURN) > HELP_LIMIT_S


MAY_IMPORT = {
    "imaging": set(),
    "inference": {"imaging"},
    "viewer": {"imaging", "inference"},
    "evaluation": {"imaging", "inference", "viewer"},
    "train": {"imaging", "inference", "viewer", "evaluation"},
    "benchmarks": {"imaging", "inference", "evaluation", "train"},
    "flare23": {"imaging"},
}
"""The arrows of docs/architecture.md: each package, and what it builds on."""


def imported_in(package):
    """Packages of the kit that some module of `package` imports, anywhere in its text."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
    return found & MAY_IMPORT.keys()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_builds_on(package):
    assert imported_in(package) == MAY_IMPORT[package] | {package}


def test_no_module_of_imaging_loads_anything_above_it():
    loaded = loaded_by(all_of("imaging"))
    assert {"imaging", "SimpleITK"} <= loaded
    assert loaded.isdisjoint(TRAINING | RUNTIMES | {"inference", "evaluation", "benchmarks"})


ONE_PLACE = {
    "components": r"\bimport cc3d\b|\bndimage\.label\(|measure\.label\(|ConnectedComponent",
    "digest": r"\bhashlib\b",
    "records": r"\bimport msgspec\b",
    "overlap": r"minlength=(256|CLASSES)\)|\b2 \* (both|joint|np\.count_nonzero)",
}
"""Modules of imaging, and what they alone do: once, for all packages."""


@pytest.mark.parametrize("module", ONE_PLACE)
def test_what_is_done_in_one_place(module):
    doers = re.compile(ONE_PLACE[module])
    found = {
        str(path.relative_to(ROOT))
        for package in MAY_IMPORT
        for path in (ROOT / package).rglob("*.py")
        if doers.search(path.read_text(encoding="utf-8"))
    }
    assert found == {f"imaging/{module}.py"}
