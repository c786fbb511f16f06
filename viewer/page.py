"""The page itself: a filled template; its policy allows its own scripts by digest, nothing else."""

import html
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import inference
from imaging.digest import sha256
from imaging.files import replacing
from imaging.geometry import Shape, SpacingMm
from viewer.case import ViewedCase
from viewer.library import licences, packed_library, version
from viewer.packing import COARSE_STEP, FINE_HU, FINE_STEP, TABLE_HU, as_text
from viewer.reduced import Reduced, reduced

MOST_BYTES = 6_000_000
_ROOM = 2000
"""Bytes for the numbers that are not known before the copy is made."""
_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("decode.js", "surfaces.js", "scene.js", "page.js")


def write_page(case: ViewedCase, path: Path, most_bytes: int = MOST_BYTES) -> int:
    """Write one HTML file that shows `case` in any current browser, without a network.

    The same case gives the same bytes.

    Args:
        case: What to show.
        path: The file.
        most_bytes: What it may take: the copy of the CT in it is as fine as this allows.

    Returns:
        The file's bytes.

    Raises:
        KitError: The file cannot be written, or the CT does not fit.
    """
    library = as_text(packed_library())
    blank = Reduced(case.grid.shape, case.grid.spacing_mm, b"", (), (0, 0, 0))
    frame = len(_page(case, blank, library).encode())
    copy = reduced(case, most_bytes - frame - _ROOM)
    content = _page(case, copy, library).encode("utf-8", errors="backslashreplace")
    with replacing(path) as partial:
        partial.write_bytes(content)
    return len(content)


def page_name(case: str) -> str:
    """Return the file name of a case's page."""
    return f"{case}.html"


def page_address(case: str) -> str:
    """Return a link to a case's page from a page in the same folder."""
    return quote(page_name(case), errors="surrogateescape")


def filled(template: str, values: dict[str, str]) -> str:
    """Return a file of templates/ with a value for each name that stands between @@ and @@."""
    parts = _read(template).split("@@")  # every second part is the name of a value
    return "".join(values[part] if odd % 2 else part for odd, part in enumerate(parts))


def _page(case: ViewedCase, copy: Reduced, library: str) -> str:
    """Return the page of a case with a copy of it."""
    script = "\n".join(_read(name) for name in _SCRIPTS)
    style = _read("page.css")
    values = {
        "policy": _policy(script, style),
        "title": html.escape(case.name),
        "style": style,
        "case": _json(_about(case, copy)),
        "library": library,
        "ct": as_text(copy.ct),
        "maps": "\n".join(_map(*numbered) for numbered in enumerate(copy.maps)),
        "licences": html.escape(licences()),
        "kit": html.escape(inference.__version__),
        "niivue": html.escape(version()["version"]),
        "script": script,
    }
    return filled("page.html", values)


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    """Return the Content-Security-Policy: these scripts, this style, and no connection at all."""
    # Between its tags each stands with a line break before and after it.
    own, look = (_source(sha256(f"\n{text}\n".encode())) for text in (script, style))
    return (
        f"default-src 'none'; script-src {own} {_source(version()['sha256'])}; style-src {look}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _source(digest: str) -> str:
    """Return a SHA-256 as a policy names it."""
    return f"'sha256-{as_text(bytes.fromhex(digest))}'"


def _map(number: int, data: bytes) -> str:
    return f'<script type="text/plain" id="map-{number}">{as_text(data)}</script>'


def _json(value: Any) -> str:
    """Return JSON that cannot end the element it stands in."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _about(case: ViewedCase, copy: Reduced) -> dict[str, Any]:
    """Return all that the page's script needs to know; axes are (x, y, z)."""
    return {
        "name": case.name,
        "shape": copy.shape[::-1],
        "spacing_mm": [round(mm, 5) for mm in reversed(copy.spacing_mm)],
        "start": copy.start[::-1],
        "hu": TABLE_HU.tolist(),
        "maps": list(case.maps),
        "organs": [
            {
                "label": organ.label,
                "name": organ.name,
                "color": organ.color,
                "ml": [round(ml, 2) for ml in organ.volumes_ml],
                "dsc": None if organ.dsc is None else round(organ.dsc, 4),
            }
            for organ in case.organs
        ],
        "file": _file_axes(case, copy.shape),
        "notes": [*_notes(case, copy.spacing_mm), *case.warnings],
    }


def _file_axes(case: ViewedCase, shape: Shape) -> list[dict[str, float]]:
    """Return for the file's axes x, y, z how its voxels are counted from those of the copy."""
    axes: list[dict[str, float]] = [{}, {}, {}]
    rows = zip(case.turn.order, case.turn.flipped, case.box, case.grid.shape, shape, strict=True)
    for turned, (stored, flipped, part, count, shown) in enumerate(rows):
        axes[2 - stored] = {
            "axis": 2 - turned,
            "ratio": round((part.stop - part.start) / shown, 6),
            "start": part.start,
            "last": count - 1 if flipped else -1,
        }
    return axes


def _notes(case: ViewedCase, spacing_mm: SpacingMm) -> list[str]:
    """Say what was left out of the copy."""
    voxels, whole = (
        " × ".join(f"{round(mm, 2):g}" for mm in reversed(size))
        for size in (spacing_mm, case.grid.spacing_mm)
    )
    if voxels == whole:
        notes = [f"Voxels are the CT's own: {voxels} mm (x, y, z)."]
    else:
        notes = [f"Shown at {voxels} mm (x, y, z); the CT has {whole} mm."]
    low, high = FINE_HU
    notes.append(
        f"HU are in steps of {FINE_STEP} from {low} to {high} and of {COARSE_STEP} elsewhere, from "
        f"{TABLE_HU[0]} to {TABLE_HU[-1]}: the value at the cross is this copy's."
    )
    z, y, x = (part.stop - part.start for part in case.box)
    if (z, y, x) != case.grid.shape:
        size = " × ".join(map(str, reversed(case.grid.shape)))
        notes.append(f"Cropped to {x} × {y} × {z} of the CT's {size} voxels: organs and body.")
    notes.append("Volumes and DSC are of the whole label maps, as they are in their files.")
    return notes
