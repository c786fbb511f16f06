"""`evaluation submission`, the whole command, with a program in Docker's place."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.efficiency.containers import DockerImage
from evaluation.efficiency.nvml import NoGpuError
from evaluation.submission.rules import RULES
from evaluation.submission.trials import OFFLINE, Bench
from tests.evaluation.archives import write_archive
from tests.evaluation.maps import box, write_map

SHAPE = (4, 5, 6)


# says of every container what is in `diff`; `also` is run in a container's place, after it labelled
FAKE_DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>log
case "$1 $2" in
  "load "*) echo "Loaded image: team:latest" ;;
  "image inspect") case "$*" in *WorkingDir*) echo /workspace ;; *) echo sha256:abc ;; esac ;;
  "container inspect") echo 0 ;;
  "container run")
    id_file=$(echo "$*" | sed 's/.* --cidfile \\([^ ]*\\) .*/\\1/')
    echo 0123abcd >"$id_file"
    case "$*" in *"test -f predict.sh") exit 0 ;; esac
    inputs=$(echo "$*" | sed 's/.* -v \\([^ ]*\\):.workspace.inputs.*/\\1/')
    outputs=$(echo "$*" | sed 's/.* -v \\([^ ]*\\):.workspace.outputs.*/\\1/')
    [ ! -e "$inputs/broken_0000.nii.gz" ] || { echo "broken: failed"; code=1; } >&2
    cp map "$outputs/a.nii.gz"
    [ ! -e also ] || . ./also
    exit ${code:-0} ;;
  "diff 0123abcd") cat diff ;;
esac
"""


