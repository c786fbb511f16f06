"""All rules of one submission, in the order in which they can be checked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluation.efficiency.archives import SUFFIXES, team_of
from evaluation.efficiency.containers import ANSWER_S, docker, open_image
from evaluation.efficiency.outputs import work_folder
from evaluation.efficiency.protocol import Protocol, Subject, subject_of
from evaluation.efficiency.results import ChallengeLimits, Efficiency
from evaluation.submission.archive import check_archive, check_inventory
from evaluation.submission.maps import check_maps
from evaluation.submission.rules import RuleResult, RuleResults, Submission, complete, result_of
from evaluation.submission.trials import LOCKED, OFFLINE, Bench, Outcome, contain
from imaging.errors import KitError, joined
from imaging.words import number_of
from inference.pipeline import SUFFIX

RAM_MIB = 28 * 1024
BROKEN = "broken"
Timing = Callable[[Subject], Efficiency]
"""Runs every case alone, twice, and leaves the maps in OUTPUT/alone/predictions."""


@dataclass(frozen=True)
class CheckRequest:
    """What is checked, and against what."""

    image: str
    """An archive, or the name of a loaded image."""
    cases: dict[str, Path]
    output: Path
    settings: Protocol
    gpu_index: int = 0
    archive_limit_mb: float | None = None
    same_as: Path | None = None
    """An archive that this one should equal."""

    @property
    def is_archive(self) -> bool:
        """Tell an archive from a name as `efficiency --image` does."""
        return self.image.endswith(SUFFIXES)


def check(request: CheckRequest, timing: Timing, say: Callable[[str], None]) -> Submission:
    """Check every rule that can be checked here.

    Args:
        request: What is checked.
        timing: Times every case alone.
        say: Called with the name of every step.

    Raises:
        KitError: There is no such archive, Docker does not answer, or `output` cannot be written.
    """
    found: RuleResults = {}
    team = request.image.removesuffix(":latest")
    if request.is_archive:
        say("reading the archive")
        path = Path(request.image)
        team = team_of(path)
        if not path.is_file():
            raise KitError(f"image archive {path} does not exist; `docker save` writes one")
        found |= check_archive(path, request.archive_limit_mb)
        if found["tag"].status == "failed":  # a loaded image of that name would be another one
            why = f"the archive holds no {team}:latest"
            return Submission(team, None, tuple(request.cases), complete(found, why))
        say("reading every file of the archive")
        found |= check_inventory(path, request.same_as)
    say("loading the image")
    docker("version", "--format", "{{.Server.Version}}")
    try:
        image = open_image(request.image)
    except KitError as error:
        found["loads"] = RuleResult("failed", str(error))
        return Submission(team, None, tuple(request.cases), complete(found, "there is no image"))
    found["loads"] = RuleResult("passed", image.digest)
    say("looking for predict.sh")
    found["workdir"] = _workdir(image.team, request.output)
    subject = subject_of((), image.team, request.gpu_index)
    say("timing every case alone, twice")
    timed = timing(subject)
    found |= judge_runs(timed, request.settings.limits)
    found |= check_maps(request.cases, request.output / "alone" / "predictions")
    alone = {case.case: case.runs[-1].pred_sha256 for case in timed.cases}
    bench = Bench(image, subject.gpu_index, request.output, request.settings.timeout_s)
    found |= _harder(bench, request, alone, say)
    why = "not an archive" if not request.is_archive else "no map was written"
    return Submission(team, image.digest, tuple(request.cases), complete(found, why))


def _workdir(team: str, output: Path) -> RuleResult:
    folder = docker("image", "inspect", "--format", "{{.Config.WorkingDir}}", f"{team}:latest")
    with work_folder(output) as made:
        id_file = made / "container"
        flags = (*OFFLINE, "--cidfile", str(id_file))
        test = ("/bin/bash", "-c", "test -f predict.sh")
        command = ("docker", "container", "run", *flags, f"{team}:latest", *test)
        status, stderr, _ = contain(command, id_file, ANSWER_S)
    if status == 0:
        return RuleResult("passed", folder or "/")
    reason = f"WORKDIR is {folder or '/'}, it holds no predict.sh, or there is no /bin/bash"
    ended = f"no end within {ANSWER_S:g} s" if status is None else f"exit status {status}"
    return RuleResult("failed", f"{reason} ({': '.join(filter(None, (ended, stderr)))})")


def judge_runs(timed: Efficiency, limits: ChallengeLimits) -> RuleResults:
    """Judge what running every case alone has shown."""
    failures = [f"{case.case}: {case.failed[0].error}" for case in timed.cases if case.failed]
    digests = {case.case: {run.pred_sha256 for run in case.runs} for case in timed.cases}
    differ = [case for case, seen in digests.items() if len(seen) > 1 or None in seen]
    found = {
        "runs": result_of(joined(*failures), number_of(len(timed.cases), "case")),
        "time": _within(timed, "seconds", limits.seconds, "s"),
        "GPU memory": _within(timed, "gpu_mib.peak", limits.gpu_mib, "MiB"),
        "RAM": _within(timed, "own_ram_mib.peak", RAM_MIB, "MiB"),
    }
    if any(seen != {None} for seen in digests.values()):
        wrong = f"no map, or other bytes: {', '.join(differ)}" if differ else None
        found["repeats"] = result_of(wrong, number_of(len(timed.cases), "case"))
    return found


def _within(timed: Efficiency, figure: str, limit: float | None, unit: str) -> RuleResult:
    """Judge the worst of all runs."""
    if limit is None:
        return RuleResult("not checked", "no limit is known")
    seen = {c.case: c.figures[figure].max for c in timed.cases if figure in c.figures}
    if not seen:
        no_gpu = timed.circumstances.get("no_gpu") if figure.startswith("gpu") else None
        return RuleResult("not checked", str(no_gpu or "it was not seen"))
    case = max(seen, key=lambda name: seen[name])
    worst = f"at most {seen[case]:,.1f} {unit} ({case}), the limit is {limit:,.0f} {unit}"
    return result_of(worst if seen[case] > limit else None, worst)


def _harder(
    bench: Bench, request: CheckRequest, alone: dict[str, str | None], say: Callable[[str], None]
) -> RuleResults:
    """Run the trials that the organisers do not."""
    cts = list(request.cases.values())
    smallest = min(request.cases, key=lambda case: request.cases[case].stat().st_size)
    say("all cases in one container, without a network")
    many = bench.run(cts, OFFLINE)
    say("one case as another user on a read-only file system")
    locked = bench.run([request.cases[smallest]], LOCKED)
    say("one case beside a broken file")
    with work_folder(request.output) as made:
        broken = made / f"{BROKEN if smallest != BROKEN else 'damaged'}{SUFFIX}"
        broken.write_text("no CT\n", encoding="utf-8")
        beside = bench.run([request.cases[smallest], broken], OFFLINE)
    return {
        "many": same_maps(many, alone),
        "inside": _inside(many),
        "any user": same_maps(locked, {smallest: alone[smallest]}),
        **judge_broken(beside, smallest, alone[smallest]),
    }


def _inside(outcome: Outcome) -> RuleResult:
    if outcome.changed is None:
        return RuleResult("not checked", f"there was no container: {outcome.failure}")
    return result_of(", ".join(outcome.changed) or None, "docker diff shows nothing")


def same_maps(outcome: Outcome, alone: dict[str, str | None]) -> RuleResult:
    """Judge a trial on good cases by its exit code and by the bytes of the maps from runs alone.

    Args:
        outcome: Of the trial.
        alone: Digests by case; None where a run alone left no map, so that none is the same.
    """
    other = [
        case for case, digest in alone.items() if digest is None or outcome.maps.get(case) != digest
    ]
    wrong = outcome.failure or (f"no map, or other bytes: {', '.join(other)}" if other else None)
    return result_of(wrong, f"{number_of(len(alone), 'case')}, the same bytes")


def judge_broken(outcome: Outcome, good: str, digest: str | None) -> RuleResults:
    """Judge a trial on a good case and a broken file."""
    wrong = None
    if digest is None or outcome.maps.get(good) != digest:
        wrong = f"{good} has no map, or another than alone; {outcome.failure or 'exit status 0'}"
    elif outcome.half_written:
        wrong = f"half-written: {', '.join(outcome.half_written)}"
    code = f"exit status {outcome.exit_status}"
    bad_code = code if outcome.exit_status in (0, None) else None
    if "Traceback (most recent call last)" in outcome.stderr:
        bad_code = f"{code}, a traceback: {outcome.stderr.strip().splitlines()[-1]}"
    return {
        "broken input": result_of(wrong, f"{good} is done"),
        "exit code": result_of(bad_code, code),
    }
