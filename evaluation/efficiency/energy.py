"""Joules of the processors and of a GPU, where the system lets them be read.

Processors: the counters of Linux's powercap framework (RAPL), of packages and their memory. They
are of the whole machine, whatever runs on it, and since Linux 5.10 only root may read them. GPU:
NVML's counter of the whole card, from Volta on.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.efficiency.nvml import GpuMemory

POWERCAP = Path("/sys/class/powercap")
_MICRO, _MILLI = 1e-6, 1e-3
NOT_READABLE = "not readable here"


@dataclass
class _Zone:
    """One counter of micro joules that starts again from 0 after `range_uj`."""

    path: Path
    range_uj: int
    last_uj: int
    used_uj: int = 0

    def tick(self) -> None:
        now_uj = _number(self.path / "energy_uj")
        passed_uj = now_uj - self.last_uj
        self.used_uj += passed_uj if passed_uj >= 0 else passed_uj + self.range_uj
        self.last_uj = now_uj


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _counts(zone: Path) -> bool:
    """Tell whether a zone is a package or its memory: not a part of one, nor the whole board."""
    name = (zone / "name").read_text(encoding="ascii").strip()
    return name.startswith("package") or name == "dram"


@dataclass
class EnergyMeter:
    """What has been used since it was made; `tick` before a counter can start again twice."""

    gpu: GpuMemory | None = None
    powercap: Path | None = None
    """Folder of the counters; None: the system's."""
    unread: dict[str, str] = field(default_factory=dict)
    """Why there is no figure, by "cpu" and "gpu"."""

    def __post_init__(self) -> None:
        self._folder = self.powercap or POWERCAP
        self._lock = threading.Lock()
        self._zones: list[_Zone] = []
        self._first_mj: int | None = None
        try:
            self._zones = self._find_zones()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            self.unread["cpu"] = f"{NOT_READABLE}: {self._folder}: {why}"
        if not self._zones and "cpu" not in self.unread:
            self.unread["cpu"] = f"{NOT_READABLE}: {self._folder} has no package"
        if self.gpu is None:
            self.unread["gpu"] = f"{NOT_READABLE}: no GPU"
            return
        self._first_mj = self.gpu.energy_mj()
        if self._first_mj is None:
            self.unread["gpu"] = f"{NOT_READABLE}: {self.gpu.name} does not tell"

    def _find_zones(self) -> list[_Zone]:
        if not self._folder.is_dir():
            raise FileNotFoundError(2, "there is no such folder")
        folders = [zone for zone in sorted(self._folder.glob("intel-rapl:*")) if _counts(zone)]
        return [
            _Zone(zone, _number(zone / "max_energy_range_uj"), _number(zone / "energy_uj"))
            for zone in folders
        ]

    def tick(self) -> None:
        """Read the processors' counters."""
        with self._lock:
            try:
                for zone in self._zones:
                    zone.tick()
            except (OSError, ValueError) as error:
                self._zones = []
                self.unread["cpu"] = f"{NOT_READABLE} any more: {error}"

    def joules(self) -> dict[str, float]:
        """Return the joules by "cpu" and "gpu", without what cannot be read."""
        self.tick()
        found = {}
        if self._zones:
            found["cpu"] = _MICRO * sum(zone.used_uj for zone in self._zones)
        if self.gpu is not None and self._first_mj is not None:
            now_mj = self.gpu.energy_mj()
            if now_mj is not None:
                found["gpu"] = _MILLI * (now_mj - self._first_mj)
        return found
