"""NiiVue, as npm has it: the file beside this module, pinned by its digest."""

import gzip
from functools import cache
from pathlib import Path

from imaging.digest import sha256
from imaging.errors import KitError
from imaging.records import read_table

FOLDER = Path(__file__).parent / "niivue"


@cache
def version() -> dict[str, str]:
    """Return the package's name, version, archive and digests."""
    return read_table(FOLDER / "version.json", "version of NiiVue")[0]


def packed_library() -> bytes:
    """Return NiiVue's script, gzipped.

    Raises:
        KitError: It is not the script whose digest is pinned.
    """
    path = FOLDER / "niivue.umd.js.gz"
    try:
        packed = path.read_bytes()
        found = sha256(gzip.decompress(packed))
    except (OSError, EOFError) as error:
        raise KitError(f"{path}: cannot be read ({error}); install the kit again") from error
    if found != version()["sha256"]:
        raise KitError(
            f"{path}: sha256 {found}, version.json says {version()['sha256']}; "
            "install the kit again"
        )
    return packed


def licences() -> str:
    """Return the licences of NiiVue and of what its build contains."""
    return (FOLDER / "LICENSE").read_text(encoding="utf-8")
