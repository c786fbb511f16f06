"""Joules from a made-up powercap folder, and all cases in one process."""

import threading

import pytest

from evaluation.efficiency import energy
from evaluation.efficiency.energy import EnergyMeter
from evaluation.efficiency.results import (
    ChallengeLimits,
    EfficiencyRun,
    Load,
    case_efficiency,
    limits_of,
    timeout_of,
)
from evaluation.profiles.profile import load_profile
from tests.evaluation.test_efficiency import COPY, folders, report, shell  # noqa: F401

RANGE_UJ = 1_000_000


def zone(powercap, place, name, energy_uj):
    """Make a zone as Linux's powercap framework shows it."""
    folder = powercap / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder


@pytest.fixture
def powercap(tmp_path):
    """Two packages; the first one's cores and memory; the whole board."""
    folder = tmp_path / "powercap"
    zone(folder, "intel-rapl:0", "package-0", 100_000)
    zone(folder, "intel-rapl:0:0", "core", 50_000)
    zone(folder, "intel-rapl:0:1", "dram", 0)
    zone(folder, "intel-rapl:1", "package-1", 900_000)
    zone(folder, "intel-rapl:2", "psys", 0)
    (folder / "intel-rapl").mkdir()
    return folder


class Card:
    """A card that tells of its energy, or not."""

    name = "a card"

    def __init__(self, *mj):
        self.mj = list(mj)

    def energy_mj(self):
        return self.mj.pop(0)


class TestMeter:
    def test_packages_and_their_memory_are_added_and_nothing_twice(self, powercap):
        meter = EnergyMeter(None, powercap)
        zone(powercap, "intel-rapl:0", "package-0", 300_000)  # 0.2 J
        zone(powercap, "intel-rapl:0:0", "core", 250_000)  # among them
        zone(powercap, "intel-rapl:0:1", "dram", 50_000)  # 0.05 J
        zone(powercap, "intel-rapl:2", "psys", 700_000)  # all of it and more
        assert meter.joules() == {"cpu": pytest.approx(0.25)}
        assert meter.unread == {"gpu": "not readable here: no GPU"}

    def test_a_counter_that_started_again(self, powercap):
        meter = EnergyMeter(None, powercap)
        for energy_uj in (950_000, 50_000, 20_000):  # 0.05, 0.1, then 0.97 J
            zone(powercap, "intel-rapl:1", "package-1", energy_uj)
            meter.tick()
        assert meter.joules()["cpu"] == pytest.approx(1.12)

    def test_a_card_counts_from_the_start(self, powercap):
        assert EnergyMeter(Card(5_000, 7_500), powercap).joules()["gpu"] == 2.5
        assert EnergyMeter(Card(None), powercap).unread["gpu"] == (
            "not readable here: a card does not tell"
        )

    def test_without_counters_it_says_why(self, powercap, tmp_path):
        meter = EnergyMeter(None, tmp_path / "none")
        assert meter.joules() == {}
        assert meter.unread["cpu"] == (
            f"not readable here: {tmp_path}/none: there is no such folder"
        )
        (tmp_path / "empty").mkdir()
        assert EnergyMeter(None, tmp_path / "empty").unread["cpu"].endswith("has no package")
        (powercap / "intel-rapl:0" / "energy_uj").write_text("many")
        assert "invalid literal" in EnergyMeter(None, powercap).unread["cpu"]

    def test_a_counter_that_goes_is_no_figure(self, powercap):
        meter = EnergyMeter(None, powercap)
        (powercap / "intel-rapl:1" / "energy_uj").unlink()
        assert meter.joules() == {}
        assert meter.unread["cpu"].startswith("not readable here any more")


def test_joules_of_a_run_are_those_between_its_start_and_its_end(folders, powercap, monkeypatch):  # noqa: F811
    monkeypatch.setattr(energy, "POWERCAP", powercap)
    counter, stop = powercap / "intel-rapl:0" / "energy_uj", threading.Event()

    def burn():  # a counter that runs: 10 mJ every 10 ms, so 1 W
        energy_uj = 100_000
        while not stop.wait(0.01):
            energy_uj = (energy_uj + 10_000) % RANGE_UJ
            fresh = counter.with_name("next")
            fresh.write_text(str(energy_uj))
            fresh.replace(counter)

    thread = threading.Thread(target=burn)
    thread.start()
    try:
        done = shell(f"sleep 0.5; {COPY}")
    finally:
        stop.set()
        thread.join()
    assert done.exit_code == 0, done.output
    for case in report()["cases"]:
        (run,) = case["runs"]
        joules, seconds = run["joules"]["cpu"], run["seconds"]
        assert 0.1 * seconds < joules <= 1.05 * seconds + 0.02  # a busy machine burns more slowly
        assert case["figures"]["cpu_joules"]["median"] == joules
    output = " ".join(done.output.split())
    assert "Energy, processors of the whole machine: " in output
    assert "J a case (median)" in output
    assert "Energy, GPU: not readable here: no GPU" in output


