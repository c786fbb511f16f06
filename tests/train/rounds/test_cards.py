"""Cards are stand-ins here: names for which stages hold real locks, scheduled by the real run."""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from imaging.errors import KitError
from imaging.label_maps import read_label_map
from imaging.volumes import write_volume
from inference.pipeline import predict_folder
from tests.train.rounds.stand_in.watched import SNAKEFILE, Watched
from train.cli import main
from train.data.release import Case, write_cases
from train.rounds import cards, command
from train.rounds import graph as run_graph
from train.rounds import network as stages
from train.rounds.cards import VISIBLE, first_cards, hold_cards, lock_folder, require_card
from train.rounds.command import Launch, run_recipe
from train.rounds.graph import expand, find_stage, settings_of
from train.rounds.recipe import load_rounds
from train.rounds.run import Run
from train.rounds.schedule import resources_of
from train.rounds.stages import do_stage
from train.synthesis.phantom_release import Phantoms, write_release

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[3]
PAPER = ROOT / "train" / "recipes" / "flare23_paper.toml"
PHANTOMS = Phantoms(1, 1, 1, 1, (4, 4, 4), (8.0, 8.0, 8.0))
SHARDS = 5
GPUS = 4
LONGEST_IDLE_S = 30.0
"""Of a card while a stage waits: what Snakemake takes to start one, on a busy machine."""


@pytest.fixture(autouse=True)
def locks_of_this_test(tmp_path, monkeypatch):
    """Keep away from the locks of real runs; stages started from here inherit the place."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(cards.tempfile, "tempdir", None)


@pytest.fixture
def machine(monkeypatch):
    """Make torch count as many cards as it is told."""

    def has(count, visible=None):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        if visible is None:
            monkeypatch.delenv(VISIBLE, raising=False)
        else:
            monkeypatch.setenv(VISIBLE, visible)

    return has


@pytest.fixture
def run(tmp_path):
    """The paper's recipe on one case of each kind, with fewer parts."""

    def draw(_case, _seed):
        return np.zeros((4, 4, 4), np.int16), np.ones((4, 4, 4), np.uint8)

    write_release(PHANTOMS, 1, draw, tmp_path / "release")
    text, count = re.subn(r"(?m)^shards = .*$", f"shards = {SHARDS}", PAPER.read_text())
    assert count == 1
    (tmp_path / "paper.toml").write_text(text)
    release, truth = tmp_path / "release", tmp_path / "release" / "hidden"
    external = {"aladdin5": truth, "blackbean": truth}
    recipe = load_rounds(tmp_path / "paper.toml")
    return Run(recipe, tmp_path / "run", release, truth, external, "cuda")


def test_never_two_stages_on_a_card_and_none_idle_while_one_waits(run, machine, monkeypatch):
    pytest.importorskip("snakemake")
    machine(8, "1,3,5,7,0,2,4,6")
    monkeypatch.setattr(command, "SNAKEFILE", SNAKEFILE)
    watched = Watched(run, GPUS)
    watched.drive(run.folder.parent / "paper.toml", Launch(cores=8, gpus=GPUS), LONGEST_IDLE_S)
    assert watched.used == {"1", "3", "5", "7"}
    assert watched.most_ready > GPUS, "stages waited for a card"
    assert {stage.kind for stage in watched.on_card} == {"train", "label", "score"}


def test_cards_are_those_that_are_visible(machine):
    machine(4)
    assert first_cards(3) == ("0", "1", "2")
    machine(2, "GPU-8932f937, MIG-1")
    assert first_cards(2) == ("GPU-8932f937", "MIG-1")
    machine(2, "5,6,99")  # torch counts up to the first that is not there
    assert first_cards(2) == ("5", "6")
    machine(2, "5,6")
    with pytest.raises(KitError, match=r"--gpus 3 was requested, but torch can use 2 GPUs here"):
        first_cards(3)


def test_without_a_card_a_stage_ends_instead_of_taking_the_cpu(run, machine):
    machine(0, "")
    with pytest.raises(KitError, match=r"torch can use no GPU here .CUDA_VISIBLE_DEVICES is ''"):
        do_stage(run, find_stage(run.recipe, "teacher", "train", None))
    machine(0)
    with pytest.raises(KitError, match="CUDA_VISIBLE_DEVICES is not set"):
        require_card()


def test_a_card_is_free_again_when_its_holder_is_killed(monkeypatch, capsys):
    monkeypatch.setenv(VISIBLE, "0,1")
    code = "from train.rounds.cards import *\nwith hold_cards(['0', '1'], 2): input(print('has'))"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"has\n"
    assert {path.name for path in lock_folder().iterdir()} == {"0.lock", "1.lock"}
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: (time.sleep(0.5), holder.kill()))
        with hold_cards(["0", "1"], 1) as held:
            assert holder.wait() < 0
            assert (held, os.environ[VISIBLE]) == (("0",), "0")
    holder.stdout.close()
    holder.stdin.close()
    assert "waits for 1 card: others hold 0, 1" in capsys.readouterr().err


