"""Components as CycloneDX 1.6 has them: https://cyclonedx.org/docs/1.6/json/."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from imaging.files import KIT
from train.inventory.components import ListedComponent

SPEC = "1.6"


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
    metadata: dict[str, Any] = {} if epoch_s is None else {"timestamp": _date(epoch_s)}
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


def _date(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
