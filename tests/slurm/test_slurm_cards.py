"""Slurm gives each stage a card by --gres, of the four of a node that compute nothing."""

from pathlib import Path

import numpy as np
import pytest

from tests.train.rounds.stand_in.watched import SNAKEFILE, Watched
from train.rounds import command
from train.rounds.command import Launch
from train.rounds.recipe import load_rounds
from train.rounds.run import Run
from train.synthesis.phantom_release import Phantoms, write_release

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

PHANTOM = Path(__file__).parents[2] / "train" / "recipes" / "phantom.toml"
LONGEST_IDLE_S = 120.0
"""Slurm, and a Snakemake in every job, on a busy machine."""


def test_never_two_stages_on_a_card_and_none_idle_while_one_waits(cluster, monkeypatch, tmp_path):
    text = PHANTOM.read_text().replace("shards = 2", "shards = 6")
    (tmp_path / "short.toml").write_text(text[: text.rindex("[[rounds]]")])

    def draw(_case, _seed):
        return np.zeros((4, 4, 4), np.int16), np.ones((4, 4, 4), np.uint8)

    write_release(Phantoms(1, 1, 1, 1, (4, 4, 4), (8.0,) * 3), 1, draw, tmp_path / "release")
    recipe = load_rounds(tmp_path / "short.toml")
    assert recipe.shards == 6
    run = Run(recipe, tmp_path / "run", tmp_path / "release", device="cuda")
    monkeypatch.setenv("SNAKEMAKE_PROFILE", cluster["SNAKEMAKE_PROFILE"])
    monkeypatch.setattr(command, "SNAKEFILE", SNAKEFILE)
    watched = Watched(run, 4)
    launch = Launch(cores=2, executor="slurm", jobs=40)
    watched.drive(tmp_path / "short.toml", launch, LONGEST_IDLE_S)
    assert watched.used == {"0", "1", "2", "3"}
    assert watched.most_ready > 4, "stages waited for a card"
