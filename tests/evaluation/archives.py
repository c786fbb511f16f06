"""Image archives made in the test."""

import io
import json
import tarfile


def write_archive(path, tags, name="manifest.json", content=None):
    """Write an archive as `docker save` does, as far as it is read."""
    if content is None:
        content = json.dumps([{"Config": "abc.json", "RepoTags": tags, "Layers": []}]).encode()
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return path
