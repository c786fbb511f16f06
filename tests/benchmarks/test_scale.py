"""No part of a run may grow faster than its number of cases; what measures that is tested too."""

import cProfile
import json
import pstats

import psutil
import pytest
from click.testing import CliRunner

from benchmarks.alternating import ROOT
from benchmarks.cli import main
from benchmarks.free_rounds import FREE_JOBS
from benchmarks.scale import NEAR, RECIPE, lay_release, shares
from benchmarks.scale_table import (
    Killed,
    Measured,
    StageCost,
    growth,
    save_sizes,
    show_sizes,
)
from evaluation.efficiency.sampling import MIB
from imaging.errors import KitError
from train.data.release import IMAGE_SUFFIX, release_files
from train.pseudo_labels.audit.page import audit_round
from train.rounds import known
from train.rounds.graph import cases_to_label, expand
from train.rounds.recipe import load_rounds
from train.rounds.run import Run
from train.rounds.stages import JOBS, do_stage
from train.synthesis.phantom_release import (
    HIDDEN,
    PhantomCase,
    Phantoms,
    from_shapes,
    write_release,
)

MOST = 2.0
"""How much faster than the number of cases a function's calls may grow: what is in the few cases
and in the many differs, and a square would grow `TIMES` as fast."""
FEW, TIMES = 16, 4
SLACK = 80
"""Calls of one function more that starting may cost: a pool, a library's first use."""
CT_MIB, LITTLE_MIB = 16, 30
"""Of each CT that is filled up; of all else that a stage reads, modules among it."""
_WAITING = ("threading.py", "queue.py", "multiprocessing", "concurrent", "selectors", "importlib")
"""Modules whose calls depend on time."""


@pytest.fixture
def free_stages(monkeypatch):
    """Networks cost nothing, and files that were just written are believed."""
    for kind, job in FREE_JOBS.items():
        monkeypatch.setitem(JOBS, kind, job)
    monkeypatch.setattr(known, "SETTLED_S", -60.0)


def cost(cpu_s):
    return StageCost(cpu_s, cpu_s, 100.0, 1.0, 1, 1)


def test_growth_is_told_of_all_and_of_one_case_more():
    found = [
        Measured(100, 1.0, {"fuse": cost(2.0)}, None),
        Measured(1000, 1.0, {"fuse": cost(11.0)}, None),  # 1 + n / 100
        Measured(4000, 1.0, {"fuse": cost(71.0)}, None),  # 60 for 3,000 more: twice as much each
    ]
    (kind, whole, each), *_ = growth(found)
    assert (kind, whole, each) == ("fuse", pytest.approx(71 / 44), pytest.approx(2.0))


@pytest.mark.parametrize(
    ("difference", "told"),
    [
        (None, "all 23 stages are equal, and the audit."),
        ("student/fuse: a is 1 and 2", "23 stages are equal, then not student/fuse: a is 1 and 2"),
    ],
)
def test_what_was_killed_and_whether_it_ended_alike_is_told(tmp_path, capsys, difference, told):
    killed = Killed(("data", "teacher/label/part003"), 23, difference)
    found = [Measured(count, 2048.0, {"fuse": cost(3.0)}, killed) for count in (100, 200)]
    show_sizes(found)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Killed in data; teacher/label/part003, and continued: {told}" in shown
    assert "100 cases, 2,048 MiB" in shown
    assert "fuse │ 0.50 │ nan" in shown  # twice the cases, the same seconds
    save_sizes(found, tmp_path / "scale.json")
    saved = json.loads((tmp_path / "scale.json").read_text())
    assert saved["growth"] == {"fuse": 0.5}
    assert saved["sizes"][1]["killed"]["stages"] == ["data", "teacher/label/part003"]


def test_cases_have_the_papers_shares_and_names():
    assert shares(4099) == {"complete": 222, "partial": 1977, "unlabelled": 1800, "validation": 100}
    # 222, 1,977, 1,800 and 100 of 4,099, a tenth each
    assert shares(410) == {"complete": 22, "partial": 198, "unlabelled": 180, "validation": 10}
    with pytest.raises(KitError, match="4100 cases; choose from 1 to 4099"):
        shares(4100)


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["--cases", "9", "--cases", "3"], 2, "give --cases in rising order"),
        (["--cases", "9"], 1, "is not empty; give a new folder"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, words, code, complaint):
    (tmp_path / "full").write_text("")
    options = ["--folder", str(tmp_path), "-o", str(tmp_path / "scale.json")]
    done = CliRunner().invoke(main, ["scale", *options, *words])
    assert (done.exit_code, complaint in done.stderr) == (code, True)


