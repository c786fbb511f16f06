"""The rules of the sister challenges: as their scripts have them, on worked-out maps."""

import csv
import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

from evaluation.cli import main
from evaluation.comparison.contest import load_contest
from evaluation.comparison.measured import load_measured
from evaluation.profiles.profile import FLARE23, load_profile, profile_names, read_profile
from evaluation.scoring import fixed
from evaluation.scoring.official import NO_TOLERANCE, ONE_SLICE, means, score_labels
from evaluation.scoring.scores import CaseScores
from imaging.errors import KitError
from imaging.geometry import Grid
from imaging.organs import ORGANS, TUMOUR
from tests.evaluation import plain_flare23
from tests.evaluation.maps import box, write_map
from tests.evaluation.results import write_scores
from tests.evaluation.test_official import pairs

MM = (1.0, 1.0, 1.0)
SHAPE = (10, 12, 14)
NAMES = (
    "flare21",
    "flare22",
    "flare23",
    "flare24-lesions",
    "flare24-organs",
    "flare25-lesions",
    "flare25-organs",
    "flare26-lesions",
)


def score(truth, pred, *options, folder):
    """Run `score` on one case; return its result and scores.json."""
    write_map(truth, folder / "truth" / "a.nii.gz")
    write_map(pred, folder / "pred" / "a.nii.gz")
    words = ["--truth", folder / "truth", "--pred", folder / "pred", "-o", folder / "out"]
    done = CliRunner().invoke(main, ["score", *map(str, words), *options])
    path = folder / "out" / "scores.json"
    return done, json.loads(path.read_text()) if path.exists() else None


class TestFiles:
    def test_every_file_is_a_profile_with_sources_and_gaps(self):
        assert profile_names() == NAMES
        for name in NAMES:
            profile = load_profile(name)
            assert profile.sources and profile.left_out, name
            assert sorted(profile.labels.values()) == list(range(1, profile.most + 1))

    def test_the_thirteen_organs_are_those_of_every_year(self):
        for name in ("flare22", "flare24-organs", "flare25-organs"):
            labels = load_profile(name).labels
            assert labels == {o: n for o, n in ORGANS.items() if o != TUMOUR}
        wanted = {o: mm for o, mm in FLARE23.tolerances_mm.items() if o != TUMOUR}
        for name in ("flare22", "flare24-organs"):
            assert load_profile(name).tolerances_mm == wanted
            assert load_profile(name).axially_cropped == FLARE23.axially_cropped

    def test_what_was_not_confirmed_is_no_rule(self):
        assert FLARE23.limits.seconds is None and FLARE23.limits.gpu_mib is None
        assert load_profile("flare25-lesions").tolerances_mm == {}

    def test_a_name_that_is_none(self):
        with pytest.raises(KitError, match="no profile 'flare20'; choose from flare21, flare22"):
            load_profile("flare20")
        with pytest.raises(KitError, match="one of its tasks: flare24-lesions, flare24-organs"):
            load_profile("flare24")

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("spleen = 1", "milz = 1", "tolerances_mm: no such label: milz"),
            ('spleen = "Spleen"', "", "columns: nothing for spleen"),
            ("low_dsc = 0", "least_dsc = 0", "missing key: low_dsc"),
        ],
    )
    def test_a_file_that_contradicts_itself(self, tmp_path, old, new, message):
        source = Path("evaluation/profiles/flare21.toml").read_text()
        assert old in source
        (tmp_path / "mine.toml").write_text(source.replace(old, new))
        with pytest.raises(KitError, match=message):
            read_profile(tmp_path / "mine.toml")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pair=pairs())
def test_flare24s_organs_are_scored_as_flare23s(pair):
    ours = score_labels(*pair, profile=load_profile("flare24-organs"))
    theirs = score_labels(*pair)
    assert ours == {organ: found for organ, found in theirs.items() if organ != TUMOUR}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pair=pairs())
