"""What a scoring found: one value for all cases, which saves and reads itself as scores.json."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from evaluation.profiles.profile import FLARE23, Profile, load_profile
from evaluation.result_files import read_results, write_results
from evaluation.scoring.intervals import Difference
from imaging.organs import TUMOUR

NOT_ANNOTATED = "not annotated"
NO_PREDICTION = "no usable prediction"
"""Note of a label that nobody looked for in a case's truth: absent is another thing."""
METRICS = ("dsc", "nsd", "hd95_mm", "volume_error_ml")
"""Metrics of one label in one case that have a mean."""
ORGANS_MEAN = "organs"
"""Stands beside the names of labels for the mean over all of them but the tumour."""
FIGURES = tuple((of, metric) for of in (ORGANS_MEAN, TUMOUR) for metric in ("dsc", "nsd"))
"""The figures of a case by which scorings are compared: what they are of, and the metric."""


def score_name(of: str, metric: str) -> str:
    """Return what a figure is called in tables: "organ DSC"."""
    return f"{'organ' if of == ORGANS_MEAN else of} {metric.upper()}"


@dataclass(frozen=True)
class LabelScore:
    """One label of one case; None where a metric is not defined or was not requested."""

    dsc: float | None = None
    nsd: float | None = None
    hd95_mm: float | None = None
    """95th percentile of the surface distances; only with the fixed rules, as all below."""
    truth_ml: float | None = None
    pred_ml: float | None = None
    note: str | None = None
    """Why a value is missing, or is one by a rule and not by overlap."""

    @property
    def volume_error_ml(self) -> float | None:
        """Predicted minus true volume."""
        if self.truth_ml is None or self.pred_ml is None:
            return None
        return self.pred_ml - self.truth_ml


@dataclass(frozen=True)
class Lesion:
    """One connected component of the tumour label."""

    ml: float
    found: bool
    """A true lesion: a prediction overlaps it enough. A predicted one: it overlaps a true one."""
    overlap: float
    """Largest share of it that the other map covers."""
    matched: bool = False
    """One to one: it and a lesion of the other map are each other's."""
    spare: bool = False
    """One to one: it overlaps a lesion of the other map that another one is matched with."""


@dataclass(frozen=True)
class FalseTumour:
    """What is predicted as tumour in a scan without one."""

    pieces: int
    ml: float


@dataclass(frozen=True)
class HealthyScans:
    """The scans without a tumour, all together."""

    scans: int
    with_tumour: int
    """Those in which one is predicted."""
    pieces: int
    ml: float
    """Predicted in all of them."""
    most_ml: float
    """In one of them."""


@dataclass(frozen=True)
class CaseScores:
    """One case; `error` says why it has no scores."""

    case: str
    labels: dict[str, LabelScore] = field(default_factory=dict)
    """By organ. Empty where there is an error; all zeros where a missing case counts as zero."""
    error: str | None = None
    warning: str | None = None
    """What is wrong with the files although the rules score them; also an exit code of 1."""
    truth_sha256: str | None = None
    pred_sha256: str | None = None
    true_lesions: tuple[Lesion, ...] = ()
    pred_lesions: tuple[Lesion, ...] = ()
    truth_labels: tuple[int, ...] = ()
    """The profile's labels that occur in the truth."""
    false_tumour: FalseTumour | None = None
    """None where there is a tumour, or nobody looked for one."""

    def value(self, of: str, metric: str) -> float | None:
        """Return a metric of a label, or the mean over the organs; None where it has no value."""
        if of != ORGANS_MEAN:
            return getattr(self.labels.get(of), metric, None)
        of_organs = (getattr(s, metric) for organ, s in self.labels.items() if organ != TUMOUR)
        values = [value for value in of_organs if value is not None]
        return math.fsum(values) / len(values) if values else None

    @property
    def unannotated(self) -> tuple[str, ...]:
        """Organs that were not annotated in the truth: their scores are blank."""
        return tuple(organ for organ, score in self.labels.items() if score.note == NOT_ANNOTATED)

    @property
    def not_in_mean(self) -> frozenset[str]:
        """Of these, what the mean over the organs lacks: all but the tumour, which is in none."""
        return frozenset(self.unannotated) - {TUMOUR}


@dataclass(frozen=True)
class Mean:
    """Mean of a metric with how sure it is."""

    value: float | None
    count: int
    """Cases that have the metric."""
    low: float | None = None
    """Lower end of the bootstrap 95 % interval; None with the official rules, or with few cases."""
    high: float | None = None


