"""`docker save`, written again: the same bytes for the same image, whatever Docker dated."""

import gzip
import io
import json
import tarfile

import pytest

from evaluation.efficiency.archives import image_tags
from evaluation.submission.contents import differences, read_contents
from imaging.digest import file_sha256, sha256
from imaging.errors import KitError
from tests.evaluation.archives import CONFIG, saved_by_docker, tar_of
from train.package.rewriting import rewrite

LOWER = {"bin": None, "bin/sh": b"shell", "bin/ash": "sh", "etc": None}
UPPER = {"etc/.wh.old": b"", "workspace": None, "workspace/predict.sh": b"exit 0"}
EPOCH_S = 1_000_000_000  # 2001-09-09T01:46:40Z


def rewritten(folder, layers, config=None, name="team.tar.gz"):
    saved = folder / "saved.tar"
    saved.write_bytes(saved_by_docker(layers, config=config))
    return rewrite(saved, folder / name, EPOCH_S, ("workspace/predict.sh",))


def entries(archive):
    """All entries of all layers of an archive, by layer."""
    with tarfile.open(archive) as outer:
        names = json.load(outer.extractfile("manifest.json"))[0]["Layers"]
        opened = [
            tarfile.open(fileobj=io.BytesIO(outer.extractfile(name).read())) for name in names
        ]
        return [layer.getmembers() for layer in opened]


def test_order_dates_and_dockers_own_ids_do_not_count(tmp_path):
    first = rewritten(tmp_path, [tar_of(LOWER, 5), tar_of(UPPER, 6)])
    before = file_sha256(tmp_path / "team.tar.gz")
    turned = [tar_of(dict(reversed(files.items())), 7) for files in (LOWER, UPPER)]
    config = {
        **CONFIG,
        "container": "fedcba98",
        "created": "2027-01-01T00:00:00Z",
        "config": {**CONFIG["config"], "Image": "sha256:another", "Hostname": "there"},
    }
    second = rewritten(tmp_path, turned, config)
    assert second == first
    assert file_sha256(tmp_path / "team.tar.gz") == before
    assert first.found == {"workspace/predict.sh": b"exit 0"}
    assert first.tar_sha256 == sha256(gzip.decompress((tmp_path / "team.tar.gz").read_bytes()))


@pytest.mark.parametrize(
    "change",
    [
        lambda lower, upper, config: upper.update({"workspace/predict.sh": b"exit 1"}),
        lambda lower, upper, config: lower.update({"bin/ash": "bash"}),
        lambda lower, upper, config: config.update({"User": "nobody"}),
    ],
    ids=["a byte", "a link", "the user"],
)
def test_anything_that_a_container_sees_counts(tmp_path, change):
    first = rewritten(tmp_path, [tar_of(LOWER), tar_of(UPPER)])
    lower, upper, config = dict(LOWER), dict(UPPER), dict(CONFIG["config"])
    change(lower, upper, config)
    second = rewritten(tmp_path, [tar_of(lower), tar_of(upper)], {**CONFIG, "config": config})
    assert first.image != second.image
    assert first.tar_sha256 != second.tar_sha256


def test_nothing_is_lost(tmp_path):
    rewritten(tmp_path, [tar_of(LOWER), tar_of(UPPER)])
    kept, saved = (read_contents(tmp_path / name) for name in ("team.tar.gz", "saved.tar"))
    assert differences(kept, saved) == ()
    assert image_tags(tmp_path / "team.tar.gz") == ["team:latest"]
    lower, upper = entries(tmp_path / "team.tar.gz")
    assert [entry.name for entry in lower] == ["bin", "bin/ash", "bin/sh", "etc"]
    assert [entry.name for entry in upper] == [
        *("etc/.wh.old", "workspace", "workspace/predict.sh")
    ]
    assert {entry.mtime for entry in (*lower, *upper)} == {EPOCH_S}


