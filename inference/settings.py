"""What a run changes of how the manifest says that a network is used."""

from dataclasses import dataclass

from inference.engines import Precision


@dataclass(frozen=True)
class Settings:
    """Settings of a run; None means as in the manifest."""

    engine: str = "auto"
    threads: int = 0
    device: int = 0
    """Number of the GPU, for an engine that runs on one."""
    precision: Precision = "auto"
    step: float | None = None
    blending: str | None = None
    tta: str | None = None
    crop: str | None = None
    clean: bool = True
    strict: bool = False
    """Refuse a CT about which there is a warning."""
    time_limit_s: float | None = None
    memory_limit_mib: float | None = None
    organs: tuple[str, ...] = ()
    """The labels that are kept, by name; all if there is none."""


AS_THE_MANIFEST = Settings()
