"""What can be checked of an image archive without Docker: its name, size and tag, what it holds."""

import json
import re
from pathlib import Path
from typing import Any

from evaluation.efficiency.archives import image_tags, team_of, wrong_tags
from evaluation.submission.contents import Contents, differences, read_contents
from evaluation.submission.rules import RuleResult, RuleResults, result_of
from imaging.digest import sha256
from imaging.errors import KitError
from imaging.words import number_of

WORKSPACE = "workspace"
MANIFEST, SBOM = f"{WORKSPACE}/weights_manifest.json", f"{WORKSPACE}/sbom.cdx.json"
_LABEL = "flare23.manifest.sha256"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.tar\.gz")
_MB = 1_000_000
_MOST_NAMED = 5


def check_archive(path: Path, limit_mb: float | None) -> RuleResults:
    """Judge the name, the size and the tag of an archive that is there.

    Args:
        path: What `docker save` wrote, compressed or not.
        limit_mb: Largest size in megabytes; None: the challenge's limit is not known.
    """
    wanted = f"{team_of(path)}:latest"
    return {
        "archive name": result_of(wrong_name(path), path.name),
        "archive size": _size(path.stat().st_size / _MB, limit_mb),
        "tag": result_of(wrong_tags(image_tags(path), wanted), wanted),
    }


def wrong_name(path: Path) -> str | None:
    """Say what an archive should be called; None where it is."""
    right = _NAME.fullmatch(path.name)
    return None if right else f"{path.name}: call it {team_of(path)}.tar.gz"


def _size(size_mb: float, limit_mb: float | None) -> RuleResult:
    if limit_mb is None:
        return RuleResult(
            "not checked", f"{size_mb:,.0f} MB; give --archive-limit to hold it to one"
        )
    size = f"{size_mb:,.0f} MB, the limit is {limit_mb:,.0f} MB"
    return result_of(size if size_mb > limit_mb else None, size)


def check_inventory(path: Path, same_as: Path | None) -> RuleResults:
    """Judge what an archive holds.

    Args:
        path: The archive.
        same_as: Another archive, that it should equal; None: it is compared with none.

    Raises:
        KitError: `same_as` cannot be read.
    """
    other = None if same_as is None else read_contents(same_as)
    try:
        contents = read_contents(path, (MANIFEST, SBOM))
    except KitError as error:
        return dict.fromkeys(("weights", "listed", "same"), RuleResult("failed", str(error)))
    same = RuleResult("not checked", "give --same-as to compare it with another archive")
    if other is not None and same_as is not None:
        same = _same(contents, other, same_as.name)
    return {"weights": _weights(contents), "listed": _listed(contents), "same": same}


def _weights(contents: Contents) -> RuleResult:
    """Compare the weights with the image's manifest, and that with the image's label."""
    if MANIFEST not in contents.kept:
        return RuleResult("not checked", f"the image has no /{MANIFEST}")
    digest = sha256(contents.kept[MANIFEST])
    try:
        files = json.loads(contents.kept[MANIFEST])["files"].values()
        digests = {f"{WORKSPACE}/{file['path']}": str(file["sha256"]) for file in files}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return RuleResult("failed", f"/{MANIFEST} is no manifest ({error!r})")
    wrong = _other_than(digests, contents, "the manifest")
    label = (contents.config["Labels"] or {}).get(_LABEL)
    if label and label != digest:
        wrong.append(f"the label {_LABEL} is {label[:12]}…, that of the manifest {digest[:12]}…")
    return result_of("; ".join(wrong) or None, f"{number_of(len(digests), 'file')}, {digest[:12]}…")


def _listed(contents: Contents) -> RuleResult:
    """Compare files with their digests in the image's own list."""
    if SBOM not in contents.kept:
        return RuleResult("not checked", f"the image has no /{SBOM}")
    try:
        components = json.loads(contents.kept[SBOM])["components"]
        digests = dict(_digests(components))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return RuleResult("failed", f"/{SBOM} is no CycloneDX ({error!r})")
    wrong = _other_than(digests, contents, Path(SBOM).name)
    counts = f"{number_of(len(components), 'component')}, {number_of(len(digests), 'digest')}"
    return result_of("; ".join(wrong) or None, counts)


def _digests(components: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return path and sha256 of every component that has both."""
    pairs = []
    for component in components:
        paths = [x["value"] for x in component.get("properties", ()) if x["name"] == "flare23:path"]
        found = [x["content"] for x in component.get("hashes", ()) if x["alg"] == "SHA-256"]
        pairs += list(zip(paths, found, strict=False))
        pairs += _digests(component.get("components", []))
    return pairs


def _other_than(digests: dict[str, str], contents: Contents, said_by: str) -> list[str]:
    """Say which files are not there, or have other bytes than somebody says."""
    wrong = []
    for path, digest in digests.items():
        file = contents.files.get(path)
        if file is None:
            wrong.append(f"there is no /{path}, which {said_by} names")
        elif file.content != digest:
            seen = f"sha256 {file.content[:12]}…"
            wrong.append(f"/{path}: {seen}, {said_by} says {digest[:12]}…")
    return wrong


def _same(contents: Contents, other: Contents, name: str) -> RuleResult:
    lines = differences(contents, other)
    if not lines:
        return RuleResult("passed", f"{number_of(len(contents.files), 'file')}, as in {name}")
    more = f"; and {len(lines) - _MOST_NAMED} more" if len(lines) > _MOST_NAMED else ""
    told = "; ".join(lines[:_MOST_NAMED]) + more
    return RuleResult("failed", f"{number_of(len(lines), 'difference')} from {name}: {told}")
