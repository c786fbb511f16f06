"""Optional packages: which extra of the kit brings them, and what to type where one is missing."""

import shlex
import sys
from pathlib import Path

_DISTRIBUTION = "flare23-kit"
_EXTRAS = {
    "dicom": ("highdicom", "pydicom"),
    "evaluation": ("jinja2", "matplotlib", "psutil", "pynvml", "scipy", "surface_distance"),
    "provenance": ("mlcroissant", "rocrate"),
    "train": (
        "dynamic_network_architectures",
        "h5py",
        "nncf",
        "nnunetv2",
        "onnx",
        "onnxscript",
        "snakemake",
        "torch",
    ),
}
"""Importable names by extra of pyproject.toml."""


def how_to_install(extra: str) -> str:
    """Say what to type to install what an extra brings, for the Python that runs.

    Args:
        extra: One of pyproject.toml's optional dependencies; "" for the required ones.
    """
    checkout = Path(__file__).parents[1]
    if (checkout / "pyproject.toml").is_file():
        wanted = [f"{checkout}[{extra}]" if extra else str(checkout)]
    else:
        wanted = _requirements(extra)
    return f"run `{shlex.join([sys.executable, '-m', 'pip', 'install', *wanted])}`"


def missing_package(error: BaseException) -> str | None:
    """Return a one-line message if `error` says that an optional package is not installed."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    name = error.name.partition(".")[0]
    extra = next((extra for extra, names in _EXTRAS.items() if name in names), None)
    return None if extra is None else f"{name} is not installed; {how_to_install(extra)}"


def _requirements(extra: str) -> list[str]:
    """Return the requirements of an extra of the installed kit, as pip takes them."""
    from importlib import metadata  # 15 ms: only where something is missing

    found = []
    for line in metadata.requires(_DISTRIBUTION) or []:
        requirement, _, marker = line.partition(";")
        named = marker.replace('"', "'").strip()
        if named == (f"extra == '{extra}'" if extra else ""):
            found.append(requirement.strip())
    return found
