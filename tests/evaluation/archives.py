"""Image archives made in the test."""

import gzip
import io
import json
import tarfile

CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2026-11-28T18:00:00.123Z",
    "container": "0123abcd",
    "config": {"Cmd": ["sh", "predict.sh"], "Image": "sha256:parent", "WorkingDir": "/workspace"},
    "history": [{"created": "2026-11-28T18:00:00.123Z"}],
}


def tar_of(files, mtime=0, mode="w"):
    """Return a tar file with `files`: content by name; None is a folder, str a link's target."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mtime = mtime
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            else:
                entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content if isinstance(content, bytes) else b""))
    return packed.getvalue()


def saved_by_docker(layers, tags=("team:latest",), config=None):
    """Return what `docker save` writes of an image with these layers: tar files."""
    names = [f"{number:04}/layer.tar" for number in range(len(layers))]
    files = {
        **dict(zip(names, layers, strict=True)),
        "abc.json": json.dumps(config or CONFIG).encode(),
        "manifest.json": json.dumps(
            [{"Config": "abc.json", "RepoTags": tags and list(tags), "Layers": names}]
        ).encode(),
        "repositories": b"{}",
    }
    return tar_of(files)


def write_archive(path, tags, name=None, content=b"", layers=()):
    """Write an archive as `docker save` does, compressed; or one of a single file `name`."""
    plain = saved_by_docker(layers, tags) if name is None else tar_of({name: content})
    path.write_bytes(gzip.compress(plain, 6))
    return path
