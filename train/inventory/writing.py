"""Both files of a system's inventory."""

import gzip
from dataclasses import dataclass
from pathlib import Path

from imaging.files import make_folder, replacing
from imaging.records import write_json
from train.inventory.bom import cyclonedx
from train.inventory.debian import common_licences, debian_packages
from train.inventory.kit import kit_itself, weights_files
from train.inventory.licences import licence_texts
from train.inventory.python_packages import interpreter, python_packages

SBOM, LICENCES = "sbom.cdx.json", "licences.txt.gz"
_LEVEL = 9


@dataclass(frozen=True)
class System:
    """Where things lie."""

    root: Path
    """The root of the file system."""
    workspace: Path
    """Folder with the kit's LICENSE, weights_manifest.json and weights/."""
    site: Path
    """Folder site-packages."""
    stdlib: Path
    """Folder of Python's standard library."""


def write_inventory(
    system: System, output: Path, version: str, revision: str, epoch_s: int | None
) -> None:
    """Write `SBOM` and `LICENCES` into a folder, the same bytes for the same system.

    Args:
        system: What is listed.
        output: The folder.
        version: Of the kit.
        revision: The kit's commit.
        epoch_s: Seconds since 1970 that the list is dated with; None: it has no date.

    Raises:
        KitError: A file cannot be read or written.
    """
    components = (
        kit_itself(system.workspace, version),
        *weights_files(system.workspace, system.root),
        *interpreter(system.stdlib, system.root),
        *python_packages(system.site, system.root),
        *debian_packages(system.root),
    )
    make_folder(output)
    write_json(cyclonedx(components, version, revision, epoch_s), output / SBOM)
    text = licence_texts(components, common_licences(system.root), system.root)
    with replacing(output / LICENCES) as partial:
        partial.write_bytes(gzip.compress(text.encode("utf-8"), _LEVEL, mtime=0))