@dataclass(frozen=True)
class Detection:
    """Counts of lesions of one size over all cases."""

    size: str
    true: int
    found: int
    predicted: int
    confirmed: int
    """Predicted lesions that lie on a true one."""
    matched: int = 0
    """True lesions with a predicted one of their own: each predicted one counts for one at most."""
    false: int = 0
    """Predicted lesions that overlap no true one enough to be matched with it."""

    @property
    def sensitivity(self) -> float | None:
        """Share of the true lesions that were found."""
        return self.found / self.true if self.true else None

    @property
    def precision(self) -> float | None:
        """Share of the predicted lesions that are real."""
        return self.confirmed / self.predicted if self.predicted else None


@dataclass(frozen=True)
class Stratum:
    """One figure of the cases that share a property: the scanner's vendor, the phase."""

    column: str
    """The property."""
    value: str
    metric: str
    of: str
    """"organs" or "tumour"."""
    mean: Mean
    """Over the cases, of each case's mean over its organs; with its bootstrap 95 % interval."""
    reference: bool
    """The stratum that the others of the column are compared with."""
    difference: Difference | None = None
    """Less the mean of the reference; None of the reference itself, or where there is no case."""


@dataclass(frozen=True)
class Looks:
    """What a log says of earlier scorings of the same cases."""

    log: str
    """Its path."""
    before: int
    """Earlier scorings of any of these cases."""
    predictions: int
    """Different sets of predictions among them; the same ones scored again show nothing new."""
    cases: int
    """Cases of this scoring that were scored before."""
    first: str | None = None
    """Date of the first, UTC."""


@dataclass(frozen=True)
class Scores:
    """Everything that one run of `evaluation score` found."""

    team: str
    """Whose predictions: a name for tables."""
    split: str | None
    """Which cases, in the words of evaluation/reported; None where the user did not say."""
    rules: str
    """"official" or "fixed"."""
    low_dsc: float
    missing: str
    """"fail" or "zero": what a missing prediction counts."""
    cases: tuple[CaseScores, ...]
    means: dict[str, dict[str, Mean]] = field(default_factory=dict)
    """means[metric][organ]; besides organs the keys "organs" (macro over 13) and "tumour"."""
    detection: tuple[Detection, ...] = ()
    """Lesions found and made up, all and by size; only with the fixed rules, as the next."""
    strata: dict[str, dict[str, Mean]] = field(default_factory=dict)
    """strata[size][metric] of the tumour label, by the size of a case's largest true lesion."""
    annotated: str = "all"
    """Where it is known from which labels were annotated: see `evaluation.scoring.annotated`."""
    by_stratum: tuple[Stratum, ...] = ()
    """By source, phase, vendor …; only with --strata."""
    looks: Looks | None = None
    """How often the cases were scored before; only with --log."""
    healthy: HealthyScans | None = None
    """Tumours predicted where there are none; None without such a scan."""
    profile: str = FLARE23.name
    """Whose labels, tolerances and rules."""

    @property
    def challenge(self) -> Profile:
        """The profile itself."""
        return load_profile(self.profile)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labels that were scored, in the official order."""
        return tuple(self.challenge.labels)

    @property
    def problems(self) -> tuple[CaseScores, ...]:
        """Cases that have an error or a warning."""
        return tuple(case for case in self.cases if case.error or case.warning)

    @property
    def scored(self) -> bool:
        """Whether any case has scores."""
        return any(case.labels for case in self.cases)

    @property
    def unannotated(self) -> tuple[str, ...]:
        """Organs that were annotated in none of the cases that have scores."""
        blank = [set(case.unannotated) for case in self.cases if case.labels]
        return tuple(name for name in self.names if blank and all(name in one for one in blank))

    @property
    def partly_annotated(self) -> bool:
        """Whether some organ was annotated in a part of the cases that have scores."""
        return len({case.not_in_mean for case in self.cases if case.labels}) > 1

    def write(self, path: Path) -> None:
        """Write scores.json at `path`, whole or not at all."""
        write_results("scores", asdict(self), path)


def load_scores(path: Path) -> Scores:
    """Read what `Scores.write` wrote.

    Raises:
        KitError: The file is no scores.json of this schema.
    """
    return read_results("scores", Scores, path, "score again with this kit")
