"""What an image holds, and its table by CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from imaging.digest import file_sha256
from imaging.files import KIT

SPEC = "1.6"

Kind = Literal["application", "file", "library", "machine-learning-model", "platform"]
"""As CycloneDX calls it."""


@dataclass(frozen=True)
class ListedComponent:
    """A package, a program or a file of the image."""

    kind: Kind
    name: str
    version: str = ""
    purl: str = ""
    """Package URL; "" for what has none."""
    licences: tuple[str, ...] = ()
    """Names, as its own metadata has them."""
    expression: str = ""
    """SPDX expression, where its metadata has one instead of names."""
    texts: tuple[Path, ...] = ()
    """Files with its licences and notices."""
    path: str = ""
    """Where the file lies in the image, from /; "" for what is no single file."""
    sha256: str = ""
    parts: tuple["ListedComponent", ...] = ()

    @classmethod
    def of_file(
        cls, kind: Kind, file: Path, root: Path, licences: tuple[str, ...] = ()
    ) -> "ListedComponent":
        """Return a file of the system at `root`, with its digest."""
        place, digest = file.relative_to(root).as_posix(), file_sha256(file)
        return cls(kind, file.name, licences=licences, path=place, sha256=digest)

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".strip()

    @property
    def licence(self) -> str:
        """All licences in one line."""
        return self.expression or ", ".join(self.licences) or "not said"


def cyclonedx(
    components: Iterable[ListedComponent], version: str, revision: str, epoch_s: int | None
) -> dict[str, Any]:
    """Return the table of the file, the same for the same arguments.

    Args:
        components: What the image holds.
        version: Of the kit.
        revision: The kit's commit.
        epoch_s: Seconds since 1970 that it is dated with; None: it has no date.
    """
    rows = [_row(component) for component in components]
    named = uuid5(NAMESPACE_URL, f"{KIT}:{version}:{revision}:{epoch_s}:{rows}")
    image = {"type": "container", "bom-ref": "image", "name": f"{KIT} image", "version": version}
    properties = [{"name": "flare23:revision", "value": revision}]
    metadata: dict[str, Any] = {}
    if epoch_s is not None:
        metadata["timestamp"] = f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    metadata["tools"] = {"components": [{"type": "application", "name": KIT, "version": version}]}
    metadata["component"] = image | {"properties": properties}
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": f"urn:uuid:{named}",
        "version": 1,
        "metadata": metadata,
        "components": rows,
    }


def _row(component: ListedComponent) -> dict[str, Any]:
    reference = component.purl or component.path or component.name
    row: dict[str, Any] = {"type": component.kind, "bom-ref": reference, "name": component.name}
    if component.version:
        row["version"] = component.version
    if component.sha256:
        row["hashes"] = [{"alg": "SHA-256", "content": component.sha256}]
    if component.expression:
        row["licenses"] = [{"expression": component.expression}]
    elif component.licences:
        row["licenses"] = [{"license": {"name": name}} for name in component.licences]
    if component.purl:
        row["purl"] = component.purl
    if component.path:
        row["properties"] = [{"name": "flare23:path", "value": component.path}]
    if component.parts:
        row["components"] = [_row(part) for part in component.parts]
    return row
