"""The official formulas, process trees, and the memory of a container's cgroup."""

import csv
import itertools
import subprocess
import sys
import time
from collections import namedtuple

import psutil
import pytest

from evaluation.efficiency.containers import cgroup_ram_mib, memory_cgroup
from evaluation.efficiency.process_tree import ProcessTree
from evaluation.efficiency.processes import wait
from evaluation.efficiency.sampling import (
    CpuTimes,
    MemorySample,
    MemorySampler,
    official_cpu_percent,
    official_ram_mib,
    write_samples,
)
from imaging.errors import KitError

FORKING = """
import os, time
block = bytearray(96 << 20)
for start in range(0, len(block), 4096):
    block[start] = 1
if os.fork() and os.fork():
    print("ready", flush=True)
time.sleep(60)
"""
LEAVING = """
import subprocess, sys, time
code = "import time; print(1, flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
time.sleep(60)
"""


@pytest.fixture
def started():
    """Start Python code as the leader of a session; the whole of it is killed at the end."""
    trees = []

    def start(code):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
        )
        trees.append((process, ProcessTree(process.pid)))
        process.stdout.readline()
        return trees[-1]

    yield start
    for process, tree in trees:
        tree.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    ("before", "now", "used"),
    [
        # 2 idle cores for 0.1 s: idle 0.2 of 0.2 + 0.1 -> 100 - 66.67: not idle by this formula
        (CpuTimes(5, 3, 7), CpuTimes(5, 3, 7.2), 100 - 100 * 0.2 / 0.3),
        # 12 cores, 1.2 s in all, 0.9 idle: 100 - 90 / 1.3
        (CpuTimes(0, 0, 0), CpuTimes(0.2, 0.1, 0.9), 100 - 90 / 1.3),
        (CpuTimes(1, 1, 1), CpuTimes(1.1, 1.1, 1), 100.0),
        # nothing has passed: 0 / 0.1
        (CpuTimes(1, 1, 1), CpuTimes(1, 1, 1), 100.0),
    ],
)
def test_cpu_as_the_official_script_has_it(before, now, used):
    assert official_cpu_percent(before, now) == pytest.approx(used, abs=1e-9)


def test_ram_leaves_out_what_the_system_can_give_back(monkeypatch):
    memory = namedtuple("memory", "total free cached buffers used")
    values = memory(1000 << 20, 300 << 20, 150 << 20, 50 << 20, 640 << 20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: values)
    assert official_ram_mib() == 500.0  # 1000 - 300 - 150 - 50, not psutil's own 640


def test_samples_have_their_true_times():
    def slow():
        time.sleep(0.05)
        return 7.0

    with MemorySampler(lambda: None, slow) as sampler:
        start_s = time.perf_counter()
        time.sleep(0.5)
        end_s = time.perf_counter()
    samples = sampler.between(start_s, end_s)
    periods = [b.seconds - a.seconds for a, b in itertools.pairwise(samples)]
    assert samples[0].seconds <= 0.0
    assert len(samples) >= 2
    assert min(periods) > 0.14  # 0.1 s of sleep and 0.05 s of looking
    assert all(sample.gpu_mib is None and sample.own_ram_mib == 7.0 for sample in samples)
    assert sampler.between(start_s, start_s) == samples[:1]


def test_a_probe_that_fails_is_not_silent():
    def lost():
        raise KitError("GPU 0 stopped answering")

    with pytest.raises(KitError, match="stopped answering"), MemorySampler(lost, lambda: None):
        pass


@pytest.mark.parametrize("kind", [PermissionError, psutil.AccessDenied, ValueError, MemoryError])
@pytest.mark.parametrize("looks", [0, 2])
def test_whatever_ends_the_sampling_is_reported(kind, looks):
    found = iter([1.0] * looks)

    def probe():
        for value in found:
            return value
        raise kind("getsid")

    with (
        pytest.raises(KitError, match=f"sampling ended with {kind.__name__}: .*getsid"),
        MemorySampler(lambda: 1.0, probe) as sampler,
    ):
        sampler._thread.join(60)  # nobody asks it to end
        assert len(sampler._samples) == looks


def test_an_error_of_the_command_is_not_hidden_by_one_of_the_sampling():
    def lost():
        raise ValueError("gone")

    with pytest.raises(KeyError), MemorySampler(lost, lambda: None):
        raise KeyError("the command's own")


def test_the_sidecar_has_a_row_a_sample_and_empty_cells(tmp_path):
    sample = MemorySample(0.25, None, 50.0, 40.0, 900.5, 12.25)
    write_samples({1: (sample, sample), 2: (sample,)}, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["run"] for row in rows] == ["1", "1", "2"]
    assert rows[0]["gpu_mib"] == ""
    assert float(rows[0]["own_ram_mib"]) == 12.25


def test_what_forked_processes_share_counts_once(started):
    _, tree = started(FORKING)
    assert len(tree.members()) == 3
    # 96 MiB in three processes; 288 if every one counted, and three interpreters' own pages
    assert 96 <= tree.ram_mib() < 2 * 96


def test_a_process_that_left_the_session_is_still_ours(started):
    leader, tree = started(LEAVING)
    (child,) = [process for process in tree.members() if process.pid != leader.pid]
    leader.kill()
    leader.wait()
    assert [process.pid for process in tree.members()] == [child.pid]
    tree.kill()
    assert tree.members() == []


def test_waiting_ends_with_the_process_or_the_time(started):
    process, tree = started("print(1, flush=True); import time; time.sleep(60)")
    assert not wait(process, 0.05)
    tree.kill()
    done = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    assert wait(done, 60)
    assert done.returncode == 3


CGROUPS = {
    "version 1": (
        "9:name=systemd:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n",
        "memory/docker/abc",
        {"memory.usage_in_bytes": 50 << 20, "memory.stat": "total_inactive_file 10485760\nrss 1"},
    ),
    "version 2": (
        "0::/system.slice/docker-abc.scope\n",
        "system.slice/docker-abc.scope",
        {"memory.current": 50 << 20, "memory.stat": "anon 1\ninactive_file 10485760"},
    ),
}


@pytest.mark.parametrize("version", CGROUPS)
def test_a_container_uses_what_its_cgroup_has_without_idle_file_cache(tmp_path, version):
    table, folder, files = CGROUPS[version]
    (tmp_path / "proc" / "42").mkdir(parents=True)
    (tmp_path / "proc" / "42" / "cgroup").write_text(table)
    cgroup = tmp_path / "cgroup" / folder
    cgroup.mkdir(parents=True)
    for name, content in files.items():
        (cgroup / name).write_text(str(content))
    assert memory_cgroup(42, tmp_path / "proc", tmp_path / "cgroup") == cgroup
    assert cgroup_ram_mib(cgroup) == 40.0  # 50 MiB less 10 MiB


def test_a_cgroup_that_is_not_there_has_no_memory(tmp_path):
    assert memory_cgroup(42, tmp_path, tmp_path) is None
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "cgroup").write_text("4:memory:/gone\n")
    assert memory_cgroup(42, tmp_path, tmp_path) is None
    assert cgroup_ram_mib(tmp_path) is None
