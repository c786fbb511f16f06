"""What a run changes of how the manifest says that a network is used."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from imaging.errors import KitError
from inference.engines import Precision
from inference.manifest import CROPS
from inference.sliding_window import Blending


@dataclass(frozen=True)
class Settings:
    """Settings of a run; None means as in the manifest.

    Raises:
        KitError: A value is none that a run can have.
    """

    engine: str = "auto"
    threads: int = 0
    device: int = 0
    """Number of the GPU, for an engine that runs on one."""
    precision: Precision = "auto"
    step: float | None = None
    blending: Blending | None = None
    tta: str | None = None
    crop: str | None = None
    clean: bool = True
    strict: bool = False
    """Refuse a CT about which there is a warning."""
    time_limit_s: float | None = None
    memory_limit_mib: float | None = None
    organs: tuple[str, ...] = ()
    """The labels that are kept, by name; all if there is none."""

    def __post_init__(self) -> None:
        for complaint in self._complaints():
            raise KitError(f"Settings: {complaint}")

    def _complaints(self) -> Iterator[str]:
        """Yield what no run can have; augmentation, engine and organs are checked at their use."""
        choices: dict[str, tuple[str | None, ...]] = {
            "precision": get_args(Precision),
            "blending": (*get_args(Blending), None),
            "crop": (*CROPS, None),
        }
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                yield f"{name} is {value!r}; choose from {', '.join(map(str, known))}"
        for name in ("threads", "device"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                yield f"{name} is {value!r}; give a whole number from 0 on"
        if self.step is not None and not 0 < self.step <= 1:
            yield f"step is {self.step!r}; give a share of the patch, more than 0 and at most 1"
        for name in ("time_limit_s", "memory_limit_mib"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                yield f"{name} is {value!r}; give more than 0, or None for no limit"


AS_THE_MANIFEST = Settings()
