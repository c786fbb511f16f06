import json

import pytest
from click.testing import CliRunner

from imaging.errors import KitError
from train.cli import main
from train.rounds.verify import compare_runs

STAGES = {"data": 0, "teacher/fuse": 1, "teacher/train": 2, "a_student/fuse": 3}
"""In the order of the run, which is not the alphabet's."""


def write_run(folder, changed=None, left_out=(), **facts):
    for stage, place in STAGES.items():
        if stage in left_out:
            continue
        outputs = {"one": "1", "two": "2", **(changed or {}).get(stage, {})}
        record = {"schema": 1, "stage": stage, "place": place, "outputs": outputs, **facts}
        (folder / stage).mkdir(parents=True)
        (folder / stage / "stage.json").write_text(json.dumps(record))
    return folder


def verify(*folders):
    return CliRunner().invoke(main, ["verify", *map(str, folders)])


def test_equal_runs(tmp_path):
    first, second = (write_run(tmp_path / name) for name in "ab")
    assert compare_runs(first, second) == (4, None)
    result = verify(first, second)
    assert (result.exit_code, json.loads(result.output)) == (0, {"equal_stages": 4})


def test_seconds_and_machines_make_no_difference(tmp_path):
    first = write_run(tmp_path / "a", seconds=1.0, cpu="one")
    second = write_run(tmp_path / "b", seconds=2.0, cpu="another")
    assert compare_runs(first, second) == (4, None)


def test_the_first_stage_and_file_that_differ_are_named(tmp_path):
    first = write_run(tmp_path / "a", cpu="one")
    changed = {"teacher/train": {"two": "9"}, "a_student/fuse": {"one": "8"}}
    second = write_run(tmp_path / "b", changed, cpu="another")
    result = verify(first, second)
    assert result.exit_code == 1
    assert result.output == (
        "Error: after 2 equal stages teacher/train differs: two is 2 and 9; there differ cpu: one "
        "and another\n"
    )


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_that_only_one_run_has(tmp_path, swapped):
    first = write_run(tmp_path / "a")
    second = write_run(tmp_path / "b", {"data": {"three": "3"}})
    equal, difference = compare_runs(*((second, first) if swapped else (first, second)))
    assert (equal, difference.stage) == (0, "data")
    assert difference.what == ("three is 3 and missing" if swapped else "three is missing and 3")


def test_a_stage_that_only_one_run_has(tmp_path):
    first = write_run(tmp_path / "a")
    second = write_run(tmp_path / "b", left_out=("teacher/train",))
    equal, difference = compare_runs(first, second)
    assert (equal, difference.stage) == (2, "teacher/train")
    assert difference.what == f"{second} has no such stage"


def test_what_a_killed_stage_left_counts_for_nothing(tmp_path):
    first, second = (write_run(tmp_path / name) for name in "ab")
    (second / "teacher" / "export.partial").mkdir()
    (second / "teacher" / "export.partial" / "stage.json").write_text("{")
    assert compare_runs(first, second) == (4, None)


def test_a_folder_without_a_run_is_refused(tmp_path):
    write_run(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(KitError, match="b holds no stage of a run; give RUN folders"):
        compare_runs(tmp_path / "a", tmp_path / "b")
