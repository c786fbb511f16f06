"""The kit itself and the weights that the image gets."""

from pathlib import Path

from imaging.digest import file_sha256
from imaging.files import KIT
from imaging.records import read_table
from train.inventory.components import ListedComponent

MANIFEST = "weights_manifest.json"


def kit_itself(workspace: Path, version: str) -> ListedComponent:
    """Return the kit, whose LICENSE lies in `workspace`."""
    text = workspace / "LICENSE"
    return ListedComponent("application", KIT, version, licences=("Apache-2.0",), texts=(text,))


def weights_files(workspace: Path, root: Path) -> tuple[ListedComponent, ...]:
    """Return the manifest and every file in weights/, with what the manifest says of their licence.

    Raises:
        KitError: The manifest cannot be read.
    """
    table, _ = read_table(workspace / MANIFEST, "manifest")
    provenance = table.get("provenance")
    said = provenance.get("license") if isinstance(provenance, dict) else None
    licences = (str(said),) if said else ()
    found = [workspace / MANIFEST]
    found += sorted(path for path in (workspace / "weights").rglob("*") if path.is_file())
    return tuple(
        ListedComponent(
            "file" if path.name == MANIFEST else "machine-learning-model",
            path.name,
            licences=licences,
            path=path.relative_to(root).as_posix(),
            sha256=file_sha256(path),
        )
        for path in found
    )