def test_without_counters_the_figures_are_left_out(folders, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "none")
    done = shell(COPY)
    assert "processors of the whole machine: not readable here: " in " ".join(done.output.split())
    table = report()
    assert "cpu_joules" not in table["cases"][0]["figures"]
    assert table["circumstances"]["no_cpu_joules"].endswith("there is no such folder")
    assert table["together"] is None


ALL = """sleep 0.4
for case in a b; do
    sleep 0.2
    test -e inputs/${case}_0000.nii.gz && cp inputs/${case}_0000.nii.gz outputs/$case.nii.gz
done
sleep 0.1"""


class TestTogether:
    def test_the_first_case_has_the_start_and_later_ones_do_not(self, folders):  # noqa: F811
        done = shell(ALL, "--warm")
        assert done.exit_code == 0, done.output
        run = report()["together"]
        assert list(run["map_seconds"]) == ["a", "b"]
        assert 0.55 < run["map_seconds"]["a"] < 2
        assert 0.15 < run["map_seconds"]["b"] < 1
        assert run["seconds"] > sum(run["map_seconds"].values())
        assert (run["error"], run["other_maps"]) == (None, [])
        output = " ".join(done.output.split())
        assert "All cases in one process: " in output
        assert "later ones" in output and "other maps" not in output

    def test_a_map_that_is_another_than_alone_is_named(self, folders):  # noqa: F811
        first_twice = "for c in a b; do cp inputs/a_0000.nii.gz outputs/$c.nii.gz; done"
        script = f"if test $(ls inputs | wc -l) = 1; then {COPY}; else {first_twice}; fi"
        done = shell(script, "--warm")
        assert report()["together"]["other_maps"] == ["b"]
        assert "other maps than alone: b" in " ".join(done.output.split())

    def test_a_case_without_a_map_fails(self, folders):  # noqa: F811
        one = "f=$(ls inputs | head -1); cp inputs/$f outputs/$(echo $f | cut -c1).nii.gz"
        done = shell(one, "--warm")
        assert done.exit_code == 1
        assert "all cases in one process: no label map of b" in " ".join(done.output.split())


class TestLimits:
    def test_the_profile_says_them_and_the_options_come_first(self):
        assert limits_of(None, None, None) == ChallengeLimits(15.0, 4096.0, None)
        old = load_profile("flare22")
        assert limits_of(old, None, None) == ChallengeLimits(None, 2048.0, 28 * 1024)
        assert limits_of(old, 20.0, 1.0) == ChallengeLimits(20.0, 1.0, 28 * 1024)
        assert (timeout_of(None, None), timeout_of(old, None)) == (3600.0, 3600.0)
        new = load_profile("flare26-lesions")
        assert (timeout_of(new, None), timeout_of(new, 5.0)) == (60.0, 5.0)

    @pytest.mark.parametrize(
        ("limits", "mib", "verdict"),
        [
            (ChallengeLimits(None, None), None, "no limit is known"),
            (ChallengeLimits(None, 2048.0), 10.0, "within limits; no limit of time is known"),
            (ChallengeLimits(15.0, None), 10.0, "within limits; none of GPU memory is known"),
            (ChallengeLimits(None, 2048.0), 3048.0, "1000 MiB over 2048 MiB of GPU memory"),
            (ChallengeLimits(None, None, 512.0), None, "88 MiB over 512 MiB of RAM"),
        ],
    )
    def test_nothing_is_judged_by_a_limit_that_is_not_known(self, limits, mib, verdict):
        loads = {"own_ram_mib": Load(600.0, 1.0, 1.0)}
        if mib is not None:
            loads["gpu_mib"] = Load(mib, mib, mib)
        run = EfficiencyRun(1, 9.0, 0, loads=loads)
        case = case_efficiency("a", "a_0000.nii.gz", (run,), limits)
        assert case.verdict == verdict
        assert case.figures["over_seconds"].median == (9.0 if limits.seconds is None else 0)

    def test_the_command_names_what_is_not_confirmed(self, folders):  # noqa: F811
        done = shell(COPY, "--profile", "flare22", "--time-limit", 20)
        assert done.exit_code == 0, done.output
        table = report()
        assert table["profile"] == "flare22"
        assert table["limits"] == {"seconds": 20.0, "gpu_mib": 2048.0, "ram_mib": 28672.0}
        assert "Not confirmed: whether time has a tolerance" in " ".join(done.output.split())
