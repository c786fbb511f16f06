"""A log of every time that cases were scored: whoever has looked at a test set is not blind.

Each line is a JSON object. A line is only ever added, at the end.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluation.scoring.scores import Looks, Scores
from imaging import __version__
from imaging.digest import sha256
from imaging.errors import KitError
from imaging.words import number_of


def log_scoring(scores: Scores, truth: Path, log: Path) -> Looks:
    """Add a line to `log`, and return what it said before of the same cases.

    A case is known by its truth's digest: another name of the same file is no new case.

    Raises:
        KitError: The log cannot be read or written, or a line in it is none of its own.
    """
    cases = {case.case: case.truth_sha256 for case in scores.cases if case.truth_sha256}
    predictions = _digest([case.pred_sha256 for case in scores.cases])
    earlier = [line for line in _lines(log) if set(line["cases"].values()) & set(cases.values())]
    seen = {digest for line in earlier for digest in line["cases"].values()}
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "kit": __version__,
        "team": scores.team,
        "split": scores.split,
        "rules": scores.rules,
        "truth": str(truth.resolve()),
        "truths": _digest(list(cases.values())),
        "predictions": predictions,
        "cases": cases,
    }
    _add(json.dumps(line), log)
    return Looks(
        log=str(log),
        before=len(earlier),
        predictions=len({line["predictions"] for line in earlier}),
        cases=sum(digest in seen for digest in cases.values()),
        first=min((line["time"] for line in earlier), default=None),
    )


def log_sentence(looks: Looks | None) -> str:
    """Say whether the scoring is blind, as far as the log knows; None: there is no log."""
    if looks is None:
        return "Nobody knows whether this is blind: no log of scorings is kept (--log)."
    if not looks.before:
        return f"No earlier scoring of these cases is in {looks.log}."
    return (
        f"Not blind: {number_of(looks.cases, 'case')} of these were scored before, "
        f"{number_of(looks.before, 'time')} since {looks.first} (UTC), with "
        f"{number_of(looks.predictions, 'different set')} of predictions ({looks.log})."
    )


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    try:
        text = log.read_text(encoding="utf-8") if log.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise KitError(f"cannot read the log {log}: {error}") from error
    for number, row in enumerate(text.splitlines(), start=1):
        try:
            line = json.loads(row)
            found = {key: str(line[key]) for key in ("time", "predictions")}
            yield {**found, "cases": {str(c): str(d) for c, d in line["cases"].items()}}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise KitError(
                f"{log}: line {number} is no line of a log of scorings; give another --log"
            ) from error


def _add(line: str, log: Path) -> None:
    """Add a line in one write, so that two scorings at once do not mix theirs."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab", buffering=0) as stream:
            stream.write(f"{line}\n".encode())
    except OSError as error:
        raise KitError(f"cannot write the log {log}: {error.strerror}") from error


def _digest(digests: list[str | None]) -> str:
    return sha256(" ".join(sorted(str(digest) for digest in digests)).encode())
