"""What `train run` shows of its stages: from their logs, on a terminal and in a file."""

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from imaging.errors import KitError
from train.cli import main
from train.progress import (
    CASE,
    EPOCH,
    Logged,
    StageProgress,
    counting,
    last_lines,
    log_stage,
    read_log,
)
from train.rounds.cost import RecipeCost
from train.rounds.display import Display
from train.rounds.graph import Stage
from train.rounds.hardware import A100
from train.rounds.recipe import load_rounds
from train.rounds.records import digests_path
from train.rounds.run import Run
from train.rounds.time_left import Clock, duration
from train.rounds.watch import DONE, FAILED, RUNNING, WAITING, Watch, Watched, log_path
from train.synthesis.phantom_release import HIDDEN, Phantoms, from_shapes, write_release

ROOT = Path(__file__).parents[3]
PHANTOM = ROOT / "train" / "recipes" / "phantom.toml"
PHANTOMS = Phantoms(2, 6, 2, 4, (32, 36, 40), (8.0, 8.0, 8.0))


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    write_release(PHANTOMS, 1, from_shapes(PHANTOMS), folder)
    return folder


@pytest.fixture
def run(tmp_path, release):
    """A run of the phantom recipe in which nothing was done yet."""
    folder = tmp_path / "run"
    for name in ("digests", "logs"):
        (folder / name).mkdir(parents=True)
    return Run(load_rounds(PHANTOM), folder, release, release / HIDDEN)


def say(run, key, *lines):
    with log_path(run.folder, key).open("a") as log:
        log.writelines(f"{line}\n" for line in lines)


def finish(run, key, *lines):
    say(run, key, f"stage {key} starts", *lines, f"stage {key} done in 20.0 s")
    digests_path(run.folder, key).write_text("{}")


class TestLines:
    """What stages write is what is read."""

    def test_of_a_stage_that_was_done(self, tmp_path, capsys):
        with log_stage("teacher/train"):
            step = counting(EPOCH, 3, done=1)
            step()
            step()
        text = capsys.readouterr().err
        (tmp_path / "log").write_text(text)
        assert text.splitlines()[-2] == "epoch 3 of 3, 0.00 s each"
        assert read_log(tmp_path / "log") == Logged(StageProgress(EPOCH, 3, 3, 0.0), 0.0)

    def test_at_most_one_a_second_and_the_last(self, capsys):
        step = counting(CASE, 1000)
        for _ in range(1000):
            step()
        assert len(capsys.readouterr().err.splitlines()) < 10

    def test_of_a_stage_that_failed(self, tmp_path, capsys):
        with pytest.raises(KitError), log_stage("data"):
            raise KitError("no")
        (tmp_path / "log").write_text(capsys.readouterr().err + "Error: no\n")
        assert read_log(tmp_path / "log").failed
        assert last_lines(tmp_path / "log", 1) == ["Error: no"]

    def test_only_the_last_try_counts(self, tmp_path):
        log = tmp_path / "log"
        log.write_text("stage a starts\nepoch 9 of 9, 1.00 s each\nstage a failed after 9.0 s\n")
        size = log.stat().st_size
        log.write_text(log.read_text() + "stage a starts\n")
        assert read_log(log) == Logged()
        assert read_log(log, size) == Logged()

    def test_nnunets_own_lines_are_passed_over(self, tmp_path):
        bar = "Preprocessing:  50%|##   | 1/2 [00:16<00:16]\rPreprocessing: 100%|####| 2/2 [00:17]"
        lines = ["prepared case 2 of 7", "2026-11-28: Epoch 0", "the case 1 of 2", bar, "", "  "]
        (tmp_path / "log").write_text("\n".join(lines))
        assert read_log(tmp_path / "log").progress == StageProgress("prepared case", 2, 7)
        assert last_lines(tmp_path / "log", 2) == ["the case 1 of 2", bar.partition("\r")[2]]

    def test_a_log_that_is_missing(self, tmp_path):
        assert read_log(tmp_path / "log") == Logged()
        assert last_lines(tmp_path / "log", 10) == []


def states(watch):
    return {row.stage.key: row.state for row in watch.look() if row.state != WAITING}


def test_a_stage_waits_runs_and_is_done_or_failed(run):
    say(run, "teacher/train", "stage teacher/train starts", "epoch 4 of 15, 2.00 s each")
    finish(run, "data")
    watch = Watch(run)
    assert states(watch) == {"data": DONE}, "what an earlier call began is not running"
    say(run, "teacher/train", "stage teacher/train starts")
    assert states(watch) == {"data": DONE, "teacher/train": RUNNING}
    (row,) = (row for row in watch.look() if row.state == RUNNING)
    assert row.logged.progress is None, "the earlier call's epochs"
    say(run, "teacher/train", "stage teacher/train failed after 3.0 s")
    assert states(watch)["teacher/train"] == FAILED
    finish(run, "teacher/train")
    assert states(watch)["teacher/train"] == DONE


