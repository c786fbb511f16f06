"""What an archive holds, and whether that is what it says."""

import gzip
import hashlib
import io
import json
import tarfile

import pytest
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.submission.archive import check_inventory
from evaluation.submission.contents import differences, read_contents
from imaging.errors import KitError
from tests.evaluation.archives import CONFIG, saved_by_docker, tar_of, write_archive

WEIGHTS = b"weights"


def digest(content):
    return hashlib.sha256(content).hexdigest()


def manifest_of(content):
    files = {"onnx": {"path": "weights/a.onnx", "sha256": digest(content)}}
    return json.dumps({"files": files}).encode()


def component(path, content):
    return {
        "hashes": [{"alg": "SHA-256", "content": digest(content)}],
        "properties": [{"name": "flare23:path", "value": path}],
    }


SBOM = {
    "components": [
        component("workspace/weights/a.onnx", WEIGHTS),
        {"name": "numpy", "components": [component("opt/numpy.libs/b.so", b"library")]},
    ]
}
IMAGE = {
    "workspace/weights/a.onnx": WEIGHTS,
    "workspace/weights_manifest.json": manifest_of(WEIGHTS),
    "workspace/sbom.cdx.json": json.dumps(SBOM).encode(),
    "opt/numpy.libs/b.so": b"library",
}


def archive(path, files, config=None):
    path.write_bytes(saved_by_docker([tar_of(files)], config=config))
    return path


def found(path, same_as=None):
    return {rule: (it.status, it.reason) for rule, it in check_inventory(path, same_as).items()}


# ----- reading --------------------------------------------------------------------------------


def test_the_last_layer_is_on_top_and_takes_away(tmp_path):
    lower = {"a": None, "a/1": b"one", "a/2": b"two", "b": None, "b/3": b"three", "c": b"c"}
    upper = {"a/1": b"other", "a/.wh.2": b"", "b/.wh..wh..opq": b"", "b/4": b"four", ".wh.c": b""}
    path = write_archive(tmp_path / "x.tar.gz", ["x:latest"], layers=[tar_of(lower), tar_of(upper)])
    contents = read_contents(path, ("a/1", "a/2"))
    assert sorted(contents.files) == ["a", "a/1", "b", "b/4"]
    assert contents.kept == {"a/1": b"other"}
    assert contents.files["a/1"].content == digest(b"other")
    assert contents.config["WorkingDir"] == "/workspace"


def test_layers_by_digest_compressed_and_linked(tmp_path):
    """As newer versions of Docker save, and as older ones save a layer that comes twice."""
    table = {
        "Config": "blobs/sha256/c",
        "RepoTags": [],
        "Layers": ["blobs/sha256/a", "d/layer.tar"],
    }
    files = {
        "blobs/sha256/a": gzip.compress(tar_of({"./a": b"one"})),
        "blobs/sha256/c": json.dumps(CONFIG).encode(),
        "d/layer.tar": "../blobs/sha256/a",
        "d/VERSION": b"1.0",
        "manifest.json": json.dumps([table]).encode(),
    }
    (tmp_path / "x.tar").write_bytes(tar_of(files))
    assert sorted(read_contents(tmp_path / "x.tar").files) == ["a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "x.tar is no readable archive"),
        (tar_of({"bin/sh": b"x"}), "x.tar is not Docker's archive of one image"),
        (tar_of({"manifest.json": b"[1, 2]"}), "x.tar is not Docker's archive of one image"),
        (tar_of({"manifest.json": b"{"}), "x.tar is not Docker's archive of one image"),
    ],
)
def test_what_is_no_archive_is_one_line(tmp_path, content, message):
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(KitError, match=message):
        read_contents(tmp_path / "x.tar")


def test_differences_are_named_and_dates_are_none(tmp_path):
    one = tar_of({"a": b"1", "b": b"2", "c": b"3", "d": None}, mtime=1)
    other = tar_of({"a": b"1", "b": b"9", "d": b"", "e": "a"}, mtime=2)
    config = {**CONFIG, "config": {"WorkingDir": "/srv"}, "created": "2020-01-01T00:00:00Z"}
    (tmp_path / "one.tar").write_bytes(saved_by_docker([one]))
    (tmp_path / "other.tar").write_bytes(saved_by_docker([other], config=config))
    first, second = (read_contents(tmp_path / name) for name in ("one.tar", "other.tar"))
    assert differences(first, second) == (
        "Cmd is None, not ['sh', 'predict.sh']",
        "WorkingDir is '/srv', not '/workspace'",
        "/b differs",
        "/c is in this one only",
        "/d differs",
        "/e is in the other only",
    )
    (tmp_path / "dated.tar").write_bytes(saved_by_docker([tar_of({"a": b"1"}, mtime=9)]))
    (tmp_path / "again.tar").write_bytes(saved_by_docker([tar_of({"a": b"1"}, mtime=8)]))
    again = [read_contents(tmp_path / name) for name in ("dated.tar", "again.tar")]
    assert differences(*again) == ()


