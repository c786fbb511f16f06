from dataclasses import replace
from pathlib import Path

import pytest

from imaging.errors import KitError
from train.data.release import Case, case_list
from train.rounds.graph import (
    cases_of,
    cases_to_label,
    expand,
    find_stage,
    held_out,
    settings_of,
)
from train.rounds.recipe import load_rounds
from train.synthesis.phantom_release import phantoms_of

RECIPES = Path(__file__).parents[3] / "train" / "recipes"


@pytest.fixture(scope="module")
def paper():
    return load_rounds(RECIPES / "flare23_paper.toml")


@pytest.fixture(scope="module")
def phantom():
    return load_rounds(RECIPES / "phantom.toml")


def whole_release():
    """Every case that a list of the paper names, with labels where ids say so."""
    labelled = set(case_list("partially_labelled"))
    return tuple(
        Case(name, "", "x" if name in labelled else None, (), (), "partial")
        for name in case_list("all")
    )


def test_the_paper_has_these_rounds_and_cases(paper):
    found = [(s.name, len(case_list(s.cases)), s.sources, s.combine, s.merge) for s in paper.rounds]
    assert found == [
        ("teacher", 222, (), "", "real_only"),
        ("student", 2199, ("teacher",), "", "real_wins"),
        ("mixed", 2199, ("teacher", "student"), "class_mix", "real_wins"),
        ("extended", 3999, ("mixed",), "", "real_wins"),
        ("final", 3987, ("aladdin5", "blackbean"), "agree_or_background", "real_wins"),
    ]


def test_the_papers_counts_hold_on_a_whole_release(paper):
    cases = whole_release()
    assert [len(cases_of(paper, step, cases)) for step in paper.rounds] == [
        222,
        2199,
        2199,
        3999,
        3987,
    ]
    labelled = [len(cases_to_label(paper, step.name, cases)) for step in paper.rounds]
    # the teacher for the student and mixed, the student for mixed, mixed for extended
    assert labelled == [2199, 2199, 3999, 0, 0]


def test_the_paper_trains_as_stock_nnunet(paper):
    training = paper.training
    assert (training.epochs, training.iterations, training.batch) == (1000, 250, 2)
    assert (training.optimizer, training.learning_rate, training.mirroring) == ("sgd", 0.01, True)
    assert (paper.spacing_mm, training.patch) == ((2.5, 0.8203, 0.8203), (56, 160, 192))


def test_the_papers_stages(paper):
    kinds = {step.name: [] for step in paper.rounds}
    for stage in expand(paper, scored=True):
        if stage.round:
            kinds[stage.round].append(stage.kind)
    network = ["fuse", "select", "train", "export"]
    label = ["label"] * 20
    assert kinds == {
        "teacher": [*network, *label, "score"],
        "student": [*network, *label, "score"],
        "mixed": [*network, *label, "score"],
        "extended": [*network, "score"],
        "final": [*network, "score"],
    }


@pytest.mark.parametrize("name", ["flare23_paper", "flare23", "phantom"])
def test_every_stage_comes_after_what_it_needs(name):
    done = set()
    for stage in expand(load_rounds(RECIPES / f"{name}.toml"), scored=True):
        assert done.issuperset(stage.needs), stage
        done.add(stage.key)


def test_without_a_truth_nothing_is_scored(phantom):
    assert "score" not in {stage.kind for stage in expand(phantom, scored=False)}


def test_a_stage_is_found_by_round_kind_and_part(phantom):
    assert find_stage(phantom, "teacher", "label", 1).key == "teacher/label/part001"
    assert find_stage(phantom, "", "data", None).needs == ()
    with pytest.raises(KitError, match="no stage teacher/label/part099; its rounds are teacher"):
        find_stage(phantom, "teacher", "label", 99)
    with pytest.raises(KitError, match="no stage second_student/label; "):
        find_stage(phantom, "second_student", "label", None)


def test_a_round_without_cases_is_refused(phantom):
    alone = tuple(case for case in whole_release() if case.case == "FLARE23_2201")
    with pytest.raises(KitError, match="'teacher': no case of its list 'organ_complete' in this"):
        cases_of(phantom, phantom.step("teacher"), alone)


def labelled_case(number, *annotated):
    return Case(
        f"FLARE23_{number:04d}", "", "x" if annotated else None, annotated, annotated, "partial"
    )


def test_every_so_many_th_case_of_each_annotation_is_held_out(phantom):
    recipe = replace(phantom, held_out=2)
    livers = [labelled_case(number, 1) for number in (1, 2, 5, 6, 7)]
    spleens = [labelled_case(number, 3) for number in (3, 4)]
    cases = sorted([*livers, *spleens, labelled_case(8)], key=lambda case: case.case)
    # the second and fourth of five livers, the second of two spleens; never what nobody labelled
    assert [c.case[-1] for c in held_out(recipe, cases)] == ["2", "4", "6"]
    assert held_out(phantom, cases) == ()


def test_what_is_held_out_is_trained_on_in_no_round(phantom):
    recipe = replace(phantom, held_out=3)
    cases = tuple(replace(case, annotated=(1,) if case.label else ()) for case in whole_release())
    away = {case.case for case in held_out(recipe, cases)}
    assert len(away) == 2199 // 3
    for step in recipe.rounds:
        assert away.isdisjoint(case.case for case in cases_of(recipe, step, cases))
    assert len(cases_of(recipe, recipe.step("student"), cases)) == 3999 - 733


def test_a_weighted_round_reads_what_its_sources_say_of_the_held_out_cases(phantom):
    first, second, third = phantom.rounds
    weighted = replace(third, sources=("teacher", "student"), combine="weighted")
    recipe = replace(phantom, held_out=3, rounds=(first, second, weighted))
    stages = {stage.key: stage for stage in expand(recipe, scored=False)}
    assert {"teacher/judge", "student/judge"} <= set(stages["second_student/fuse"].needs)
    assert "teacher/judge" not in stages["student/fuse"].needs


def test_a_round_more_leaves_the_earlier_ones_as_they_are(phantom):
    shorter = replace(phantom, rounds=phantom.rounds[:2])
    longer = {stage.key: settings_of(phantom, stage, "cpu") for stage in expand(phantom, scored=1)}
    for stage in expand(shorter, scored=True):
        assert settings_of(shorter, stage, "cpu") == longer[stage.key]


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ({"seed": 7}, {"train"}),
        ({"spacing_mm": (4.0, 4.0, 4.0)}, {"train"}),
        ({"shards": 3}, {"label"}),
        ({"precision": "bf16"}, {"label", "score"}),
        ({"sha256": "of a comment"}, set()),
    ],
)
def test_what_a_change_of_the_recipe_makes_stale(phantom, change, stale):
    changed = replace(phantom, **change)
    found = {
        stage.kind
        for stage in expand(phantom, scored=True)
        if settings_of(phantom, stage, "cpu") != settings_of(changed, stage, "cpu")
    }
    assert found == stale


def test_recipes_without_phantoms_have_none():
    assert phantoms_of(RECIPES / "flare23.toml") is None


def test_phantoms_that_are_no_table_are_refused(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("phantoms = 3")
    with pytest.raises(KitError, match=r"phantoms is 3; write a \[phantoms\] table"):
        phantoms_of(path)
