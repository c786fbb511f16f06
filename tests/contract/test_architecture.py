"""docs/architecture.md names the rooms and the way of a CT and of a round as the code has them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("imaging", "inference", "viewer", "evaluation", "train", "benchmarks")
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
STEP = re.compile(r"^\| \d+ \| `([\w.]+)` \| (?:`([\w.]+)`)? *\|", re.MULTILINE)
WAYS = ("One CT", "One round")


def section(title):
    return PAGE.partition(f"\n## {title}")[2].partition("\n## ")[0]


def steps(title):
    """The modules of a way in order, each with the module that calls it ("" for the first)."""
    return STEP.findall(section(title))


def file_of(module):
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported_by(module):
    """Names that a module imports anywhere in its text, those that it loads by name among them."""
    found = set()
    for node in ast.walk(ast.parse(file_of(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value.partition(":")[0])
    return found


@pytest.mark.parametrize("title", WAYS)
def test_every_module_of_a_way_exists_and_none_is_named_twice(title):
    modules = [module for module, _ in steps(title)]
    assert len(modules) > 10
    assert [module for module in modules if not file_of(module).is_file()] == []
    assert len(set(modules)) == len(modules)


@pytest.mark.parametrize("title", WAYS)
def test_every_module_of_a_way_is_imported_by_an_earlier_one(title):
    seen = set()
    for module, caller in steps(title):
        if seen:
            assert caller in seen, f"{module}: {caller} does not come before it"
            assert module in imported_by(caller), f"{caller} does not import {module}"
        else:
            assert caller == ""
        seen.add(module)


@pytest.mark.parametrize("title", WAYS)
def test_every_row_of_a_way_is_read(title):
    rows = re.findall(r"^\| (\d+) \|", section(title), re.MULTILINE)
    assert rows == [str(number) for number in range(1, len(steps(title)) + 1)]


def test_every_room_is_in_the_table_and_no_other():
    rooms = {
        str(path.parent.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    named = re.findall(r"^\| `([\w/]+)/` \|", section("Rooms"), re.MULTILINE)
    assert sorted(named) == sorted(rooms)


def test_a_missing_import_would_be_found():
    assert "train.cli" not in imported_by("inference.cli")
    assert "imaging.errors" in imported_by("inference.cli")
