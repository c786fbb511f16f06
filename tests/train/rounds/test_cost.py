"""What a recipe will take: by round, by card and by the number of cards; worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from train.cli import main
from train.data.release import case_list
from train.rounds.cost import RecipeCost
from train.rounds.graph import Stage
from train.rounds.hardware import (
    A100,
    CARDS,
    H200,
    REST_S,
    STEP_PATCH,
    Span,
    case_s,
    on_card,
    training_gb,
)
from train.rounds.recipe import load_rounds
from train.rounds.schedule import planned
from train.synthesis.phantom_release import load_phantoms, phantom_cases, phantoms_of, write_release

RECIPES = Path(__file__).parents[3] / "train" / "recipes"
OF_PHANTOMS = ("phantom", "phantom_poisoned", "phantom_sources", "phantom_stop")


@pytest.fixture(scope="module")
def paper():
    return load_rounds(RECIPES / "flare23_paper.toml")


@pytest.fixture(scope="module")
def ours():
    return load_rounds(RECIPES / "flare23.toml")


@pytest.fixture(scope="module")
def phantom():
    return load_rounds(RECIPES / "phantom.toml")


def test_hours_follow_steps_and_voxels(paper):
    def hours(**changes):
        training = replace(paper.training, **{"patch": (48, 128, 160), **changes})
        return RecipeCost(replace(paper, training=training)).train_hours(A100)

    # 1,000 epochs of 250 steps at 26.9 s: 26,900 s, as measured
    assert hours() == pytest.approx(Span(26900 / 3600, 26900 / 3600))
    assert hours(patch=()) == hours()
    assert hours(iterations=125, patch=(48, 128, 80)).most == pytest.approx(26900 / 3600 / 4)
    # two cards together: at best twice as fast, and at worst not at all
    assert hours(gpus=2) == pytest.approx(Span(26900 / 3600 / 2, 26900 / 3600))


def test_other_cards_lie_between_the_ratios_of_both_peaks():
    # H200: 989 of 312 TFLOP/s and 4,800 of 2,039 GB/s
    assert on_card(1.0, A100, H200) == pytest.approx(Span(312 / 989, 2039 / 4800))
    assert on_card(1.0, A100, A100) == Span(1.0, 1.0)
    (slower,) = (card for card in CARDS if card.name == "L40S")
    found = on_card(1.0, A100, slower)
    assert found == pytest.approx(Span(312 / 362, 2039 / 864))
    assert Span(7.52, 7.52).text == "7.5"
    assert found.times(65).text == "56 to 153"


def test_a_case_takes_its_windows_and_the_rest():
    # 84 windows of 9.3 ms each, measured on an H200; half as large ones take half as long
    assert case_s(H200, 84, STEP_PATCH) == pytest.approx(Span(*[84 * 9.3e-3 + REST_S] * 2))
    assert case_s(H200, 84, (48, 64, 160)).most == pytest.approx(42 * 9.3e-3 + REST_S)


def test_cases_and_disk_of_the_paper(paper):
    rows = RecipeCost(paper).rounds
    assert [row.cases for row in rows] == [222, 2199, 2199, 3999, 3987]
    assert [row.counted for row in rows] == [222, 2199, 2199, 3999, 3987]
    assert [row.labelled for row in rows] == [2199, 2199, 3999, 0, 0]
    assert [row.judged for row in rows] == [0] * 5
    # the median case has 159.5 x 496 x 497 voxels at the paper's spacing, 4 bytes each
    assert rows[0].disk_gb == pytest.approx(222 * 159.5 * 496 * 497 * 4 / 1e9)


def test_held_out_cases_are_labelled_after_every_round_of_ours(ours):
    # a tenth of 2,199 labelled cases
    assert [row.judged for row in RecipeCost(ours).rounds] == [219] * 4
    assert RecipeCost(ours).labelled == 2199 + 3999 + 3987 + 4 * 219


def test_costs_count_what_a_release_has(paper):
    rows = RecipeCost(paper, {f"FLARE23_{n:04d}" for n in (1, 2, 2201)}).rounds
    # of 1, 2 and 2201 only 1 is complete; 2201 is unlabelled
    assert [row.counted for row in rows] == [1, 2, 2, 3, 3]
    assert [row.labelled for row in rows] == [2, 2, 3, 0, 0]


def test_windows_of_the_median_case(ours):
    # 159.5 x 271 x 272 voxels of 2.5 x 1.5 x 1.5 mm, windows half a patch apart: 6 x 4 x 3
    seconds = RecipeCost(ours).case_hours(H200).most * 3600
    assert seconds == pytest.approx(6 * 4 * 3 * 9.3e-3 + REST_S)


def test_memory_is_by_the_rule_of_nnunets_planner(paper, ours):
    pytest.importorskip("nnunetv2")
    assert training_gb(560_000_000, 2) == 8
    # stock nnU-Net chose the paper's patch for 8 GB, and takes the largest that is under it
    assert 6.5 < RecipeCost(paper).training_gb() < 8
    pair = replace(ours, training=replace(ours.training, gpus=2))
    assert RecipeCost(pair).training_gb() == pytest.approx(RecipeCost(ours).training_gb() / 2)


PARTS = tuple(Stage("a", "label", part, ("data",)) for part in range(4))
STAGES = (
    Stage("", "data", None, ()),
    *PARTS,
    Stage("a", "judge", None, ("data",)),
    Stage("b", "train", None, tuple(part.key for part in PARTS)),
    Stage("c", "train", None, ("data",)),
)
HOURS = {part.key: 1.0 for part in PARTS} | {"a/judge": 1.0, "b/train": 10.0, "c/train": 4.0}


class TestSchedule:
    """A round of four parts, and a training that waits for nothing."""

    @pytest.fixture
    def training(self, paper):
        return paper.training

    def ends(self, training, cards):
        return {one.stage.key: one.end for one in planned(STAGES, training, HOURS, cards).stages}

    def test_on_one_card_everything_is_in_turn(self, training):
        assert max(self.ends(training, 1).values()) == 4 + 4 + 10 + 1

    def test_on_two_cards_the_judge_waits_for_what_others_wait_for(self, training):
        ends = self.ends(training, 2)
        # two parts, two parts, then both trainings; the judge when the shorter one is done
        assert (ends["a/label/part003"], ends["c/train"], ends["b/train"]) == (2, 6, 12)
        assert ends["a/judge"] == 7

    def test_more_cards_than_stages(self, training):
        assert max(self.ends(training, 8).values()) == 11

    def test_a_training_on_two_cards_waits_until_both_are_free(self, training):
        pair = replace(training, gpus=2)
        plan = planned(STAGES, pair, HOURS, 2)
        spans = {one.stage.key: (one.start, one.end) for one in plan.stages}
        first, second = sorted((spans["b/train"], spans["c/train"]))
        assert first[1] <= second[0]

    def test_the_most_that_is_held_at_once(self, training):
        plan = planned(STAGES, training, HOURS, 2)
        assert plan.highest(lambda stage: float(stage.kind == "train")) == 2
        assert plan.highest(lambda stage: {"b": 5.0, "c": 7.0}.get(stage.round, 0.0)) == 12


def test_plans_of_the_paper(paper):
    one, four, eight = (RecipeCost(paper).schedule(A100, cards) for cards in (1, 4, 8))
    assert one.hours > four.hours > eight.hours
    # `final` waits for no round: its sources are of others
    trainings = [plan.highest(lambda stage: stage.kind == "train") for plan in (one, four, eight)]
    assert trainings == [1, 2, 2]
    trained = RecipeCost(paper).train_hours(A100).most
    assert eight.hours > 4 * trained, "four trainings wait for each other"
    assert eight.highest(RecipeCost(paper).disk_gb) == pytest.approx(
        sum(row.disk_gb for row in RecipeCost(paper).rounds if row.round in ("final", "student")),
        0.5,
    )


def test_every_recipe_is_told_with_its_sources():
    done = CliRunner().invoke(main, ["estimate", str(RECIPES / "flare23.toml")])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    for words in (
        "Measured: training on an A100",
        "Scaled, not measured",
        "GPU memory, not measur",
    ):
        assert words in said
    assert "RTX 4090" in said
    assert "from start to end" in said


def test_a_recipe_of_phantoms_is_counted_as_the_release_that_is_made_of_it(tmp_path):
    def draw(_case, _seed):
        return np.zeros((2, 2, 2), np.int16), np.ones((2, 2, 2), np.uint8)

    recipe = RECIPES / "phantom.toml"
    described, seed = load_phantoms(recipe)
    write_release(described, seed, draw, tmp_path / "release")
    before = CliRunner().invoke(main, ["estimate", str(recipe)])
    after = CliRunner().invoke(
        main, ["estimate", str(recipe), "--release", str(tmp_path / "release")]
    )
    assert (before.exit_code, after.exit_code) == (0, 0)
    lines = [set(result.output.splitlines()) for result in (before, after)]
    assert lines[0] - lines[1] == {"Cases: those that `train phantoms` makes of this recipe."}
    assert not lines[1] - lines[0]


@pytest.mark.parametrize("name", OF_PHANTOMS)
def test_no_recipe_of_phantoms_counts_cases_that_are_not_made(name):
    path = RECIPES / f"{name}.toml"
    described = phantoms_of(path)
    names = {case.case for case in phantom_cases(described)}
    estimate = RecipeCost(load_rounds(path), names, described.mm)
    most = described.complete + described.partial + described.unlabelled
    assert all(row.counted <= most and row.labelled <= most for row in estimate.rounds)
    assert estimate.label_hours(A100).most < 1


def test_a_phantom_takes_the_disk_of_its_own_size(phantom):
    described = phantoms_of(RECIPES / "phantom.toml")
    one = {case_list("organ_complete")[0]}
    teacher = RecipeCost(phantom, one, described.mm).rounds[0]
    # 56 x 56 x 72 voxels of the recipe's own spacing, 4 bytes each
    assert teacher.disk_gb == pytest.approx(math.prod((56, 56, 72)) * 4 / 1e9)