def test_flare22_equals_the_transcription_without_a_least_dsc(pair):
    truth, pred, spacing_mm = pair
    ours = score_labels(*pair, profile=load_profile("flare22"))
    for organ, found in ours.items():  # the scripts would end at a tube on one slice
        if found.note == ONE_SLICE:
            truth, pred = (np.where(m == ORGANS[organ], 0, m) for m in (truth, pred))
    zooms = tuple(np.float32(mm) for mm in reversed(spacing_mm))
    maps = (m.T.astype(np.int8) for m in (truth, pred))
    with mock.patch.object(np, "Inf", np.inf, create=True):  # the package's, gone with NumPy 2
        theirs = plain_flare23.score_arrays(*maps, zooms, 0)
    for (_, found), expected in zip(ours.items(), theirs[:13], strict=True):
        if found.note != ONE_SLICE:
            assert (found.dsc, found.nsd) == expected


class TestRules:
    def test_flare21_rounds_nothing_and_has_1_mm(self):
        # two voxels against one of them: DSC 2 * 1 / 3; 2 mm thick, one is too far off
        truth, pred = box(SHAPE, (2, 4), (2, 3), (2, 3), 2), box(SHAPE, (2, 3), (2, 3), (2, 3), 2)
        thin, thick = (
            score_labels(truth, pred, (mm, 1.0, 1.0), profile=load_profile("flare21"))
            for mm in (1.0, 2.0)
        )
        assert list(thin) == ["liver", "kidneys", "spleen", "pancreas"]
        assert (thin["liver"].dsc, thin["liver"].nsd) == (1, 1)  # in neither
        assert thin["kidneys"].dsc == thick["kidneys"].dsc == 2 / 3
        assert thin["kidneys"].nsd == 1 > thick["kidneys"].nsd

    def test_a_low_dsc_keeps_its_nsd_in_flare22(self):
        truth, pred = box(SHAPE, (0, 9), (0, 9), (0, 9)), box(SHAPE, (0, 3), (0, 3), (0, 3))
        old = score_labels(truth, pred, MM, profile=load_profile("flare22"))["liver"]
        new = score_labels(truth, pred, MM)["liver"]
        assert old.dsc == new.dsc == round(2 * 27 / (729 + 27), 4)
        assert old.nsd > 0 == new.nsd

    def test_outside_of_the_scored_slices_flare22_has_an_nsd_of_0(self):
        truth, pred = box(SHAPE, (0, 4), (2, 6), (2, 6), 5), box(SHAPE, (6, 9), (2, 6), (2, 6), 5)
        found = score_labels(truth, pred, MM, profile=load_profile("flare22"))["aorta"]
        assert (found.dsc, found.nsd) == (0, 0)

    def test_another_label_makes_flare24s_lesions_0(self):
        truth = box(SHAPE, (2, 6), (2, 6), (2, 6))
        lesions = load_profile("flare24-lesions")
        assert score_labels(truth, truth, MM, profile=lesions)[TUMOUR].dsc == 1
        found = score_labels(truth, truth + box(SHAPE, (8, 9), (0, 1), (0, 1), 2), MM,
                             profile=lesions)[TUMOUR]  # fmt: skip
        assert (found.dsc, found.nsd) == (0, 0)
        assert found.note == "the prediction has labels above 1: counts 0"

    def test_without_a_tolerance_there_is_no_nsd(self):
        truth, pred = box(SHAPE, (2, 6), (2, 6), (2, 6)), box(SHAPE, (2, 6), (2, 6), (2, 4))
        lesions = load_profile("flare25-lesions")
        grid = Grid(SHAPE, MM)
        for found in (
            score_labels(truth, pred, MM, profile=lesions)[TUMOUR],
            fixed.score_labels(truth, pred, grid, lesions)[TUMOUR],
        ):
            assert found.dsc == pytest.approx(2 / 3)
            assert (found.nsd, found.note) == (None, NO_TOLERANCE)

    def test_means_of_a_challenge_without_organs_or_tumours(self):
        lesions, organs = load_profile("flare26-lesions"), load_profile("flare22")
        truth = box(SHAPE, (2, 6), (2, 6), (2, 6))
        for profile, mean in ((lesions, "organs"), (organs, TUMOUR)):
            case = CaseScores("a", score_labels(truth, truth, MM, profile=profile))
            for rules in (means, fixed.means):
                assert rules([case], profile)["dsc"][mean].value is None


