"""Score a folder of predictions against a folder of truths, case by case, in parallel."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import (
    BrokenExecutor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from evaluation.profiles.profile import FLARE23, Profile
from evaluation.scoring import fixed, official
from evaluation.scoring.annotated import AnnotatedLabels, score_annotated
from evaluation.scoring.boxes import label_boxes
from evaluation.scoring.healthy import false_tumour, healthy_scans
from evaluation.scoring.lesions import detection
from evaluation.scoring.scores import NO_PREDICTION, CaseScores, LabelScore, Scores
from imaging.digest import file_sha256
from imaging.errors import GeometryError, KitError, VolumeError, in_one_line, joined
from imaging.label_maps import LabelMap, read_label_map, scaled_numbers, unlike_labels
from imaging.volumes import read_header, read_place

SUFFIX = ".nii.gz"
RULES = ("official", "fixed")


@dataclass(frozen=True)
class Scoring:
    """What to score, and how."""

    truth: Path
    """Folder of <case>.nii.gz; every file in it is a case."""
    pred: Path
    """Folder of files of the same names."""
    rules: str = "official"
    low_dsc: float | None = None
    """Of the official rules: below it the NSD counts 0; None: what the profile says."""
    missing: str = "fail"
    """"zero" scores a case without a usable prediction 0 for every label, as the challenge does."""
    jobs: int = 1
    annotated: AnnotatedLabels | None = None
    """What was annotated in the truths; None: what occurs in any of them."""
    team: str = ""
    """The folder's name, if nobody says otherwise."""
    split: str | None = None
    profile: Profile = FLARE23
    """Whose labels and rules."""

    @property
    def least_dsc(self) -> float:
        """Below it the NSD counts 0, by the official rules."""
        return self.profile.low_dsc if self.low_dsc is None else self.low_dsc

    @property
    def threads(self) -> int:
        """Of each process: `jobs` of them share the cores that this process may use."""
        return max(1, len(os.sched_getaffinity(0)) // self.jobs)


def score_folder(
    scoring: Scoring, done: Callable[[CaseScores], None] = lambda case: None
) -> Scores:
    """Score every truth.

    Args:
        scoring: What, and how.
        done: Called after each case, in any order.

    Raises:
        KitError: A folder is missing, or there is no truth at all.
    """
    for option, folder in (("--truth", scoring.truth), ("--pred", scoring.pred)):
        if not folder.is_dir():
            raise KitError(f"{folder} is no folder; check {option}")
    truths = map_files(scoring.truth)
    if not truths:
        raise KitError(f"{scoring.truth} holds no <case>{SUFFIX}; check --truth")
    found: dict[str, CaseScores] = {}
    for case in _scored(scoring, truths):
        found[case.case] = case
        done(case)
    measured = tuple(found[case_of_map(truth)] for truth in truths)
    profile = scoring.profile
    cases, annotated = score_annotated(measured, scoring.annotated, profile)
    means = official.means if scoring.rules == "official" else fixed.means
    scores = Scores(
        team=scoring.team or scoring.pred.resolve().name,
        split=scoring.split,
        rules=scoring.rules,
        low_dsc=scoring.least_dsc,
        missing=scoring.missing,
        cases=cases,
        annotated=annotated,
        means=means(cases, profile),
        healthy=healthy_scans(cases),
        profile=profile.name,
    )
    if scoring.rules == "official":
        return scores
    return replace(scores, detection=detection(cases), strata=fixed.strata(cases, profile))


def score_files(truths: Mapping[str, Path], pred: Path, team: str = "") -> Scores:
    """Score a folder of predictions by the fixed rules against truths that lie anywhere.

    Args:
        truths: Label maps by case.
        pred: Folder of <case>.nii.gz.
        team: As in `Scoring`.

    Raises:
        KitError: There is no truth at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        for case, path in truths.items():
            (Path(folder) / f"{case}{SUFFIX}").symlink_to(path.resolve())
        return score_folder(Scoring(Path(folder), pred, "fixed", team=team))


def map_files(folder: Path) -> list[Path]:
    """Return the label maps in a folder, sorted; hidden files are none."""
    return sorted(folder.glob(f"[!.]*{SUFFIX}"))


def case_of_map(path: Path) -> str:
    """Return a label map's file name without its suffix."""
    return path.name.removesuffix(SUFFIX)


def _scored(scoring: Scoring, truths: list[Path]) -> Iterator[CaseScores]:
    """Yield the cases as they are done, from this process or from `jobs` others."""
    score = partial(score_case, scoring)
    if min(scoring.jobs, len(truths)) == 1:
        yield from map(score, truths)
        return
    with ProcessPoolExecutor(scoring.jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(score, truth): truth for truth in truths}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenExecutor:
                warning = "a scoring process was killed, perhaps for memory; use fewer --jobs"
                yield CaseScores(case_of_map(futures[future]), error=warning)


def score_case(scoring: Scoring, truth: Path) -> CaseScores:
    """Score one case; what stands in the way becomes its `error`, what is odd its `warning`."""
    try:
        return _score_case(scoring, truth)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
        return CaseScores(case_of_map(truth), error=in_one_line(error, truth.name))


def _score_case(scoring: Scoring, truth: Path) -> CaseScores:
    pred = scoring.pred / truth.name
    case = CaseScores(case_of_map(truth), truth_sha256=_digest(truth), pred_sha256=_digest(pred))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_map, pred, scoring.rules)
        try:
            wanted = read_map(truth, scoring.rules)
        except KitError as error:
            return replace(case, error=str(error))
        present = label_boxes(wanted.labels, scoring.profile.most)
    case = replace(case, truth_labels=tuple(sorted(present)))
    try:
        found = reading.result()
        if found.header.shape != wanted.header.shape:
            reason = found.elsewhere_than(wanted.place, wanted.header.shape)
            raise GeometryError(f"{pred.name}: {reason}; predict on this case's own voxels")
        odd = _oddities(wanted, found, scoring.profile)
        if odd and scoring.rules == "fixed":
            raise GeometryError(f"{pred.name}: {odd}")
    except KitError as error:
        if scoring.missing != "zero":
            return replace(case, error=str(error))
        zero = LabelScore(0.0, 0.0, note=NO_PREDICTION)
        zeros = dict.fromkeys(scoring.profile.labels, zero)
        return replace(case, labels=zeros, warning=f"{error}; every label counts 0")
    warning = joined(odd, _size_warnings(scoring.rules, wanted, found))
    return _measured(replace(case, warning=warning), wanted, found, scoring)


