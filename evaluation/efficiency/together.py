"""All cases in one process: how long the first takes, with the start of everything, and later ones.

The challenge starts a container a case, so its times never show a warm network. Here the command
or image gets all CTs at once; when each label map was written says what each case took.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from evaluation.efficiency.outputs import digest, work_folder
from evaluation.efficiency.processes import Workspace
from evaluation.efficiency.protocol import CaseMeasurement, Subject, failure_of, time_run
from evaluation.efficiency.results import TogetherRun
from imaging.errors import KitError, joined


def run_together(
    cases: Mapping[str, Path],
    output: Path,
    subject: Subject,
    timeout_s: float,
    measured: Iterable[CaseMeasurement],
) -> TogetherRun:
    """Run a subject once on all cases.

    Args:
        cases: CTs by case.
        output: Holds logs/, which gets together.stdout.txt and together.stderr.txt.
        subject: What is timed.
        timeout_s: What one case may take; all together that times their number.
        measured: What each case did in a process of its own.
    """
    logs = output.resolve() / "logs"
    streams = logs / "together.stdout.txt", logs / "together.stderr.txt"
    with work_folder(output) as folder:
        workspace = Workspace(folder)
        try:
            workspace.fill(*cases.values())
            timed = time_run(subject, workspace, streams, timeout_s * len(cases))
        except (KitError, OSError) as refused:
            return TogetherRun(0.0, {}, str(refused))
        written = _written(workspace.outputs, cases)
        digests = {case: digest(path) for case, (path, _) in written.items()}
    gaps, before = {}, timed.started
    for case, (_, moment) in sorted(written.items(), key=lambda row: row[1][1]):
        gaps[case], before = moment - before, moment
    lacking = [case for case in cases if case not in written]
    error = joined(
        failure_of(timed, timeout_s * len(cases)),
        f"no label map of {', '.join(lacking)}" if lacking else None,
    )
    cases_alone = (one.efficiency for one in measured)
    alone = {case.case: case.counted[-1].pred_sha256 for case in cases_alone}
    odd = tuple(case for case in digests if digests[case] != alone[case])
    return TogetherRun(timed.seconds, gaps, error, odd)


def _written(folder: Path, cases: Mapping[str, Path]) -> dict[str, tuple[Path, float]]:
    """Return the maps that are regular files, and when each was written."""
    found = {}
    for case in cases:
        path = folder / f"{case}.nii.gz"
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found[case] = path, status.st_mtime
    return found