def test_a_stage_takes_the_cards_that_are_free(monkeypatch):
    monkeypatch.setenv(VISIBLE, "unchanged")
    with hold_cards(["a", "b", "c"], 1), hold_cards(["a", "b", "c"], 2) as held:
        assert held == ("b", "c")
    with pytest.raises(KitError, match="2 cards needed, but the run has 1: --gpus"):
        hold_cards(["a"], 2).__enter__()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--gpus", "2"], "--gpus goes with --device cuda, and without --executor"),
        (["--device", "cuda", "--executor", "slurm", "--gpus", "2"], "without --executor"),
        (["--device", "cuda", "--gpus", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_usage(run, options, complaint):
    words = ["run", run.folder.parent / "paper.toml", "--run", run.folder]
    words += ["--release", run.release, *options]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 2
    assert complaint in " ".join(done.stderr.split())


def test_too_few_cards_and_a_precision_that_is_none_of_a_cards(run, machine, tmp_path):
    machine(1)
    with pytest.raises(KitError, match="--gpus 2 was requested, but torch can use 1 GPU here"):
        run_recipe(run, tmp_path / "paper.toml", Launch(cores=16, gpus=2))
    text = (tmp_path / "paper.toml").read_text().replace('precision = "auto"', 'precision = "bf16"')
    (tmp_path / "bf16.toml").write_text(text)
    other = Run(
        load_rounds(tmp_path / "bf16.toml"), run.folder, run.release, None, run.external, "cuda"
    )
    with pytest.raises(KitError, match=r"labels in bf16; .* set precision to auto or f32"):
        run_recipe(other, tmp_path / "bf16.toml", Launch(cores=8))
    assert not run.folder.exists()


@pytest.mark.parametrize(
    ("device", "launch", "refused"),
    [
        ("cpu", Launch(cores=8), True),
        ("cuda", Launch(cores=16), True),
        ("cuda", Launch(cores=16, gpus=2), False),
        ("cuda", Launch(cores=16, executor="slurm"), False),
    ],
)
def test_cards_that_train_one_network_together(run, machine, device, launch, refused):
    machine(2)
    recipe = replace(run.recipe, training=replace(run.recipe.training, gpus=2))
    together = replace(run, recipe=recipe, device=device)
    if refused:
        with pytest.raises(KitError, match="each network on 2 GPUs together; give --device cuda"):
            command._cards(together, launch)
    else:
        assert len(command._cards(together, launch)) in (0, 2)


def test_fewer_cores_than_the_cards_stages_have_threads(run, machine, capsys):
    machine(4)
    assert command._cards(run, Launch(cores=16, gpus=4)) == ("0", "1", "2", "3")
    said = " ".join(capsys.readouterr().err.split())
    assert "4 stages of 8 threads, one a card, will share 16 cores; give --cores 32 if" in said
    command._cards(run, Launch(cores=32, gpus=4))
    assert not capsys.readouterr().err


def test_what_a_stage_asks_for(run):
    label = find_stage(run.recipe, "teacher", "label", 0)
    fuse = find_stage(run.recipe, "teacher", "fuse", None)
    training = run.recipe.training
    of_machine = {"device": "cuda", "cards": ["0"]}
    of_cluster = {"device": "cuda", "cards": []}
    needs = {"mem_mb": 28_000, "runtime": 720}
    assert resources_of(label, training, of_machine) == {**needs, "gpu": 1}
    assert resources_of(label, training, of_cluster) == {**needs, "gres": "gpu:1"}
    assert resources_of(label, training, {"device": "cpu", "cards": []}) == needs
    little = {"mem_mb": 8_000, "runtime": 720}
    assert resources_of(fuse, training, of_machine) == {**little, "cpu_stage": 1}
    train = find_stage(run.recipe, "teacher", "train", None)
    together = resources_of(train, replace(training, gpus=2), of_cluster)
    assert together == {"mem_mb": 48_000, "runtime": 4320, "gres": "gpu:2"}
    assert resources_of(fuse, training, of_cluster) == little


def test_parts_are_labelled_by_the_engine_of_cards(run, network, boxes, monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    hu, truth = boxes
    cases = [Case(f"FLARE23_{n:04d}", f"{n}.nii.gz", None, (), (), "unlabelled") for n in (1, 2, 3)]
    for case in cases:
        write_volume(hu, (2.0, 2.0, 2.0), run.release / case.image)
    (run.folder / "data").mkdir(parents=True)
    write_cases(cases, run.folder / "data" / "cases.json")
    (run.folder / "teacher").mkdir()
    (run.folder / "teacher" / "export").symlink_to(network(orientation=None).folder)
    recipe = replace(run.recipe, shards=2, training=replace(run.recipe.training, threads=1))
    engines = []

    def spied(*words):
        report = predict_folder(*words)
        engines.append(report.engine["name"])
        return report

    monkeypatch.setattr(stages, "predict_folder", spied)
    monkeypatch.setattr(run_graph, "case_list", lambda _: [case.case for case in cases])
    for device in ("cuda", "cpu"):
        for part in (0, 1):
            labelled = replace(run, recipe=recipe, device=device)
            job = stages.label_job(labelled, find_stage(recipe, "teacher", "label", part))
            job.make(tmp_path / device)
        for case in cases:
            found = read_label_map(tmp_path / device / f"{case.case}.nii.gz").labels
            np.testing.assert_array_equal(found, truth)
    assert engines == ["torch", "torch", "openvino", "openvino"]


def test_labels_of_a_card_and_of_the_cpu_are_not_taken_for_the_same(run):
    stale = {
        stage.kind
        for stage in expand(run.recipe, scored=True)
        if settings_of(run.recipe, stage, "cpu") != settings_of(run.recipe, stage, "cuda")
    }
    assert stale == {"train", "label", "score"}
