"""The index of plans: what is in it, and which plan fits a card."""

import subprocess
from dataclasses import replace

import pytest

from imaging.errors import EngineError, KitError
from inference.engines import plan_folder
from inference.engines import tensorrt_index as index
from inference.engines.tensorrt_index import (
    EnginePlan,
    add_plan,
    fitting,
    plans_of,
    read_plan,
)

pytest.importorskip("onnx")
RTX = "tensorrt-rtx"


def plan(**changes):
    made = EnginePlan(
        file="a.plan", sha256="", bytes=0, onnx_sha256="ab", engine=RTX, version="1.7",
        target="sm86", gpu=None, precision="fp16", flags={}, build_seconds=1.0, layers={},
        parity=index.UNCHECKED,
    )  # fmt: skip
    return replace(made, **changes)


def test_a_plan_comes_back_as_it_was_written(tmp_path):
    first, second = plan(), plan(file="b.plan", target="sm89")
    written = [add_plan(tmp_path, p, content) for p, content in ((second, b"two"), (first, b"one"))]
    assert index.read_index(tmp_path) == [written[1], written[0]]  # by file
    assert (written[0].bytes, read_plan(tmp_path, written[0])) == (3, b"two")


def test_a_plan_built_again_replaces_the_first(tmp_path):
    add_plan(tmp_path, plan(), b"one")
    again = add_plan(tmp_path, plan(build_seconds=2.0), b"three")
    assert index.read_index(tmp_path) == [again]
    assert read_plan(tmp_path, again) == b"three"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "index.json is not JSON"),
        (b'{"plans": []}', "index.json: schema: expected 1, found None; delete"),
        (b'{"schema": 1, "plans": [{"file": "a"}]}', r"plans\[0\]: missing key: sha256"),
        (b'{"schema": 9, "plans": []}', "schema: expected 1, found 9; delete the folder and build"),
        (b"[1]", "index.json: expected object"),
        (b"\xff", "index.json is not JSON"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path, content, complaint):
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(EngineError, match=complaint):
        index.read_index(tmp_path)


def test_a_plan_that_was_changed_or_lost_is_refused(tmp_path):
    written = add_plan(tmp_path, plan(), b"one")
    (tmp_path / "a.plan").write_bytes(b"two")
    with pytest.raises(EngineError, match=r"sha256 \w+, the index says"):
        read_plan(tmp_path, written)
    (tmp_path / "a.plan").unlink()
    with pytest.raises(EngineError, match="cannot be read"):
        read_plan(tmp_path, written)


def test_where_a_plan_cannot_be_written_no_index_says_it_is_there(tmp_path):
    (tmp_path / "a.plan").mkdir()  # nothing can be put in its place
    with pytest.raises(KitError):
        add_plan(tmp_path, plan(), b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["a.plan"]


@pytest.mark.parametrize(
    ("options", "complaint"), [("size=64k", "No space left"), ("ro", "Read-only file system")]
)
def test_a_disk_that_takes_nothing_gets_no_plan_and_no_index(tmp_path, options, complaint):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        with pytest.raises(KitError, match=complaint):
            add_plan(disk, plan(), bytes(1 << 20))
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": "1.6"}, "a.plan: built by tensorrt-rtx 1.6, here is 1.7"),
        ({"target": "sm75"}, r"a.plan: built for sm75, RTX A6000 is sm86"),
        ({"gpu": "RTX A4000"}, "a.plan: built for RTX A4000, here is RTX A6000"),
    ],
)
def test_a_plan_that_does_not_fit_is_passed_over_with_its_reason(changes, reason):
    with pytest.raises(EngineError, match=reason):
        fitting([plan(**changes)], RTX, "1.7", "sm86", "RTX A6000")
    exact = plan(file="b.plan", gpu="RTX A6000")
    assert fitting([plan(**changes), exact], RTX, "1.7", "sm86", "RTX A6000") == exact


def test_without_any_plan_it_says_how_to_build_one():
    with pytest.raises(EngineError, match=r"there is none for this network; build one with"):
        fitting([], RTX, "1.7", "sm86", "RTX A6000")


def test_plans_of_another_network_are_not_this_ones(network):
    manifest = network()
    folder = plan_folder(manifest)
    folder.mkdir()
    mine = add_plan(folder, plan(onnx_sha256=manifest.files["onnx"].sha256), b"one")
    add_plan(folder, plan(file="b.plan", onnx_sha256="cd"), b"two")
    assert plans_of(manifest) == plans_of(manifest, RTX) == [mine]
    assert plans_of(manifest, "tensorrt") == []
