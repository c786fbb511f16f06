"""How sure a round's network is goes from its labels into what the next round is taught."""
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
from inference.pipeline import predict_folder
from inference.settings import Settings
from tests.conftest import boxes, network, write_ct
from train.data.release import Case, write_cases
from train.rounds import network as stages
from train.rounds.fuse import fuse_job
from train.rounds.graph import expand, find_stage, settings_of
from train.rounds.recipe import load_rounds
from train.rounds.run import Run

PHANTOM = Path(__file__).parents[3] / "train" / "recipes" / "phantom.toml"
ALL = tuple(range(1, 14))
LABELLED = [
    Case(f"FLARE23_{number:04d}", f"ct{number}.nii.gz", f"{number}.nii.gz", ALL, ALL, "partial")
    for number in range(1, 5)
]
CASES = (*LABELLED, Case("FLARE23_2201", "ct5.nii.gz", None, (), (), "unlabelled"))


def recipe(confidence):
    teacher, student, _ = load_rounds(PHANTOM).rounds
    rounds = (teacher, replace(student, combine="weighted"))
    made = replace(load_rounds(PHANTOM), rounds=rounds, held_out=2, shards=1)
    return replace(made, confidence=confidence)


def patient(at):
    """A liver of 5 slices, and what a network says: it goes on for 5 more, and is less sure."""
    truth = np.zeros((24, 8, 8), np.uint8)
    truth[at : at + 5] = 1
    predicted, percents = truth.copy(), np.full(truth.shape, 100, np.uint8)
    predicted[at + 5 : at + 10] = 1
    percents[at : at + 5], percents[at + 5 : at + 10] = 90, 60
    return truth, predicted, percents


@pytest.fixture
def run(tmp_path):
    """Return a function that makes a run whose teacher has labelled everything."""

    def make(confidence):
        made = Run(recipe(confidence), tmp_path / "run", tmp_path / "release")
        (made.folder / "data").mkdir(parents=True)
        write_cases(CASES, made.folder / "data" / "cases.json")
        for number, case in enumerate(CASES):
            truth, predicted, percents = patient(2 + 2 * number)
            held_out = case in made.held_out
            paths = made.held_out_labels("teacher") if held_out else made.labels_of("teacher")
            files = {made.release / case.image: truth, paths[case.case]: predicted}
            files[paths[case.case].parent / "confidence" / paths[case.case].name] = percents
            if case.label is not None:
                files[made.release / case.label] = truth
            for path, voxels in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_volume(voxels, (1.0, 1.0, 1.0), path)
        return made

    return make


def fused(run, folder):
    job = fuse_job(run, find_stage(run.recipe, "student", "fuse", None))
    folder.mkdir()
    job.make(folder)
    return job.inputs, read_label_map(folder / "FLARE23_2201.nii.gz").labels


def test_what_the_network_is_unsure_of_is_believed_less(run, tmp_path):
    confident = run("probability")
    inputs, labels = fused(confident, tmp_path / "made")
    truth = patient(10)[0]
    np.testing.assert_array_equal(labels, truth)
    table = json.loads((tmp_path / "made" / "weighting.json").read_text())
    assert table["least_percent"]["teacher"]["liver"] == 61
    # The percents are declared: those of the case, and those of the held-out cases.
    path = confident.labels_of("teacher")["FLARE23_2201"]
    assert inputs["teacher/confidence/FLARE23_2201"] == path.parent / "confidence" / path.name
    assert "run/teacher/judge/confidence/FLARE23_0002.nii.gz" in inputs

    plain = replace(confident, recipe=recipe(""))
    inputs, labels = fused(plain, tmp_path / "plain")
    assert (labels != truth).any()  # the wrong half looks like the right one
    assert not any("confidence" in name for name in inputs)
    assert "least_percent" not in json.loads((tmp_path / "plain" / "weighting.json").read_text())


def test_the_same_files_give_the_same_bytes(run, tmp_path):
    made = run("margin")
    for name in ("first", "second"):
        fused(made, tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(names) == 4  # two labelled cases that are not held out, one unlabelled, one table
    for name in names:
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("first", "second"))
        assert first == second


@pytest.mark.parametrize("signal", ["probability", "entropy"])
def test_a_stage_writes_percents_beside_the_labels_of_predict(
    tmp_path,
    network,
    write_ct,
    boxes,
    signal,
):
    manifest = network()
    release, place = tmp_path / "release", tmp_path / "run" / "teacher" / "export"
    ct = write_ct(release / "ct5.nii.gz", boxes[0])
    place.parent.mkdir(parents=True)
    manifest.folder.rename(place)
    run = Run(recipe(signal), tmp_path / "run", release)
    job = stages._predicted(run, "teacher", CASES[-1:], signal)
    (tmp_path / "made").mkdir()
    job.make(tmp_path / "made")
    predict_folder({"FLARE23_2201": ct}, tmp_path / "plain", replace(manifest, folder=place),
                   Settings(precision="f32"))  # fmt: skip
    name = "FLARE23_2201.nii.gz"
    assert (tmp_path / "made" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    percents = read_label_map(tmp_path / "made" / "confidence" / name).labels
    shares = np.exp([0, 0.5, 0]) / np.exp([0, 0.5, 0]).sum()  # liver at 100 HU
    entropy = 1 + (shares * np.log(shares)).sum() / np.log(3)
    expected = shares.max() if signal == "probability" else entropy
    assert set(percents[boxes[1] == 1]) == {round(100 * expected)}


def test_a_case_that_cannot_be_labelled_ends_the_stage(tmp_path, network):
    manifest = network()
    place = tmp_path / "run" / "teacher" / "export"
    place.parent.mkdir(parents=True)
    manifest.folder.rename(place)
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "ct5.nii.gz").write_bytes(b"x")
    run = Run(recipe("margin"), tmp_path / "run", tmp_path / "release")
    job = stages._predicted(run, "teacher", CASES[-1:], "margin")
    with pytest.raises(KitError, match="round 'teacher' could not label FLARE23_2201: ct5"):
        job.make(tmp_path / "made")


def test_confidence_makes_stale_what_tells_it_and_what_asks_for_it():
    plain, confident = recipe(""), recipe("margin")
    stale = {
        stage.kind
        for stage in expand(plain, scored=True)
        if settings_of(plain, stage, "cpu") != settings_of(confident, stage, "cpu")
    }
    assert stale == {"label", "judge", "fuse"}


def test_an_unknown_signal_is_refused(tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text(PHANTOM.read_text().replace('confidence = ""', 'confidence = "logit"'))
    with pytest.raises(KitError, match="confidence is 'logit'; probability, margin, entropy, or"):
        load_rounds(path)
