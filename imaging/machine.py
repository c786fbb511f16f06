"""The machine's processor, and the memory of this process."""

import os
import platform
import resource
from pathlib import Path


def peak_memory_mib() -> float:
    """Return the largest resident memory that this process has had, in MiB.

    Read from Linux: `getrusage` includes the memory of the parent that started this process.
    """
    with Path("/proc/self/status").open(encoding="utf-8") as rows:
        held = next((row for row in rows if row.startswith("VmHWM:")), None)
    if held is None:  # a sandbox without this figure
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return int(held.split()[1]) / 1024.0


def resident_mib() -> float:
    """Return the memory that this process has now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def cpu_name() -> str:
    """Return the name of the processor."""
    return _cpu_entry("model name") or platform.processor()


def cpu_flags() -> set[str]:
    """Return the names of the processor's instruction sets, as Linux has them: "avx2", "amx_bf16".

    Nothing where /proc/cpuinfo does not say it.
    """
    return set(_cpu_entry("flags").split())


def _cpu_entry(name: str) -> str:
    """Return what /proc/cpuinfo says of the first core; "" where it does not."""
    try:
        rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = (row.partition(":")[2].strip() for row in rows if row.startswith(name))
    return next(found, "")
