"""One name, one meaning: no public function or class of the packages is defined in two modules."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))

SHARED = {
    "main": "each package's command line",
    "load": "each engine's module: opens a network",
    "means": "official and fixed rules: the means over cases",
    "score_labels": "official and fixed rules: the scores of one case",
    "fit": "train a network: nnU-Net's, that of `train small`, and the command",
    "prepare": "before a training: nnU-Net's, that of `train small`, and the command",
}
"""Names that several modules define because they mean the same."""


def defined_more_than_once(texts):
    """The public names that several of `texts` define, by file, and the files of each."""
    places = defaultdict(list)
    for file, text in texts.items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(file)
    return {name: files for name, files in places.items() if len(files) > 1}


def test_a_public_name_is_defined_once():
    texts = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    found = defined_more_than_once(texts)
    assert {name: files for name, files in found.items() if name not in SHARED} == {}
    assert found.keys() >= SHARED.keys(), "a shared name is shared no more: take it off the list"


def test_a_name_that_two_modules_define_would_be_found():
    texts = {"a.py": "def draw(): ...", "b.py": "class draw: ...\ndef _draw(): ...", "c.py": ""}
    assert defined_more_than_once(texts) == {"draw": ["a.py", "b.py"]}
