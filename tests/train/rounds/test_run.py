"""The paper's recipe, every round of it, on twenty small generated cases with FLARE23's names."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from imaging.label_maps import read_label_map
from train.cli import main
from train.data.release import Layout
from train.progress import read_log
from train.rounds.network import MANIFEST
from train.rounds.records import RECORD, load_record
from train.rounds.watch import log_path
from train.synthesis.phantom_release import HIDDEN, Phantoms, from_shapes, write_release

pytest.importorskip("snakemake")

ROOT = Path(__file__).parents[3]
PAPER = ROOT / "train" / "recipes" / "flare23_paper.toml"
OURS = ROOT / "train" / "recipes" / "flare23.toml"
PHANTOMS = Phantoms(4, 9, 5, 2, (40, 40, 48), (8.0, 8.0, 8.0))
SHORTENED = {
    "spacing_mm": "[8.0, 8.0, 8.0]",
    "shards": 2,
    "patch": "[16, 24, 24]",
    "features": "[4, 8, 8]",
    "epochs": 1,
    "iterations": 2,
    "validation_iterations": 1,
    "threads": 1,
    "workers": 0,
}
SOURCES = ("aladdin5", "blackbean")


def train(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def shortened(recipe, **more):
    """Return the text of a recipe with small and few steps."""
    text = recipe.read_text()
    for key, value in {**SHORTENED, **more}.items():
        text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        assert count == 1, key
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make a release, the paper's recipe shortened, and two sources that know the truth."""
    folder = tmp_path_factory.mktemp("paper")
    write_release(PHANTOMS, 1, from_shapes(PHANTOMS), folder / "release")
    (folder / "paper.toml").write_text(shortened(PAPER))
    for name in SOURCES:
        (folder / name).symlink_to(folder / "release" / HIDDEN)
    return folder


def run(folder):
    options = ["--release", folder / "release", "--run", folder / "run", "--cores", 2]
    options += ["--truth", folder / "release" / HIDDEN]
    for name in SOURCES:
        options += ["--source", f"{name}={folder / name}"]
    done = train("run", folder / "paper.toml", *options)
    assert done.exit_code == 0, done.output
    return {
        path.parent.relative_to(folder / "run").as_posix(): path.stat().st_mtime_ns
        for path in (folder / "run").rglob(RECORD)
    }


@pytest.mark.long
@pytest.mark.slow
def test_the_papers_rounds_from_a_release_to_exported_networks(folder):
    made = run(folder)
    place = folder / "run"

    trained = {
        name: sum(read.startswith("release/") for read in _inputs(place / name / "train"))
        for name in ("teacher", "student", "mixed", "extended", "final")
    }
    # 4 complete; with the 9 partial 13; with the 5 unlabelled 18, none of them dropped by the paper
    assert trained == {"teacher": 4, "student": 13, "mixed": 13, "extended": 18, "final": 18}
    # data; fuse, select, train, export, score of 5 rounds; two parts of labels of 3
    assert len(made) == 1 + 5 * 5 + 3 * 2

    for case in ("FLARE23_0001", "FLARE23_0002", "FLARE23_2201"):
        # both sources say the truth, and the annotators drew some of it: the truth comes out
        fused = read_label_map(place / "final" / "fuse" / f"{case}.nii.gz")
        truth = read_label_map(folder / "release" / HIDDEN / f"{case}.nii.gz")
        np.testing.assert_array_equal(fused.labels, truth.labels)
        assert fused.elsewhere_than(truth.place, truth.header.shape) is None
    assert (place / "final" / "export" / "weights_manifest.json").is_file()
    assert len((place / "rounds.csv").read_text().splitlines()) == 1 + 5
    told = read_log(log_path(place, "final/train"))
    assert told.progress is not None
    assert (told.progress.unit, told.progress.done, told.progress.total) == ("epoch", 1, 1)

    assert run(folder) == made, "nothing changed, and yet something was run again"

    next((folder / "release" / Layout().images).iterdir()).touch()
    again = run(folder)
    repeated = {stage for stage in made if again[stage] != made[stage]}
    assert repeated == {"data"}, "a CT is newer but the same: its digest says so"


@pytest.mark.long
@pytest.mark.slow
def test_our_rounds_hold_cases_out_choose_rules_and_decide_whether_to_go_on(folder):
    (folder / "ours.toml").write_text(shortened(OURS, held_out=3, least_gain="-0.99"))
    place = folder / "our_run"
    done = train("run", folder / "ours.toml", "--release", folder / "release", "--run", place)
    assert done.exit_code == 0, done.output
    stop = json.loads((place / "stop.json").read_text())
    assert stop["verdicts"], "rounds were compared"
    trained = {path.parents[1].name for path in place.glob("*/train/stage.json")}
    assert {"teacher", "student"} <= trained
    for name in trained:
        assert (place / name / "rules" / "rules.json").is_file()
        assert "postprocess" in json.loads((place / name / "rules" / MANIFEST).read_text())
        held = set(json.loads((place / name / "judge" / "judge.json").read_text())["dsc"])
        assert held
        assert not any(case in read for read in _inputs(place / name / "train") for case in held)


def _inputs(stage):
    return load_record(stage / RECORD)["inputs"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "recipe 'flare23_paper' needs --source aladdin5=FOLDER"),
        (["--source", "aladdin5=."], "recipe 'flare23_paper' needs --source blackbean=FOLDER"),
        (["--source", "aladdin5=.", "--source", "blackbean=none"], "none is no folder"),
        (
            ["--source", "aladdin5=.", "--source", "blackbean=.", "--source", "third=."],
            "takes no source 'third'",
        ),
    ],
)
def test_sources_are_checked_before_anything_is_run(folder, options, complaint):
    place = folder / "refused"
    done = train("run", PAPER, "--run", place, "--release", folder / "release", *options)
    assert done.exit_code == 1
    assert complaint in " ".join(done.stderr.split())
    assert len(done.stderr.strip().splitlines()) == 1
    assert not place.exists()


def test_a_folder_that_is_no_release_is_refused_before_anything_is_run(folder, tmp_path):
    sources = [word for name in SOURCES for word in ("--source", f"{name}={folder / name}")]
    done = train("run", PAPER, "--run", tmp_path / "run", "--release", tmp_path, *sources)
    assert done.exit_code == 1
    assert "no folder imagesTr2200" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--source", "aladdin5"], "aladdin5: give NAME=FOLDER"),
        (["--cores", "0"], "0 is not in the range x>=1"),
        (["--device", "tpu"], "'tpu' is not one of"),
    ],
)
def test_wrong_usage(folder, words, complaint):
    release = folder / "release"
    done = train("run", PAPER, "--run", folder / "refused", "--release", release, *words)
    assert done.exit_code == 2
    assert complaint in done.stderr
