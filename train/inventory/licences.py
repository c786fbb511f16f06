"""The licences of everything as one text; a text that comes again is named, not repeated."""

from collections.abc import Iterable
from pathlib import Path

from imaging.digest import sha256
from train.inventory.components import ListedComponent

_RULE = "=" * 80


def licence_texts(components: Iterable[ListedComponent], common: Iterable[Path], root: Path) -> str:
    """Return name, version, licence and the texts of every component, then the common texts.

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
