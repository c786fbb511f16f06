"""What held-out cases show of a network's pieces goes into the bundle that is scored."""
# ruff: noqa: F401, F811 (fixtures of tests/inference)

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino")

from imaging.errors import KitError
from imaging.label_maps import read_label_map
from imaging.volumes import write_volume
from inference.manifest import ComponentRule, load_manifest
from tests.conftest import network, write_ct
from train.data.release import Case, write_cases
from train.rounds.graph import expand, find_stage, settings_of
from train.rounds.network import judge_job, rules_job, score_job
from train.rounds.recipe import load_rounds
from train.rounds.run import Run

PHANTOM = Path(__file__).parents[3] / "train" / "recipes" / "phantom.toml"
ALL = tuple(range(1, 14))
CASES = (
    *(
        Case(f"FLARE23_000{number}", f"ct{number}.nii.gz", f"{number}.nii.gz", (1,), ALL, "partial")
        for number in range(1, 5)
    ),
    Case("FLARE23Ts_0001", "ct5.nii.gz", None, (), (), "validation"),
)


def recipe(component_rules):
    return replace(load_rounds(PHANTOM), held_out=2, component_rules=component_rules)


def write_case(run, case, speck, write_ct):
    """Write a CT like liver in a box and in so many voxels beside it, and its truth: the box."""
    hu, truth = np.full((8, 16, 16), -1000, np.int16), np.zeros((8, 16, 16), np.uint8)
    hu[1:6, 2:8, 2:8], truth[1:6, 2:8, 2:8] = 100, 1
    hu[3, 12, 2 : 2 + speck] = 100
    write_ct(run.release / case.image, hu)
    folder, name = (run.release, case.label) if case.label else (run.truth, f"{case.case}.nii.gz")
    write_ct(folder / name, truth)


@pytest.fixture
def run(tmp_path, network, write_ct):
    """A run whose teacher calls specks liver: of 3 and 4 voxels where held out, of 4 in another."""
    made = Run(recipe(True), tmp_path / "run", tmp_path / "release", tmp_path / "truth")
    place = made.folder / "teacher" / "export"
    place.parent.mkdir(parents=True)
    network().folder.rename(place)
    (place / "stage.json").touch()
    (made.folder / "data").mkdir()
    write_cases(CASES, made.folder / "data" / "cases.json")
    for case, speck in zip(CASES, (9, 3, 9, 4, 4), strict=True):
        write_case(made, case, speck, write_ct)
    assert [case.case[-1] for case in made.held_out] == ["2", "4"]
    return made


def make(run, kind, of):
    job = of(run, find_stage(run.recipe, "teacher", kind, None))
    place = run.folder / "teacher" / kind
    place.mkdir()
    job.make(place)
    return job, place


def test_specks_that_held_out_cases_show_are_dropped_where_it_is_scored(run):
    make(run, "judge", judge_job)
    job, place = make(run, "rules", rules_job)
    table = json.loads((place / "rules.json").read_text())
    # Two livers; two specks of voxels of 0.008 ml, the larger has 0.032 ml.
    dropped = {"right": 2, "wrong": 2, "right_dropped": 0, "wrong_dropped": 2}
    assert table == {"liver": {"min_ml": 0.033, **dropped}}
    manifest = load_manifest(place / "weights_manifest.json")
    before = load_manifest(run.folder / "teacher" / "export" / "weights_manifest.json")
    assert manifest.postprocess == (ComponentRule("liver", min_ml=0.033),)
    same = {"postprocess": (), "folder": before.folder, "sha256": before.sha256}
    assert replace(manifest, **same) == before
    assert manifest.weights("onnx").read_bytes() == before.weights("onnx").read_bytes()
    assert not (place / "stage.json").exists()  # the export's; this stage gets its own
    assert {"run/teacher/judge/FLARE23_0004.nii.gz", "release/4.nii.gz"} <= job.inputs.keys()

    _, scored = make(run, "score", score_job)
    scores = json.loads((scored / "scores.json").read_text())
    assert scores["means"]["dsc"]["liver"]["value"] == 1
    assert (read_label_map(scored / "pred" / "FLARE23Ts_0001.nii.gz").labels == 1).sum() == 180


def test_without_the_key_the_export_is_scored(run):
    plain = replace(run, recipe=recipe(False))
    make(plain, "judge", judge_job)
    _, scored = make(plain, "score", score_job)
    assert (read_label_map(scored / "pred" / "FLARE23Ts_0001.nii.gz").labels == 1).sum() == 184


def test_what_cannot_be_scored_is_reported(run):
    make(run, "judge", judge_job)
    make(run, "rules", rules_job)
    write_volume(
        np.ones((8, 16, 16), np.uint8), (2.0, 2.0, 2.0), run.truth / "FLARE23Ts_0001.nii.gz"
    )
    with pytest.raises(KitError, match=r"round 'teacher': FLARE23Ts_0001: .*origin"):
        make(run, "score", score_job)


def test_a_truth_of_another_shape_is_refused(run):
    _, place = make(run, "judge", judge_job)
    write_volume(np.ones((2, 2, 2), np.uint8), (2.0, 2.0, 2.0), place / "FLARE23_0002.nii.gz")
    with pytest.raises(KitError, match="of one CT"):
        make(run, "rules", rules_job)


def test_the_key_adds_a_stage_and_moves_the_score():
    plain, ruled = recipe(False), recipe(True)
    before = {stage.key: stage for stage in expand(plain, scored=True)}
    after = {stage.key: stage for stage in expand(ruled, scored=True)}
    assert after.keys() - before.keys() == {f"{step.name}/rules" for step in ruled.rounds}
    assert after["teacher/rules"].needs == ("data", "teacher/export", "teacher/judge")
    assert before["teacher/score"].needs == ("data", "teacher/export")
    assert after["teacher/score"].needs == ("data", "teacher/rules")
    # Later rounds are labelled as before, so nothing else changes.
    for key in before.keys() - {f"{step.name}/score" for step in plain.rounds}:
        assert after[key] == before[key]
        assert settings_of(plain, before[key], "cpu") == settings_of(ruled, after[key], "cpu")


def test_rules_want_held_out_cases(tmp_path):
    path = tmp_path / "odd.toml"
    old, new = "component_rules = false", "component_rules = true"
    path.write_text(PHANTOM.read_text().replace(old, new))
    with pytest.raises(KitError, match="component_rules are chosen on held-out cases; give held_o"):
        load_rounds(path)


def test_the_key_is_yes_or_no(tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text(
        PHANTOM.read_text().replace("component_rules = false", 'component_rules = "no"')
    )
    with pytest.raises(KitError, match="component_rules"):
        load_rounds(path)