class TestTimeLeft:
    """Worked out by hand."""

    def test_before_anything_was_measured_it_is_the_recipes_estimate(self, run):
        left = Clock(run, slots=1).left(Watch(run).look())
        # a step: 2 * 40 * 48 * 56 voxels of 2 * 48 * 128 * 160 in 26.9 / 250 s; 3 * 15 * 40 steps
        training_s = 3 * 15 * 40 * (40 * 48 * 56) / (48 * 128 * 160) * 26.9 / 250
        # labels of two rounds for 2 + 6 + 2 cases, and 4 scored in each of three rounds
        labelling_s = (2 * 10 + 3 * 4) * RecipeCost(run.recipe).case_hours(A100).most * 3600
        assert left.seconds == pytest.approx(training_s + labelling_s)
        assert left.text == "about 2 min left (training and labelling as `train estimate` says)"

    def test_then_as_measured(self, run):
        finish(run, "data")
        finish(run, "teacher/fuse")
        finish(run, "teacher/select")
        say(run, "teacher/train", "epoch 15 of 15, 1.00 s each")  # and 5 s beside the epochs
        finish(run, "teacher/train", "epoch 15 of 15, 1.00 s each")
        finish(run, "teacher/export")
        watch = Watch(run)
        say(run, "teacher/label/part000", "case 2 of 5, 4.00 s each")
        left = Clock(run, slots=8).left(watch.look())
        # two parts at once: 3 and 5 cases, then two times 5; three times 4 scored
        labelling_s = (3 + 5 + 5 + 5) * 4 / 2 + 3 * 4 * 4
        others_s = 2 * (20 + 20 + 20)  # fuse, select and export of the two rounds after it
        assert left.seconds == pytest.approx(2 * (15 * 1 + 5) + labelling_s + others_s)
        assert left.estimated == ()

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (45, "45 s"),
            (90, "2 min"),
            (3569, "59 min"),
            (3600, "1 h 0 min"),
            (12_000, "3 h 20 min"),
            (190_800, "2 d 5 h"),
        ],
    )
    def test_in_words(self, seconds, text):
        assert duration(seconds) == text


class TestDisplay:
    """On a terminal of 80 columns, and in a file."""

    def display(self, run, *, terminal):
        out = StringIO()
        return Display(run, 1, Console(file=out, width=80, force_terminal=terminal)), out

    def test_on_a_terminal_rounds_stages_epochs_and_time(self, run):
        finish(run, "data")
        display, out = self.display(run, terminal=True)
        say(run, "teacher/train", "epoch 4 of 15, 120.00 s each")
        with display.shown() as update:
            update()
        text = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", out.getvalue())
        assert "1 of 20 stages are there already" in text
        assert "train: epoch 4 of 15, 120.00 s each, 22 min left" in text
        assert re.search(r"data +│ 1 of 1 ", text)
        assert re.search(r"second_student +│ 0 of 5 ", text)
        assert max(map(len, re.split(r"[\r\n]", text))) <= 80

    def test_in_a_file_a_line_a_change(self, run, monkeypatch):
        monkeypatch.setattr("train.rounds.display._PLAIN_S", 0.0)
        display, out = self.display(run, terminal=False)
        with display.shown() as update:
            update()
            say(run, "data", "stage data starts")
            update()
            say(run, "data", "case 1 of 9, 60.00 s each")
            update()
            finish(run, "data")
            update()
            update()
            say(run, "teacher/fuse", "stage teacher/fuse failed after 1.0 s")
        lines = [line.partition("; about")[0] for line in out.getvalue().splitlines()]
        assert lines == [
            "data: started",
            "data: case 1 of 9, 60.00 s each, 8 min left",
            "data: done in 20 s",
            "teacher/fuse: failed",
        ]

    def test_a_stage_of_a_long_name_is_folded_and_not_cut(self, run):
        name = "a_round_whose_name_has_forty_characters_"
        display, out = self.display(run, terminal=False)
        row = Watched(
            Stage(name, "label", 12, ()), RUNNING, Logged(StageProgress(CASE, 3, 4000, 11.0))
        )
        display.clock._labelled[name] = 4000
        display.console.print(display.table([row]))
        assert max(map(len, out.getvalue().splitlines())) <= 80
        words = re.sub(r"[\s│]+", "", out.getvalue())
        assert "label/part012:case3of4000,11.00seach,12h13minleft" in words


@pytest.mark.slow
def test_what_failed_is_named_with_its_log_and_the_end_of_it(release, tmp_path):
    pytest.importorskip("snakemake")
    text = PHANTOM.read_text().replace("external = []", 'external = ["others"]')
    text = text.replace('name = "phantom"', 'name = "broken"')
    (tmp_path / "others").mkdir()
    head, _, rounds = text.partition("[[rounds]]")
    student = rounds.split("[[rounds]]")[1].replace('["teacher"]', '["others"]')
    (tmp_path / "recipe.toml").write_text(f"{head}[[rounds]]{student}")
    words = ["run", tmp_path / "recipe.toml", "--release", release, "--run", tmp_path / "run"]
    words += ["--source", f"others={tmp_path / 'others'}", "--cores", "1"]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    log = tmp_path / "run" / "logs" / "student-fuse.log"
    assert lines[-1] == (
        f"Error: 'broken' is not done: student/fuse failed; see {log}; what is done stays"
    )
    assert "data: started" in lines or any(line.startswith("data: done in") for line in lines)
    assert any("others" in line for line in lines[-4:-1]), "why, from the log"
    assert "rule student_fuse" in (log.parent / "snakemake.log").read_text()
    assert json.loads(digests_path(tmp_path / "run", "data").read_text())

    again = CliRunner().invoke(main, [str(word) for word in words])
    assert "1 of 5 stages are there already" in again.stderr
    assert "data: " not in again.stderr, "it is not done again"


def test_a_round_cannot_be_called_as_the_folder_of_logs(tmp_path):
    text = PHANTOM.read_text().replace('"teacher"', '"logs"')
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(KitError, match="choose a name that can be a folder's"):
        load_rounds(tmp_path / "recipe.toml")


def test_without_a_truth_nothing_is_scored_in_the_time_left(run):
    plain = replace(run, truth=None)
    case_s = RecipeCost(run.recipe).case_hours(A100).most * 3600
    assert Clock(run, 1).left(Watch(run).look()).seconds - Clock(plain, 1).left(
        Watch(plain).look()
    ).seconds == pytest.approx(3 * 4 * case_s)
