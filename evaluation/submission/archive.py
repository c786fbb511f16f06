"""What can be said of an image archive without Docker."""

import json
import re
import tarfile
import zlib
from pathlib import Path

from evaluation.submission.rules import Verdict, Verdicts, judged

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.tar\.gz")
_MB = 1_000_000


def check_archive(path: Path, limit_mb: float | None) -> Verdicts:
    """Judge the name, the size and the tag of an archive that is there.

    Args:
        path: What `docker save` wrote, compressed or not.
        limit_mb: Largest size in megabytes; None: the challenge's limit is not known.
    """
    team = path.name.partition(".")[0].lower()
    tags = image_tags(path)
    return {
        "archive name": judged(
            None if _NAME.fullmatch(path.name) else f"{path.name}: call it {team}.tar.gz", path.name
        ),
        "archive size": _size(path.stat().st_size / _MB, limit_mb),
        "tag": judged(_wrong_tag(tags, f"{team}:latest"), f"{team}:latest"),
    }


def _size(size_mb: float, limit_mb: float | None) -> Verdict:
    if limit_mb is None:
        return Verdict("not checked", f"{size_mb:,.0f} MB; give --archive-limit to hold it to one")
    told = f"{size_mb:,.0f} MB, the limit is {limit_mb:,.0f} MB"
    return judged(told if size_mb > limit_mb else None, told)


def _wrong_tag(tags: list[str] | str, wanted: str) -> str | None:
    if isinstance(tags, str):
        return tags
    if tags == [wanted]:
        return None
    found = ", ".join(tags) or "no tag"
    return f"it holds {found}; write it with `docker save {wanted}`"


def image_tags(path: Path) -> list[str] | str:
    """Return the tags of all images in an archive, or a line that says why it has none to read."""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name == "manifest.json" else None
                if stream is not None:
                    return [tag for image in json.load(stream) for tag in image["RepoTags"] or []]
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        return f"{path.name} is no readable archive ({error}); save it again"
    except (ValueError, KeyError, TypeError) as error:
        return f"{path.name}: its manifest.json is not Docker's ({error}); save it again"
    return f"{path.name} holds no manifest.json; `docker save` writes one, `docker export` does not"