def test_what_docker_writes_in_two_ways_is_no_difference(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        folder = tarfile.TarInfo("a")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
    kind = packed.getvalue().replace(b"0000755\0", b"0040755\0")  # and the header's sum with it
    total = int(kind[148:154], 8) + 4
    kind = kind[:148] + f"{total:06o}".encode() + kind[154:]
    config = {**CONFIG, "config": {**CONFIG["config"], "User": ""}}
    (tmp_path / "one.tar").write_bytes(saved_by_docker([kind], config=config))
    (tmp_path / "other.tar").write_bytes(saved_by_docker([packed.getvalue()]))
    both = [read_contents(tmp_path / name) for name in ("one.tar", "other.tar")]
    assert differences(*both) == ()


# ----- the rules ------------------------------------------------------------------------------


def test_an_image_that_holds_what_it_says(tmp_path):
    path = archive(tmp_path / "a.tar", IMAGE)
    told = found(path, archive(tmp_path / "b.tar", IMAGE))
    assert told == {
        "weights": ("passed", f"1 file, {digest(manifest_of(WEIGHTS))[:12]}…"),
        "listed": ("passed", "2 components, 2 digests"),
        "same": ("passed", "4 files, as in b.tar"),
    }
    assert found(path)["same"] == (
        "not checked",
        "give --same-as to compare it with another archive",
    )


def test_one_byte_of_the_weights_is_seen_by_every_rule(tmp_path):
    good = archive(tmp_path / "good.tar", IMAGE)
    other = archive(tmp_path / "a.tar", {**IMAGE, "workspace/weights/a.onnx": b"Weights"})
    told = found(other, good)
    changed = f"/workspace/weights/a.onnx: sha256 {digest(b'Weights')[:12]}…, "
    says = f"says {digest(WEIGHTS)[:12]}…"
    assert told["weights"] == ("failed", f"{changed}the manifest {says}")
    assert told["listed"] == ("failed", f"{changed}sbom.cdx.json {says}")
    assert told["same"] == (
        "failed",
        "1 difference from good.tar: /workspace/weights/a.onnx differs",
    )


def test_a_part_that_is_gone_or_changed_is_not_what_is_listed(tmp_path):
    gone = archive(tmp_path / "a.tar", {**IMAGE, "opt/numpy.libs/b.so": None})
    assert found(gone)["listed"][0] == "failed"
    none = archive(tmp_path / "a.tar", {k: v for k, v in IMAGE.items() if "numpy" not in k})
    assert found(none)["listed"] == (
        "failed",
        "there is no /opt/numpy.libs/b.so, which sbom.cdx.json names",
    )


def test_a_label_of_another_manifest(tmp_path):
    labels = {"flare23.manifest.sha256": "f" * 64}
    path = archive(tmp_path / "a.tar", IMAGE, {**CONFIG, "config": {"Labels": labels}})
    status, reason = found(path)["weights"]
    assert status == "failed"
    assert reason.startswith("the label flare23.manifest.sha256 is ffffffffffff…, that of the")


def test_an_image_of_others_is_not_judged(tmp_path):
    told = found(archive(tmp_path / "a.tar", {"workspace/predict.sh": b""}))
    assert {rule: status for rule, (status, _) in told.items()} == dict.fromkeys(
        told, "not checked"
    )
    assert told["weights"][1] == "the image has no /workspace/weights_manifest.json"


@pytest.mark.parametrize("content", [b"[]", b"no JSON", b'{"files": {"onnx": 1}}'])
def test_a_manifest_or_a_list_that_is_none(tmp_path, content):
    files = {"workspace/weights_manifest.json": content, "workspace/sbom.cdx.json": content}
    told = found(archive(tmp_path / "a.tar", files))
    assert told["weights"][1].startswith("/workspace/weights_manifest.json is no manifest (")
    assert told["listed"][1].startswith("/workspace/sbom.cdx.json is no CycloneDX (")


def test_an_archive_that_cannot_be_read_fails_every_rule(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"none")
    assert {status for status, _ in found(tmp_path / "a.tar").values()} == {"failed"}


def test_many_differences_are_counted(tmp_path):
    first = archive(tmp_path / "a.tar", {f"{n}": b"" for n in range(9)})
    _, reason = found(first, archive(tmp_path / "b.tar", {"x": b""}))["same"]
    assert reason.startswith("10 differences from b.tar: /0 is in this one only; ")
    assert reason.endswith("; and 5 more")


def test_same_as_needs_an_archive_to_compare(tmp_path):
    archive(tmp_path / "b.tar", IMAGE)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a_0000.nii.gz").touch()
    words = ["submission", "team", "--cases", tmp_path / "in", "-o", tmp_path / "out"]
    words += ["--same-as", tmp_path / "b.tar"]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 2
    assert "--same-as compares archives; give the image as NAME.tar.gz" in done.output