def test_the_configuration_is_what_docker_loads(tmp_path):
    done = rewritten(tmp_path, [tar_of(LOWER)])
    with tarfile.open(tmp_path / "team.tar.gz") as archive:
        (image,) = json.load(archive.extractfile("manifest.json"))
        content = archive.extractfile(image["Config"]).read()
        (layer,) = image["Layers"]
        digest = sha256(archive.extractfile(layer).read())
    assert f"sha256:{sha256(content)}" == done.image
    assert json.loads(content) == {
        "architecture": "amd64",
        "os": "linux",
        "created": "2001-09-09T01:46:40Z",
        "config": {"Cmd": ["sh", "predict.sh"], "WorkingDir": "/workspace"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }


def odd_layer():
    """A hard link before its file, attributes, a device, names of users, a date with a fraction."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        file = tarfile.TarInfo("./b")
        file.size, file.mode, file.uid, file.uname, file.mtime = 4, 0o4755, 7, "seven", 1.5
        file.pax_headers = {"SCHILY.xattr.user.a": "1", "atime": "3.5"}
        archive.addfile(file, io.BytesIO(b"file"))
        link = tarfile.TarInfo("./a")
        link.type, link.linkname = tarfile.LNKTYPE, "./b"
        archive.addfile(link)
        device = tarfile.TarInfo("./null")
        device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
        archive.addfile(device)
    return packed.getvalue()


def test_rights_owners_attributes_links_and_devices_stay(tmp_path):
    rewritten(tmp_path, [odd_layer()])
    ((file, device, link),) = entries(tmp_path / "team.tar.gz")
    assert (file.name, file.mode, file.uid, file.uname) == ("b", 0o4755, 7, "")
    assert file.pax_headers == {"SCHILY.xattr.user.a": "1"}
    assert (device.name, device.type, device.devmajor, device.devminor) == (
        *("null", tarfile.CHRTYPE, 1, 3),
    )
    assert (link.name, link.type, link.linkname) == ("a", tarfile.LNKTYPE, "b")


def test_a_layer_that_comes_twice_is_written_once(tmp_path):
    rewritten(tmp_path, [tar_of(LOWER), tar_of(UPPER), tar_of(LOWER)])
    with tarfile.open(tmp_path / "team.tar.gz") as archive:
        names = archive.getnames()
        (image,) = json.load(archive.extractfile("manifest.json"))
    assert len(names) == len({*names}) == 4
    assert len(image["Layers"]) == 3


def test_layers_as_newer_versions_of_docker_save_them(tmp_path):
    rewritten(tmp_path, [tar_of(LOWER)], name="plain.tar.gz")
    table = {"Config": "blobs/c", "RepoTags": ["team:latest"], "Layers": ["blobs/a"]}
    saved = {
        "blobs/a": gzip.compress(tar_of(LOWER)),
        "blobs/c": json.dumps(CONFIG).encode(),
        "manifest.json": json.dumps([table]).encode(),
    }
    (tmp_path / "new.tar").write_bytes(tar_of(saved))
    rewrite(tmp_path / "new.tar", tmp_path / "new.tar.gz", EPOCH_S)
    assert (tmp_path / "new.tar.gz").read_bytes() == (tmp_path / "plain.tar.gz").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        tar_of({"bin/sh": b""}),
        tar_of({"manifest.json": b"[]"}),
        saved_by_docker([b"no layer"]),
        saved_by_docker([tar_of(LOWER)])[:3000],
    ],
    ids=["text", "exported", "no image", "a layer", "cut"],
)
def test_what_docker_did_not_write_is_one_line_and_nothing_is_left(tmp_path, content):
    (tmp_path / "saved.tar").write_bytes(content)
    with pytest.raises(KitError, match="docker save: what it wrote cannot be read"):
        rewrite(tmp_path / "saved.tar", tmp_path / "team.tar.gz", EPOCH_S)
    assert [path.name for path in tmp_path.iterdir()] == ["saved.tar"]
