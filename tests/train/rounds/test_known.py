"""A file that is as it was is not read again for its digest; one that may not be, is."""

import json
import os
from dataclasses import replace

import pytest

from imaging.digest import sha256
from imaging.errors import KitError
from train.rounds import known as known_module
from train.rounds.known import KnownDigests, known_path
from train.rounds.records import Work, digests_path, run_stage

ABC, ABD = sha256(b"abc"), sha256(b"abd")


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Believe files at once: no test waits two seconds."""
    monkeypatch.setattr(known_module, "SETTLED_S", -60.0)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_text("abc")
    return path


def again(known, tmp_path, file, **options):
    """Return what a later process knows."""
    known.write({file: file}, tmp_path / "known.json")
    later = KnownDigests(**options)
    later.load(tmp_path / "known.json")
    return later


def test_a_file_is_read_once(tmp_path, file):
    known = KnownDigests()
    assert (known.sha256(file), known.sha256(file), known.read) == (ABC, ABC, [file])
    later = again(known, tmp_path, file)
    assert (later.sha256(file), later.read) == (ABC, [])


def test_paranoid_reads_it_again(tmp_path, file):
    known = KnownDigests()
    known.sha256(file)
    later = again(known, tmp_path, file, paranoid=True)
    assert (later.sha256(file), later.read) == (ABC, [file])


@pytest.mark.parametrize("how", ["written", "time set back", "another file of the same times"])
def test_a_file_that_changed_is_read_again(tmp_path, file, how):
    known, old = KnownDigests(), file.stat()
    known.sha256(file)
    if how == "another file of the same times":
        file.rename(tmp_path / "old")
    file.write_text("abd")
    if how != "written":
        os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    later = again(known, tmp_path, file)
    assert (later.sha256(file), later.read) == (ABD, [file])


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path, file, monkeypatch):
    monkeypatch.setattr(known_module, "SETTLED_S", 60.0)
    known = KnownDigests()
    known.sha256(file)
    later = again(known, tmp_path, file)
    assert (later.sha256(file), later.read) == (ABC, [file])


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2, "files": {}}', '{"schema": 1}'])
def test_what_is_broken_says_nothing(tmp_path, file, text):
    (tmp_path / "known.json").write_text(text)
    known = KnownDigests()
    known.load(tmp_path / "known.json")
    known.load(tmp_path / "gone.json")
    assert (known.sha256(file), known.read) == (ABC, [file])


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(KitError, match=r"cannot read .*gone: No such file"):
        KnownDigests().sha256(tmp_path / "gone")


def test_a_stage_knows_what_the_stages_before_it_read_and_wrote(tmp_path, file):
    run = tmp_path / "run"

    def make(folder):
        (folder / "made").write_text("abd")

    first = Work("data", run, {}, {"release/file": file}, hands_on=True)
    made = run_stage(first, make) / "made"
    later = KnownDigests()
    later.load(known_path(run, "data"))
    inputs = {"release/file": file, "run/data/made": made}
    fused = KnownDigests()
    second = Work("fuse", run, {}, inputs, known=later)
    run_stage(second, make)
    assert later.read == [run / "fuse.partial" / "made"], "only what it wrote itself"
    run_stage(replace(second, known=fused), make)
    assert [path.name for path in fused.read] == ["file", "made", "made"]


def test_what_snakemake_compares_is_small_however_many_files_there_are(tmp_path):
    def make(folder):
        for number in range(300):
            (folder / f"FLARE23_{number:04d}.nii.gz").write_text("abc")

    run_stage(Work("fuse", tmp_path, {}, {}), make)
    path = digests_path(tmp_path, "fuse")
    assert path.stat().st_size < 200
    assert json.loads(path.read_text())["files"] == 300
