"""Which labels were annotated in a truth: only these have scores, also where they are absent.

Every collection annotates its own organs. An organ that its annotators looked for and did not find
is absent, and a prediction of it is wrong. Of an organ that they did not look for nothing is known.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluation.profiles.profile import FLARE23, Profile
from evaluation.scoring.scores import (
    NO_PREDICTION,
    NOT_ANNOTATED,
    CaseScores,
    LabelScore,
    Scores,
)
from imaging.errors import KitError, joined
from imaging.organs import ORGANS, TUMOUR
from imaging.records import read_table

ALL = "all"
EACH = "each"
OCCURRING = "what occurs in a truth"
SHOWN = "what each truth shows"
_BLANK = LabelScore(note=NOT_ANNOTATED)


class UnknownLabelError(KitError):
    """A label that FLARE23 does not have."""


@dataclass(frozen=True)
class AnnotatedLabels:
    """The labels that were annotated: the same in every case, or case by case."""

    source: str
    """Where that is known from."""
    everywhere: frozenset[int] | None = None
    by_case: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Where it is not the same everywhere."""

    def of(self, case: str, shown: frozenset[int]) -> frozenset[int] | None:
        """Return the labels annotated in a case, whose truth has `shown`; None where unknown."""
        if self.source == SHOWN:
            return shown
        return self.by_case.get(case) if self.everywhere is None else self.everywhere


def read_annotated(words: str) -> AnnotatedLabels:
    """Read the value of `--annotated`: "all", "each", labels with commas between them, or a table.

    Labels are numbers from 1 to 14 or names. A table is a cases.json as `train data` writes it; of
    each row of its "cases" only "case" and "annotated", a list of labels, are read.

    Raises:
        UnknownLabelError: It is no label, nor a file.
        KitError: The file is no such table.
    """
    if words == ALL:
        return AnnotatedLabels(ALL, frozenset(ORGANS.values()))
    if words == EACH:
        return AnnotatedLabels(SHOWN)
    if words.endswith(".json") or Path(words).is_file():
        return AnnotatedLabels(words, by_case=_read_table(Path(words)))
    labels = frozenset(_label(word.strip()) for word in words.split(","))
    return AnnotatedLabels(", ".join(_names(labels)), labels)


def _read_table(path: Path) -> dict[str, frozenset[int]]:
    try:
        rows = read_table(path, "table")[0]["cases"]
        return {str(row["case"]): frozenset(map(_label, row["annotated"])) for row in rows}
    except UnknownLabelError as error:
        raise KitError(f"{path}: {error}") from error
    except (KitError, KeyError, TypeError) as error:
        raise KitError(
            f"{path}: not a readable table of what was annotated ({error}); "
            'give {"cases": [{"case": "a", "annotated": [1, 3]}, …]}'
        ) from error


def _label(word: Any) -> int:
    """Return the label that a number or a name says."""
    text = str(word).lower()
    label = int(text) if text.isdecimal() else ORGANS.get(text)
    if label is None or label not in ORGANS.values():
        known = ", ".join(ORGANS)
        raise UnknownLabelError(f"no label {word!r}; give numbers from 1 to 14, or of {known}")
    return label


def _names(labels: Iterable[int]) -> list[str]:
    return [organ for organ, label in ORGANS.items() if label in set(labels)]


def score_annotated(
    cases: Sequence[CaseScores], annotated: AnnotatedLabels | None, profile: Profile = FLARE23
) -> tuple[tuple[CaseScores, ...], str]:
    """Blank what was not annotated in each case; return where that is known from.

    Args:
        cases: With scores of all labels.
        annotated: What was annotated; None: every label that occurs in the truth of any case.
        profile: Whose labels these are.

    Raises:
        KitError: Nothing was annotated in any case, or `annotated` speaks of FLARE23's labels and
            the profile numbers them otherwise.
    """
    if annotated is None:
        occurring = frozenset(label for case in cases for label in case.truth_labels)
        annotated = AnnotatedLabels(OCCURRING, occurring)
    elif annotated.source not in (ALL, SHOWN) and not profile.numbered_as_flare23:
        raise KitError(
            f"--annotated {annotated.source}: {profile.name} does not number labels as FLARE23 "
            "does; give --annotated all, --annotated each, or none"
        )
    blanked = tuple(blank_unannotated(case, annotated, profile) for case in cases)
    scored = [case for case in blanked if case.labels]
    if scored and all(len(case.unannotated) == len(profile.labels) for case in scored):
        raise KitError(
            f"no label was annotated, by {annotated.source}: nothing can be scored; check "
            "--truth, or say what was annotated: --annotated all"
        )
    return blanked, annotated.source


def blank_unannotated(
    case: CaseScores, annotated: AnnotatedLabels, profile: Profile = FLARE23
) -> CaseScores:
    """Return a case whose unannotated labels have no scores, whatever was predicted.

    A table that contradicts the truth becomes the case's warning; one without it, its error.
    """
    if not case.labels:
        return case
    labels = annotated.of(case.case, frozenset(case.truth_labels))
    if labels is None:
        reason = f"{annotated.source} does not say what was annotated in it; add a row"
        return replace(case, labels={}, true_lesions=(), pred_lesions=(), error=reason)
    warning = case.warning
    if annotated.everywhere is None and (odd := _names(set(case.truth_labels) - labels)):
        problem = (
            f"the truth has {', '.join(odd)}, which {annotated.source} says nobody annotated: "
            "not scored"
        )
        warning = joined(warning, problem)
    scores = {o: s if profile.labels[o] in labels else _BLANK for o, s in case.labels.items()}
    if profile.labels.get(TUMOUR) not in labels:
        case = replace(case, true_lesions=(), pred_lesions=(), false_tumour=None)
    return replace(case, labels=scores, warning=warning)


def line_of(scores: Scores) -> str:
    """Return the line that says which labels were annotated and what is blank therefore."""
    unannotated, source = scores.unannotated, scores.annotated
    names = [organ for organ in scores.names if organ not in unannotated]
    named = ", ".join(names) if unannotated else "all labels"
    line = f"annotated: {named}" if source in (ALL, named) else f"annotated: {named} ({source})"
    return f"{line}; not annotated, so blank: {', '.join(unannotated)}" if unannotated else line


def doubt_of(scores: Scores) -> str | None:
    """Return the line on organs that count 0 although perhaps nobody annotated them there.

    Where it is a guess what was annotated, an organ that one truth has counts in all. The tumour is
    left out: most scans have none. None if there is no such organ.
    """
    if scores.annotated != OCCURRING:
        return None
    cases = [case for case in scores.cases if case.labels]
    absent: dict[int, list[str]] = defaultdict(list)
    for organ, label in scores.challenge.labels.items():
        zeros = [
            case
            for case in cases
            if label not in case.truth_labels
            and case.labels[organ].dsc == 0
            and case.labels[organ].note != NO_PREDICTION
        ]
        if zeros and organ != TUMOUR:
            absent[len(zeros)].append(organ)
    if not absent:
        return None
    found = (f"{', '.join(absent[n])} in {n} of {len(cases)} cases" for n in sorted(absent)[::-1])
    return (
        f"Counted 0, for the truth has none and it is predicted: {'; '.join(found)}. Where nobody "
        "annotated these organs that is wrong: give --annotated each, or --annotated cases.json."
    )
