"""The house: what lies where, how long modules get, what the lock files promise."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("imaging", "inference", "viewer", "evaluation", "train", "benchmarks", "flare23")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MODULE_LINES, FUNCTION_LINES = 300, 40
VAGUE = {"common", "helper", "helpers", "misc", "util", "utils"}
SHELL_FILES = (
    "predict.sh",
    "tests/run.sh",
    "tests/chromium.sh",
    ".ci/run",
    "locks/make_env.sh",
    "locks/compile.sh",
)


def named(path):
    return str(path.relative_to(ROOT))


def pinned(lock):
    """Versions by distribution in a lock file."""
    text = (ROOT / "locks" / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;]+)", text, re.MULTILINE))


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_every_package_but_the_foundation_has_a_command_line(package):
    for name in ("__init__.py", "__main__.py", "cli.py"):
        assert (ROOT / package / name).is_file()


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            length -= len((ast.get_docstring(node, clean=False) or "").splitlines())
            assert length <= FUNCTION_LINES, node.name


def test_modules_are_named_for_what_they_hold():
    assert not [named(path) for path in MODULES if path.stem in VAGUE]


def test_the_distribution_is_not_named_like_its_packages():
    # `inference` and `train` are other people's names on the package index
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "flare23-kit"
    assert project["license"] == "Apache-2.0"
    assert {"train", "evaluation", "tensorrt", "tensorrt-rtx", "dev", "onnxruntime"} <= set(
        project["optional-dependencies"]
    )


@pytest.mark.parametrize("lock", ["inference.txt", "gpu.txt", "dev.txt"])
def test_locks_pin_every_package_by_digest_and_name_no_index(lock):
    text = (ROOT / "locks" / lock).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[\w.-]+(?:\[[\w,-]+\])?==)", text)[1:]
    assert len(entries) == len(pinned(lock))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "index-url" not in text
    assert "://" not in text


def test_the_locks_agree_and_the_image_stays_small():
    lean, gpu, dev = pinned("inference.txt"), pinned("gpu.txt"), pinned("dev.txt")
    assert lean.items() <= gpu.items() <= dev.items()
    assert gpu.keys().isdisjoint({"torch", "nnunetv2", "scipy", "pandas", "matplotlib", "onnx"})
    assert {"torch", "pytest", "mypy", "ruff"} <= dev.keys()
    assert dev["nnunetv2"] == "2.8.1"


@pytest.mark.parametrize("script", SHELL_FILES)
def test_scripts_name_no_place_of_one_machine(script):
    text = (ROOT / script).read_text(encoding="utf-8")
    assert not re.search(
        r"(?<![\w.$\"}])/(?!bin/sh|usr/bin/env|dev/null|proc/uptime|[*?\"'{}.])\w+/\w", text
    )


def test_ci_runs_what_the_readme_tells_people_to_run():
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["exec sh tests/run.sh"]
