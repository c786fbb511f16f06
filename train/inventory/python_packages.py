"""Python's packages, as pip has written down what it installed, and Python itself."""

import platform
import re
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from train.inventory.components import ListedComponent

_TEXT = re.compile(r"licen[cs]e|copying|notice|third[-_ ]?party", re.IGNORECASE)
_NO_TEXT = {".py", ".pyi", ".pyc", ".so", ".json"}
_LONGEST_NAME = 80
_SEPARATORS = re.compile(r"[-_.]+")


def python_packages(site: Path, root: Path) -> tuple[ListedComponent, ...]:
    """Return the packages in a folder site-packages, by name.

    Their parts are the libraries that their makers put into folders `<package>.libs` of the wheels.
    """
    found = (_package(one, site, root) for one in distributions(path=[str(site)]))
    return tuple(sorted(found, key=lambda component: component.name))


def _package(distribution: Distribution, site: Path, root: Path) -> ListedComponent:
    metadata = distribution.metadata.json
    name = _SEPARATORS.sub("-", str(metadata["name"])).lower()
    version = str(metadata["version"])
    expression = str(metadata.get("license_expression", ""))
    files = [PurePath(file) for file in distribution.files or ()]
    there = sorted(file for file in files if (site / file).is_file())
    return ListedComponent(
        "library",
        name,
        version,
        f"pkg:pypi/{quote(name)}@{quote(version, safe='')}",
        licences=() if expression else _licences(metadata),
        expression=expression,
        texts=tuple(site / file for file in there if _is_text(file)),
        parts=tuple(
            ListedComponent.of_file("file", site / file, root)
            for file in there
            if file.parts[0].endswith(".libs")
        ),
    )


def _licences(metadata: dict[str, Any]) -> tuple[str, ...]:
    """Return the names that the field License or the classifiers give."""
    field = str(metadata.get("license", "")).strip()
    if field and "\n" not in field and len(field) <= _LONGEST_NAME:
        return (field,)
    classifiers = [str(name) for name in metadata.get("classifier", ())]
    return tuple(
        sorted(name.rpartition(" :: ")[2] for name in classifiers if name.startswith("License :: "))
    )


def _is_text(file: PurePath) -> bool:
    if file.suffix in _NO_TEXT:
        return False
    return bool(_TEXT.search(file.name)) or ".dist-info/licenses/" in file.as_posix()


def interpreter(stdlib: Path, root: Path) -> tuple[ListedComponent, ...]:
    """Return Python itself where no package of Debian's has it, as in Docker's own images.

    Args:
        stdlib: Folder of its standard library.
        root: Of the system.
    """
    if stdlib.is_relative_to(root / "usr/lib"):
        return ()
    version = platform.python_version()
    text = stdlib / "LICENSE.txt"
    texts = (text,) if text.is_file() else ()
    purl = f"pkg:generic/python@{version}"
    return (ListedComponent("platform", "python", version, purl, ("PSF-2.0",), texts=texts),)
