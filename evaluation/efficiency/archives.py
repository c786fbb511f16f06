"""What an image archive says that it holds, read without Docker."""

import json
import tarfile
import zlib
from pathlib import Path

SUFFIXES = (".tar", ".tar.gz", ".tgz")


def team_of(path: Path) -> str:
    """Return the team that an archive names: up to the first dot, in lower case."""
    return path.name.partition(".")[0].lower()


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
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return f"{path.name}: its manifest.json is not Docker's ({error}); save it again"
    return f"{path.name} holds no manifest.json; `docker save` writes one, `docker export` does not"


def wrong_tags(tags: list[str] | str, wanted: str) -> str | None:
    """Say what an archive holds instead of the image `wanted` alone; None where it holds that.

    `docker load` gives every tag of an archive to its image, also one that another image has here.
    """
    if isinstance(tags, str):
        return tags
    if tags == [wanted]:
        return None
    found = ", ".join(tags) or "no tag"
    return f"it holds {found}; write it with `docker save {wanted}`"