class TestCommand:
    def test_lesions_are_tumours(self, tmp_path):
        truth, pred = box(SHAPE, (2, 6), (2, 6), (2, 6)), box(SHAPE, (2, 6), (2, 6), (2, 5))
        done, found = score(truth, pred, "--profile", "flare26-lesions", folder=tmp_path)
        assert done.exit_code == 0, done.output
        assert found["profile"] == "flare26-lesions"
        (case,) = found["cases"]
        assert case["labels"][TUMOUR]["dsc"] == 6 / 7
        with (tmp_path / "out" / "scores.csv").open(newline="") as stream:
            assert next(csv.reader(stream)) == ["Name", "Lesion_DSC", "Lesion_NSD"]
        output = " ".join(done.output.split())
        assert "FLARE26 task 1: lesions of the whole body. Not confirmed: the organisers" in output
        assert "mean of" not in output
        page = (tmp_path / "out" / "report.html").read_text()
        assert "FLARE26&#39;s published scorer" in page and "Not confirmed" in page

    def test_fixed_rules_and_pictures_of_another_numbering(self, tmp_path):
        truth, pred = (box(SHAPE, (2, 6), (2, 6), (2, n), 2) for n in (6, 4))
        done, found = score(truth, pred, "--profile", "flare21", "--rules", "fixed",
                            folder=tmp_path)  # fmt: skip
        assert done.exit_code == 0, done.output
        assert found["means"]["dsc"]["kidneys"]["value"] == pytest.approx(2 / 3)
        assert "worst: kidneys 0.667" in (tmp_path / "out" / "report.html").read_text()

    def test_labels_that_a_challenge_does_not_know_are_named(self, tmp_path):
        truth = box(SHAPE, (2, 6), (2, 6), (2, 6))
        pred = truth + box(SHAPE, (8, 9), (8, 9), (8, 9), 14)
        done, _ = score(truth, pred, "--profile", "flare22", "--no-report", folder=tmp_path)
        assert done.exit_code == 1
        assert "labels [14] that FLARE22 does not know" in " ".join(done.output.split())

    def test_annotated_labels_are_flare23s(self, tmp_path):
        truth = box(SHAPE, (2, 6), (2, 6), (2, 6))
        words = ("--profile", "flare21", "--no-report")
        done, _ = score(truth, truth, *words, "--annotated", "1,2", folder=tmp_path)
        assert done.exit_code == 1
        assert "flare21 does not number labels as FLARE23 does; give --annotated all" in done.output
        done, found = score(truth, truth, *words, "--annotated", "all", folder=tmp_path)
        assert done.exit_code == 0
        assert found["means"]["dsc"]["spleen"]["count"] == 1

    def test_an_unknown_profile_is_wrong_usage(self, tmp_path):
        done = CliRunner().invoke(main, ["score", "--profile", "flare24"])
        assert done.exit_code == 2
        assert "flare24-lesions" in done.output

    def test_teams_of_two_profiles_are_not_ranked(self, tmp_path):
        truth = box(SHAPE, (2, 6), (2, 6), (2, 6))
        profile = load_profile("flare22")
        case = CaseScores("a", score_labels(truth, truth, MM, profile=profile))
        folders = [
            write_scores(tmp_path / name, case, profile=name)
            for name in ("flare22", "flare24-organs")
        ]
        with pytest.raises(KitError, match=r"differ in --profile \(flare22 flare22, flare24"):
            load_contest(folders)
        again = write_scores(tmp_path / "b", case, profile="flare22")
        assert list(load_contest([folders[0], again]).costs) == ["organ DSC", "organ NSD"]


def test_a_reported_figure_is_not_subtracted_from_scores_by_other_rules(tmp_path):
    truth = box(SHAPE, (2, 6), (2, 6), (2, 6))
    for split, flaw in (
        ("FLARE22 test", "1 case, the split has 200"),
        ("test", "scored by the rules of flare22, not of FLARE23"),
    ):
        case = CaseScores("a", score_labels(truth, truth, MM, profile=load_profile("flare22")))
        folder = write_scores(tmp_path / split, case, split=split, profile="flare22")
        assert load_measured(folder).figures["dsc_percent"]["organs"].flaw == flaw
