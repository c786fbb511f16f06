"""Debian's packages, as dpkg has written down what it installed."""

import re
from pathlib import Path
from urllib.parse import quote

from train.inventory.components import ListedComponent

_FIELD = re.compile(r"^([\w-]+): (.*)$", re.MULTILINE)
_SETTING = re.compile(r"^(\w+)=\"?([^\"\n]*)\"?$", re.MULTILINE)
_LICENCE = re.compile(r"^License: *(\S.*?) *$", re.MULTILINE)
_MACHINE_READABLE = "copyright-format"
COMMON_LICENCES = Path("usr/share/common-licenses")
"""Texts that the copyright files of packages refer to."""


def debian_packages(root: Path) -> tuple[ListedComponent, ...]:
    """Return the installed packages of the system at `root`, by name; none where it has no dpkg."""
    status = root / "var/lib/dpkg/status"
    if not status.is_file():
        return ()
    release = dict(_SETTING.findall((root / "etc/os-release").read_text(encoding="utf-8")))
    distro = f"{release['ID']}-{release.get('VERSION_ID', '')}".rstrip("-")
    blocks = status.read_text(encoding="utf-8").split("\n\n")
    tables = [dict(_FIELD.findall(block)) for block in blocks]
    installed = [table for table in tables if table.get("Status", "").endswith(" installed")]
    return tuple(
        _package(table, distro, root) for table in sorted(installed, key=lambda t: t["Package"])
    )


def _package(table: dict[str, str], distro: str, root: Path) -> ListedComponent:
    name, version = table["Package"], table["Version"]
    vendor = distro.partition("-")[0]
    purl = f"pkg:deb/{vendor}/{quote(name)}@{quote(version, safe='')}"
    copyright_file = root / "usr/share/doc" / name / "copyright"
    found = copyright_file.is_file()
    return ListedComponent(
        "library",
        name,
        version,
        f"{purl}?arch={table['Architecture']}&distro={distro}",
        licences=_licences(copyright_file) if found else (),
        texts=(copyright_file,) if found else (),
    )


def _licences(copyright_file: Path) -> tuple[str, ...]:
    """Return the short names of Debian's format of copyright files; none of a text without it.

    The format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/.
    """
    text = copyright_file.read_text(encoding="utf-8", errors="replace")
    if _MACHINE_READABLE not in text.partition("\n\n")[0]:
        return ()
    return tuple(sorted({*_LICENCE.findall(text)}))


def common_licences(root: Path) -> tuple[Path, ...]:
    """Return the files of `COMMON_LICENCES`, without links to them."""
    folder = root / COMMON_LICENCES
    if not folder.is_dir():
        return ()
    return tuple(path for path in sorted(folder.iterdir()) if not path.is_symlink())
