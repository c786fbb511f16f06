"""Write what tests/gpu found on a card: `python results.py JUNIT_XML CARD DRIVER FOLDER`."""

import ast
import json
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from xml.etree import ElementTree

PACKAGES = (
    "cuda-bindings", "numpy", "openvino", "tensorrt-cu13-bindings", "tensorrt-rtx-cu13-bindings",
    "torch",
)  # fmt: skip


def main(junit: Path, card: str, driver: str, folder: Path) -> Path:
    """Write `gpu_<card>.json` into `folder`: every test, its outcome, seconds and figures."""
    tests = [_row(case) for case in ElementTree.parse(junit).getroot().iter("testcase")]
    table = {
        "schema": 1,
        "card": card,
        "driver": driver,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "tests": tests,
    }
    path = folder / f"gpu_{re.sub(r'[^A-Za-z0-9]+', '_', card)}.json"
    path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return path


def _row(case: ElementTree.Element) -> dict[str, object]:
    told = next((one for one in case if one.tag in ("failure", "error", "skipped")), None)
    row: dict[str, object] = {
        "test": f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}",
        "outcome": "passed" if told is None else told.tag,
        "seconds": float(case.get("time", "0")),
        "figures": {one.get("name"): _value(one.get("value", "")) for one in case.iter("property")},
    }
    if told is not None:
        row["why"] = " ".join((told.get("message") or "").split())[:300]
    return row


def _value(text: str) -> object:
    """Return a property of JUnit's as what it was: a number, a table, or words."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    junit, card, driver, folder = sys.argv[1:]
    print(main(Path(junit), card, driver, Path(folder)))  # noqa: T201
