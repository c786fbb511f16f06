import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imaging.digest import file_sha256, sha256
from imaging.errors import KitError
from train.rounds.records import RECORD, Work, digests_path, load_record, locked, run_stage

ROOT = Path(__file__).parents[3]
# sha256 of "abc" and of nothing: FIPS 180-2's examples
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def work(tmp_path):
    given = tmp_path / "given"
    given.write_text("abc")
    return Work("teacher/fuse", tmp_path / "run", {"place": 1, "seed": 3}, {"run/given": given})


def write(text):
    def make(folder):
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text(text)

    return make


def test_a_stage_says_what_it_was_made_of(work):
    place = run_stage(work, write("abc"))
    record = load_record(place / RECORD)
    assert (record["stage"], record["place"], record["seed"]) == ("teacher/fuse", 1, 3)
    assert record["inputs"] == {"run/given": ABC}
    assert record["outputs"] == {"deep/file": ABC}
    assert record["packages"]["numpy"]
    found = json.loads(digests_path(work.run, work.key).read_text())
    assert found == {"files": 1, "sha256": sha256(f"deep/file {ABC}".encode())}


def test_a_stage_that_hands_its_inputs_on_tells_them_apart_too(work):
    run_stage(Work(work.key, work.run, work.facts, work.inputs, hands_on=True), write(""))
    found = json.loads(digests_path(work.run, work.key).read_text())
    both = f"deep/file {NOTHING}\nrun/given {ABC}"
    assert found == {"files": 2, "sha256": sha256(both.encode())}


def test_a_stage_that_fails_leaves_nothing_and_spoils_nothing(work):
    place = run_stage(work, write("abc"))
    before = (place / RECORD).read_bytes()

    def fail(folder):
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(KitError, match="stage teacher/fuse: No space left on device; nothing is"):
        run_stage(work, fail)
    assert (place / RECORD).read_bytes() == before
    assert sorted(path.name for path in place.parent.iterdir()) == ["fuse"]


def test_a_missing_input_is_named(work):
    (work.run.parent / "given").unlink()
    with pytest.raises(KitError, match=r"cannot read .*given: No such file"):
        run_stage(work, write("abc"))
    assert not (work.run / work.key).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from train.rounds.records import Work, run_stage
def make(folder):
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
run_stage(Work("teacher/fuse", Path(sys.argv[1]), {}, {}), make)
"""


def test_a_killed_stage_is_not_taken_for_done_and_the_next_try_clears_it(work):
    code = [sys.executable, "-c", KILLED, str(work.run)]
    done = subprocess.run(code, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL
    assert not (work.run / work.key).exists()
    assert not digests_path(work.run, work.key).exists()
    place = run_stage(work, write("abc"))
    assert sorted(path.name for path in place.parent.iterdir()) == ["fuse"]


def test_one_process_a_stage(work):
    digests = digests_path(work.run, work.key)
    digests.parent.mkdir(parents=True)
    partial = work.run / "teacher" / "fuse.partial"
    partial.mkdir(parents=True)
    with (
        locked(digests.with_suffix(".lock")),
        pytest.raises(KitError, match="another process works there"),
    ):
        run_stage(work, write("abc"))
    assert partial.is_dir()  # the other process's


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 9, "outputs": {}}', '{"schema": 1, "outputs": 3}']
)
def test_what_is_no_record_is_refused(tmp_path, text):
    path = tmp_path / RECORD
    path.write_text(text)
    with pytest.raises(KitError, match="stage record"):
        load_record(path)


def test_the_digest_of_a_folder_is_refused(tmp_path):
    with pytest.raises(KitError, match="Is a directory"):
        file_sha256(tmp_path)