def _measured(case: CaseScores, truth: LabelMap, pred: LabelMap, scoring: Scoring) -> CaseScores:
    grid, maps = truth.grid, (truth.labels, pred.labels)
    case = replace(case, false_tumour=false_tumour(*maps, grid.voxel_ml, scoring.profile))
    if scoring.rules == "official":
        labels = official.score_labels(
            *maps, truth.header.pixdim, scoring.least_dsc, scoring.threads, scoring.profile
        )
        crashed = [organ for organ, score in labels.items() if score.note == official.ONE_SLICE]
        warnings = (f"{organ} is {official.ONE_SLICE}" for organ in crashed)
        return replace(case, labels=labels, warning=joined(case.warning, *warnings))
    true_lesions, pred_lesions = fixed.case_lesions(*maps, grid, scoring.profile)
    return replace(
        case,
        labels=fixed.score_labels(*maps, grid, scoring.profile),
        true_lesions=true_lesions,
        pred_lesions=pred_lesions,
    )


def read_map(path: Path, rules: str) -> LabelMap:
    """Read a label map as the rules take it: `fixed` wants whole numbers, `official` makes them.

    Raises:
        VolumeError: The file cannot be read or is no label map.
    """
    if rules == "fixed" or not path.is_file():
        return read_label_map(path)
    header = read_header(path)
    place, numbers = read_place(path, header), scaled_numbers(path, header)
    if not np.isfinite(numbers).all():
        raise VolumeError(f"{path.name}: holds NaN or infinite numbers; write it again")
    cut = unlike_labels(numbers, header)
    return LabelMap(official.as_int8(numbers), place, header, cut)


def _oddities(truth: LabelMap, pred: LabelMap, profile: Profile) -> str | None:
    """Say what is wrong with a pair that has the same shape; None where nothing is."""
    reasons = [pred.elsewhere_than(truth.place, truth.header.shape)]
    for whose, found in (("the truth", truth), ("the prediction", pred)):
        if found.cut:
            reasons.append(
                f"{whose} has numbers that are no labels, and the official script cuts them: "
                f"{found.cut}"
            )
        elif found.labels.max(initial=0) > profile.most:
            unknown = np.unique(found.labels[found.labels > profile.most]).tolist()
            reasons.append(f"{whose} has labels {unknown} that {profile.challenge} does not know")
    return joined(*reasons)


def _size_warnings(rules: str, truth: LabelMap, pred: LabelMap) -> str | None:
    """Say what another voxel size would make another score; None where there is none.

    The official script takes pixdim of the truth, whatever the sform or the unit says.
    """
    if rules == "official":
        used, right = truth.header.pixdim, truth.grid.spacing_mm
        if np.allclose(used, right, rtol=1e-3, atol=0):
            return None
        true, taken = (" × ".join(f"{mm:g}" for mm in reversed(size)) for size in (right, used))
        return (
            f"the truth's voxels are {true} mm; scored with pixdim's {taken} mm, as the official "
            "script does"
        )
    pairs = (("the truth", truth), ("the prediction", pred))
    return joined(
        *(f"{whose}: {warning}" for whose, one in pairs for warning in one.place.size_warnings)
    )


def _digest(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except KitError:
        return None
