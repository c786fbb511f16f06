"""Both files of a system's inventory: what it holds, and the licences of all that as one text."""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from imaging.digest import sha256
from imaging.files import KIT, make_folder, replacing
from imaging.records import read_table, write_json
from train.inventory.components import ListedComponent, cyclonedx
from train.inventory.debian import common_licences, debian_packages
from train.inventory.python_packages import interpreter, python_packages

SBOM, LICENCES = "sbom.cdx.json", "licences.txt.gz"
MANIFEST = "weights_manifest.json"
_LEVEL = 9
_RULE = "=" * 80


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
    kit_text = (system.workspace / "LICENSE",)
    components = (
        ListedComponent("application", KIT, version, licences=("Apache-2.0",), texts=kit_text),
        *weights_files(system.workspace, system.root),
        *interpreter(system.stdlib, system.root),
        *python_packages(system.site, system.root),
        *debian_packages(system.root),
    )
    make_folder(output)
    write_json(cyclonedx(components, version, revision, epoch_s), output / SBOM)
    texts = licence_texts(components, common_licences(system.root), system.root)
    with replacing(output / LICENCES) as partial:
        partial.write_bytes(gzip.compress(texts.encode("utf-8"), _LEVEL, mtime=0))


def weights_files(workspace: Path, root: Path) -> tuple[ListedComponent, ...]:
    """Return the manifest and every file in weights/, with what the manifest says of their licence.

    Raises:
        KitError: The manifest cannot be read.
    """
    table, _ = read_table(workspace / MANIFEST, "manifest")
    provenance = table.get("provenance")
    said = provenance.get("license") if isinstance(provenance, dict) else None
    licences = (str(said),) if said else ()
    found = sorted(path for path in (workspace / "weights").rglob("*") if path.is_file())
    return (
        ListedComponent.of_file("file", workspace / MANIFEST, root, licences),
        *(
            ListedComponent.of_file("machine-learning-model", path, root, licences)
            for path in found
        ),
    )


def licence_texts(components: Iterable[ListedComponent], common: Iterable[Path], root: Path) -> str:
    """Return name, version, licence and the texts of every component, then the common texts.

    A text that comes again is named, not repeated.

    Args:
        components: What the image holds.
        common: Texts that those of Debian's packages refer to.
        root: Of the system that they lie in.
    """
    parts = ["Licences of everything in this image, in the order of sbom.cdx.json."]
    seen: dict[str, str] = {}
    for component in components:
        parts.append(f"{_RULE}\n{component.title}\nlicence: {component.licence}")
        if not component.texts:
            parts.append("No text of a licence comes with it.")
        parts += [_text(path, root, seen) for path in component.texts]
    parts.append(f"{_RULE}\nTexts that those above refer to")
    parts += [_text(path, root, seen) for path in common]
    return "\n\n".join(parts) + "\n"


def _text(path: Path, root: Path, seen: dict[str, str]) -> str:
    """Return a file's text below its path, or where the same text stands."""
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    place = f"/{path.relative_to(root).as_posix()}"
    first = seen.setdefault(sha256(text.encode()), place)
    return f"--- {place}\n\n{text}" if first == place else f"--- {place}: the text of {first}"