@pytest.fixture
def fake(tmp_path, ct, monkeypatch):
    """A folder with a case, its map, an archive, and a program called docker."""

    def no_gpu(index):
        raise NoGpuError("none here")

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(FAKE_DOCKER)
    (tmp_path / "bin/docker").chmod(0o755)
    (tmp_path / "in").mkdir()
    ct.rename(tmp_path / "in" / ct.name)
    write_map(box(SHAPE, (1, 3), (1, 3), (1, 3), 14), tmp_path / "map.nii.gz")
    (tmp_path / "map.nii.gz").rename(tmp_path / "map")
    (tmp_path / "diff").write_text("C /workspace\nA /workspace/inputs\n")
    write_archive(tmp_path / "team.tar.gz", ["team:latest"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr("evaluation.efficiency.protocol.find_gpu", no_gpu)
    return tmp_path


def submission(image="team.tar.gz"):
    done = CliRunner().invoke(main, ["submission", image, "--cases", "in", "-o", "out"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def table():
    return json.loads(Path("out/submission.json").read_text("utf-8"))


def written():
    return {row["rule"]: row["status"] for row in table()["rules"]}


def test_a_right_submission_passes(fake):
    done = submission()
    assert done.exit_code == 0, done.output
    found = written()
    assert list(found) == list(RULES)
    unseen = {"archive size", "weights", "listed", "same", "GPU memory", "RAM"}
    assert {rule for rule, status in found.items() if status == "not checked"} == unseen
    assert "failed" not in found.values()
    assert sorted(path.name for path in Path("out").iterdir()) == ["alone", "submission.json"]


def test_a_write_outside_fails_its_rule_alone(fake):
    Path("diff").write_text("C /var\nA /var/intel\n")
    done = submission()
    assert done.exit_code == 1
    assert done.output.splitlines()[-1] == "Error: 1 rule failed: inside"
    assert [rule for rule, status in written().items() if status == "failed"] == ["inside"]


def test_a_loaded_image_has_no_archive_to_judge(fake):
    assert submission("team").exit_code == 0
    found = written()
    assert {found["archive name"], found["archive size"], found["tag"]} == {"not checked"}


def test_an_archive_that_is_not_there_is_one_line(fake):
    done = submission("none.tar.gz")
    assert done.exit_code == 1
    assert "Error: image archive none.tar.gz does not exist" in done.output


def test_an_archive_of_another_tag_is_not_taken_for_the_image_that_is_loaded(fake):
    write_archive(Path("team.tar.gz"), ["team:v2"])
    assert submission().exit_code == 1
    found = written()
    assert found["tag"] == "failed"
    assert {found[rule] for rule in list(RULES)[3:]} == {"not checked"}


def test_an_image_that_docker_cannot_load_leaves_the_rest_unchecked(fake):
    script = FAKE_DOCKER.replace("case", '[ "$1" != load ] || { echo bad >&2; exit 1; }\ncase', 1)
    Path("bin/docker").write_text(script)
    done = submission()
    assert done.exit_code == 1
    found = written()
    assert found["loads"] == "failed"
    assert {found[rule] for rule in list(RULES)[7:]} == {"not checked"}


def test_containers_are_known_by_their_ids(fake):
    assert submission().exit_code == 0
    calls = [line.split() for line in Path("log").read_text().splitlines()]
    runs = [words for words in calls if words[:2] == ["container", "run"]]
    # the organisers' own command line names it; that run is never ended by this name
    assert [words.count("--name") for words in runs] == [0, 1, 1, 0, 0, 0]
    assert all("--cidfile" in words for words in runs)
    ended = [words for words in calls if words[0] in {"rm", "kill", "diff", "stop"}]
    assert len(ended) >= 6
    assert {words[-1] for words in ended} == {"0123abcd"}


LEFT = {  # what a container leaves beside its map, or in its place
    "pipe": "mkfifo {}",
    "link": "ln -s $PWD/secret {}",
    "link to a good map": "ln -s $PWD/map {}",
    "folder": "mkdir {}",
}


@pytest.mark.parametrize("name", ["pipe", "link to a good map", "folder"])
def test_only_regular_files_are_taken_out(fake, name):
    Path("secret").write_text("ours")
    Path("also").write_text("cd $outputs; rm a.nii.gz; " + LEFT[name].format("a.nii.gz"))
    assert submission().exit_code == 1
    found = written()
    expected = ("runs", "names", "many", "any user", "broken input")
    assert [found[rule] for rule in expected] == ["failed"] * len(expected)
    assert Path("secret").read_text() == "ours"
    assert list(Path("out/alone/predictions").iterdir()) == []


@pytest.mark.parametrize("name", ["pipe", "link"])
def test_what_lies_beside_the_maps_is_half_written_and_not_looked_into(fake, name):
    Path("secret").write_text("ours")
    Path("also").write_text(f"cd $outputs; {LEFT[name].format('b.nii.gz')}")
    assert submission().exit_code == 1
    assert [rule for rule, status in written().items() if status == "failed"] == ["broken input"]
    reasons = {row["rule"]: row["reason"] for row in table()["rules"]}
    assert reasons["broken input"] == "half-written: b.nii.gz"


def test_files_of_the_user_in_the_output_folder_stay(fake):
    Path("out").mkdir()
    Path("out/broken_0000.nii.gz").write_text("mine")
    assert submission().exit_code == 0
    assert Path("out/broken_0000.nii.gz").read_text() == "mine"
    assert not list(Path("out").glob(".work*"))


def test_a_case_called_broken_is_not_the_broken_one(fake):
    Path("in/a_0000.nii.gz").rename("in/broken_0000.nii.gz")
    script = FAKE_DOCKER.replace("broken_0000", "damaged_0000").replace("a.nii", "broken.nii")
    Path("bin/docker").write_text(script)
    assert submission().exit_code == 0


def test_a_container_that_was_not_made_changed_nothing_that_is_known(fake):
    script = FAKE_DOCKER.replace(
        'case "$*" in *"test', 'case "$*" in *":ro"*) rm $id_file; exit 125 ;; *"test'
    )
    Path("bin/docker").write_text(script)
    assert submission().exit_code == 1
    found = {row["rule"]: (row["status"], row["reason"]) for row in table()["rules"]}
    assert found["inside"] == ("not checked", "there was no container: exit status 125: ")
    assert found["many"][0] == "failed"


def test_a_container_that_does_not_end_is_killed_by_its_id(fake):
    Path("also").write_text("exec sleep 300")
    bench = Bench(DockerImage("team", "sha256:abc"), None, Path(), 0.5)
    found = bench.run([Path("in/a_0000.nii.gz")], OFFLINE)
    assert found.exit_status is None
    assert list(found.maps) == ["a"]
    calls = Path("log").read_text().splitlines()[-3:]
    assert calls == ["kill 0123abcd", "diff 0123abcd", "rm --force --volumes 0123abcd"]
