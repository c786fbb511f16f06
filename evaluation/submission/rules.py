"""The rules of a submission, and what was found of each: one value that saves itself."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from evaluation.result_files import write_results
from imaging.errors import KitError

RULES = {
    "archive name": "the archive is <team>.tar.gz, in lower case",
    "archive size": "the archive is no larger than --archive-limit",
    "tag": "the archive holds one image, tagged <team>:latest",
    "weights": "the weights are those of the image's manifest, and that is the label's",
    "listed": "files have the digests that the image's sbom.cdx.json gives",
    "same": "the image is that of --same-as, file by file",
    "loads": "Docker has the image",
    "workdir": "the image's WORKDIR holds predict.sh",
    "runs": "the organisers' command line, one case a container: exit code 0 and a label map",
    "names": "every case leaves outputs/<case>.nii.gz",
    "geometry": "every map lies on its CT's voxels",
    "dtype": "every map holds integers, unscaled",
    "labels": "every label is from 0 to 14",
    "time": "every case within the time limit",
    "GPU memory": "every case within the limit of GPU memory",
    "RAM": "every case within 28 GiB, the organisers' -m 28G",
    "repeats": "a second run writes the same bytes",
    "many": "all cases in one container, no network, inputs read-only: the same maps",
    "inside": "nothing is written but into outputs and /tmp",
    "any user": "another user, root file system read-only, no network: the same map",
    "broken input": "a broken file among good ones: those are done, nothing is half-written",
    "exit code": "a failed case shows in the exit code, without a traceback",
}
"""What is required, by the rule's name."""

Status = Literal["passed", "failed", "not checked"]


@dataclass(frozen=True)
class RuleResult:
    """What was found of one rule."""

    status: Status
    reason: str
    """What was seen, or why nothing was."""


RuleResults = dict[str, RuleResult]
"""By the rule's name."""


def result_of(wrong: str | None, seen: str) -> RuleResult:
    """Return "failed" for `wrong`, or "passed" for what was `seen`."""
    return RuleResult("passed", seen) if wrong is None else RuleResult("failed", wrong)


@dataclass(frozen=True)
class Submission:
    """Every rule with its result."""

    team: str
    image: str | None
    """Digest of the image; None where there was none."""
    cases: tuple[str, ...]
    results: RuleResults

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the rules that failed."""
        return tuple(rule for rule, found in self.results.items() if found.status == "failed")

    def write(self, path: Path) -> None:
        """Write submission.json at `path`, whole or not at all."""
        rows = [
            {"rule": rule, "asked": RULES[rule], **asdict(found)}
            for rule, found in self.results.items()
        ]
        content = {"team": self.team, "image": self.image, "cases": self.cases, "rules": rows}
        write_results("submission", content, path)


def complete(found: RuleResults, why: str) -> RuleResults:
    """Return all rules in order, those that `found` lacks as "not checked" for the reason `why`.

    Raises:
        KitError: `found` has a rule that is not in `RULES`.
    """
    if odd := found.keys() - RULES.keys():
        raise KitError(f"no such rules: {', '.join(sorted(odd))}")
    return {rule: found.get(rule, RuleResult("not checked", why)) for rule in RULES}