def calls(count, folder):
    """Run all stages on `count` cases; count the calls of every function."""
    text = RECIPE.read_text().replace("held_out = 5", "held_out = 2").replace("shards = 8", "")
    folder.mkdir()
    (folder / "scale.toml").write_text(text.replace("seed =", "shards = 2\nseed ="))
    phantoms = Phantoms(**shares(count), shape=(20, 20, 24), spacing_mm=(16.0, 16.0, 16.0))
    drawn = [from_shapes(phantoms)(PhantomCase("", "", (), tumour), 1) for tumour in (False, True)]
    write_release(phantoms, 1, lambda case, _: drawn[case.tumour], folder / "release")
    truth = folder / "release" / HIDDEN
    recipe = load_rounds(folder / "scale.toml")
    profile = cProfile.Profile()
    for stage in expand(recipe, scored=True):
        run = Run(recipe, folder / "run", folder / "release", truth, {NEAR: truth})
        profile.runcall(do_stage, run, stage)
        again = [path for path in run.known.read if path.is_relative_to(run.release)]
        if stage.kind == "data":
            assert len(again) == len([*run.release.glob("*Tr*/*"), *run.release.glob("*Val*/*")])
        else:
            # what lies in `hidden` is the external source and the truth: no file of the release
            assert {path.parent.name for path in again} <= {HIDDEN}, stage.key
    run = Run(recipe, folder / "run", folder / "release", truth, {NEAR: truth})
    profile.runcall(audit_round, run, "student", folder / "audit", 1, pictures=0)
    stats = pstats.Stats(profile).stats
    return {
        (file, name): count
        for (file, _, name), (count, *_) in stats.items()
        if not any(part in file for part in _WAITING)
    }


def test_no_function_is_called_more_often_than_the_cases_grow(tmp_path, free_stages):
    few = calls(FEW, tmp_path / "few")
    many = calls(FEW * TIMES, tmp_path / "many")
    kit = {place: n for place, n in many.items() if f"{ROOT}/train/" in place[0]}
    assert kit, "the profile saw nothing of the kit"
    most = {place: MOST * TIMES * few.get(place, 0) + SLACK for place in kit}
    assert {place: (few.get(place), n) for place, n in kit.items() if n > most[place]} == {}


def test_a_release_is_read_once_and_by_later_stages_only_for_their_work(tmp_path, free_stages):
    place = lay_release(FEW, tmp_path / "few", ct_mib=CT_MIB)
    recipe, truth = load_rounds(place.recipe), place.release / HIDDEN
    cts = [path for path in release_files(place.release) if path.name.endswith(IMAGE_SUFFIX)]
    assert {path.stat().st_size for path in cts} == {CT_MIB * MIB}
    assert sum(path.stat().st_blocks for path in set(cts)) * 512 < MIB * len(cts)
    whole = CT_MIB * len(cts)

    def read_mib(key, paranoid=False):
        (stage,) = (stage for stage in expand(recipe, scored=True) if stage.key == key)
        run = Run(recipe, place.run, place.release, truth, {NEAR: truth})
        run.known.paranoid = paranoid
        before = psutil.Process().io_counters().read_chars
        do_stage(run, stage)
        return (psutil.Process().io_counters().read_chars - before) / MIB

    assert whole <= read_mib("data") < whole + LITTLE_MIB
    for key in ("teacher/fuse", "teacher/select", "teacher/train", "teacher/export"):
        assert read_mib(key) < LITTLE_MIB, key
    labelled = len(expected_in_part(recipe, place))
    assert labelled
    found = read_mib("teacher/label/part000")
    assert labelled * CT_MIB <= found < labelled * CT_MIB + LITTLE_MIB
    assert read_mib("data") < LITTLE_MIB
    assert whole <= read_mib("data", paranoid=True) < whole + LITTLE_MIB


def expected_in_part(recipe, place):
    """The cases of the first part of the teacher's labelling."""
    run = Run(recipe, place.run, place.release)
    return cases_to_label(recipe, "teacher", run.cases)[:: recipe.shards]


@pytest.mark.long
@pytest.mark.slow
def test_the_command_measures_whole_runs_and_kills_some(tmp_path):
    words = ["--cases", "50", "--cases", "100", "--kills", "2", "--folder", str(tmp_path / "work")]
    done = CliRunner().invoke(main, ["scale", *words, "-o", str(tmp_path / "scale.json")])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "scale.json").read_text())
    assert [size["cases"] for size in found["sizes"]] == [50, 100]
    for size in found["sizes"]:
        assert size["killed"]["difference"] is None
        assert len(size["killed"]["stages"]) == 2
        stages = size["stages"]
        parts = [cost["parts"] for name, cost in stages.items() if name.endswith(("r)", "t)"))]
        assert size["killed"]["equal_stages"] == sum(parts) + 1  # and data
        assert stages["label (teacher)"]["parts"] == 8
        assert stages["run, nothing to do"]["files"] == 0
        assert stages["fuse (student)"]["files"] > size["cases"] // 2
    assert "audit" in found["growth"]
    assert "all 23 stages are equal, and the audit" in " ".join(done.stdout.split())
