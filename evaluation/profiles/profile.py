"""One challenge's rules, read from its TOML file: labels, tolerances, limits, measures."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from imaging.errors import KitError
from imaging.organs import ORGANS, TUMOUR
from imaging.records import Positive, PositiveInt, Share, Text, read_table, to_record

_FOLDER = Path(__file__).parent
Measure = Literal[
    "dsc",
    "nsd",
    "seconds",
    "gpu_mib.peak",
    "gpu_mib.auc_official",
    "cpu_percent.auc_official",
]
"""What a challenge ranks, in the words of scores.json and efficiency.json."""


@dataclass(frozen=True)
class Limits:
    """What a challenge tolerates and allows; None where that could not be confirmed."""

    seconds: Positive | None = None
    """Only what is above it counts."""
    gpu_mib: Positive | None = None
    """The same."""
    ram_gib: Positive | None = None
    """A container has no more."""
    timeout_s: Positive | None = None
    """A case that takes longer has failed."""


@dataclass(frozen=True)
class Profile:
    """The rules of one challenge, or of one of its tasks."""

    name: str
    title: Text
    labels: dict[str, PositiveInt]
    """Number in the files by name, in the official order."""
    columns: dict[str, Text]
    """Column prefix of scores.csv by name."""
    low_dsc: Share
    """Below this DSC the NSD counts 0; 0: never."""
    measures: tuple[Measure, ...]
    """What is ranked."""
    sources: tuple[Text, ...]
    """Where each rule was read."""
    left_out: tuple[Text, ...]
    """What could not be confirmed, so that no rule is made of it."""
    tolerances_mm: dict[str, Positive] = field(default_factory=dict)
    """How far a surface may be off and still count as right; without it there is no NSD."""
    axially_cropped: tuple[Text, ...] = ()
    """Labels that are scored on the slices alone that the truth labels."""
    digits: PositiveInt | None = None
    """Of every value and mean; None: not rounded."""
    zero_for_other_labels: bool = False
    """A prediction that holds a number above the labels counts 0."""
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        """Refuse rules for labels that there are not."""
        for what in ("columns", "tolerances_mm", "axially_cropped"):
            if odd := sorted(set(getattr(self, what)) - self.labels.keys()):
                raise KitError(f"{what}: no such label: {', '.join(odd)}")
        if lacking := sorted(self.labels.keys() - self.columns.keys()):
            raise KitError(f"columns: nothing for {', '.join(lacking)}")

    @property
    def organs(self) -> tuple[str, ...]:
        """Names of all labels but the tumour's."""
        return tuple(name for name in self.labels if name != TUMOUR)

    @property
    def most(self) -> int:
        """The largest label."""
        return max(self.labels.values())

    @property
    def numbered_as_flare23(self) -> bool:
        """Tell whether its labels are FLARE23's, or some of them."""
        return self.labels.items() <= ORGANS.items()

    @property
    def challenge(self) -> str:
        """Name of the challenge without that of the task: "FLARE24"."""
        return self.name.partition("-")[0].upper()


def profile_names() -> tuple[str, ...]:
    """Return the names of all profiles, the oldest first."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def load_profile(name: str) -> Profile:
    """Read a profile.

    Raises:
        KitError: There is none of that name, or its file is no profile.
    """
    if name not in (names := profile_names()):
        tasks = [other for other in names if other.startswith(f"{name}-")]
        advice = "give one of its tasks: " if tasks else "choose from "
        raise KitError(f"no profile {name!r}; {advice}{', '.join(tasks or names)}")
    return read_profile(_FOLDER / f"{name}.toml")


def read_profile(path: Path) -> Profile:
    """Read a profile's file; the profile is called like the file.

    Raises:
        KitError: It cannot be read, or is no profile.
    """
    table = read_table(path, "profile")[0]
    return to_record(table, Profile, f"profile {path}", known={"name": path.stem})


FLARE23 = load_profile("flare23")
