"""What the figures of an efficiency run depend on: the machine, versions, settings."""

import platform

import psutil

from evaluation.efficiency.energy import EnergyMeter
from evaluation.efficiency.protocol import Protocol, Subject
from evaluation.efficiency.sampling import INTERVAL_S, MIB
from imaging.machine import cpu_name


def circumstances(subject: Subject, settings: Protocol) -> dict[str, str | int | float | None]:
    """Return what the figures depend on."""
    gpu, unread = subject.gpu, EnergyMeter(subject.gpu).unread
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": psutil.cpu_count(),
        "ram_mib": round(psutil.virtual_memory().total / MIB),
        "gpu": None if gpu is None else gpu.name,
        "gpu_index": None if gpu is None else gpu.index,
        "driver": None if gpu is None else gpu.driver,
        "no_gpu": subject.no_gpu,
        "no_cpu_joules": unread.get("cpu"),
        "no_gpu_joules": unread.get("gpu"),
        "python": platform.python_version(),
        "psutil": psutil.__version__,
        "interval_s": INTERVAL_S,
        "timeout_s": settings.timeout_s,
        "repeat": settings.repeat,
    }
