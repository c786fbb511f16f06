"""The machine's processor, and the memory of this process."""

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


def cpu_name() -> str:
    """Return the name of the processor."""
    try:
        rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (row.partition(":")[2].strip() for row in rows if row.startswith("model name"))
    return next(names, None) or platform.processor()  # which starts a process to find out
