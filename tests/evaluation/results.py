"""Results of teams, made in the test: folders as `score` and `efficiency` leave them."""

from evaluation.efficiency.results import (
    ChallengeLimits,
    Efficiency,
    EfficiencyRun,
    Load,
    case_efficiency,
)
from evaluation.profiles.profile import load_profile
from evaluation.scoring import official
from evaluation.scoring.scores import CaseScores, LabelScore, Scores
from imaging.organs import ORGANS, TUMOUR


def scored(case, organs=(1.0, 1.0), tumour=(1.0, 1.0), **others):
    """Return a case whose thirteen organs all have one DSC and NSD, the tumour another."""
    labels = {organ: LabelScore(*(tumour if organ == TUMOUR else organs)) for organ in ORGANS}
    return CaseScores(case, labels, **others)


def failed(case):
    """Return a case without a usable prediction."""
    return CaseScores(case, error="the file is missing")


def write_scores(
    folder, *cases, split="public validation", rules="official", low_dsc=0.1, profile="flare23"
):
    """Write scores.json; the team is called like the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    means = official.means(cases, load_profile(profile))
    scores = Scores(folder.name, split, rules, low_dsc, "fail", cases, means, profile=profile)
    scores.write(folder / "scores.json")
    return folder


def run(seconds=10.0, gpu_over=None, gpu=None, cpu=None, error=None):
    """Return a run with these areas of GPU memory above the limit, GPU memory and CPU."""
    areas = {"gpu_over_mib": gpu_over, "gpu_mib": gpu, "cpu_percent": cpu}
    loads = {name: Load(area, area, area) for name, area in areas.items() if area is not None}
    return EfficiencyRun(1, seconds, 0, error, loads=loads)


def write_efficiency(folder, limits=ChallengeLimits(), split=None, machine=None, **runs):  # noqa: B008
    """Write efficiency.json with a run (or several) a case."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = tuple(
        case_efficiency(
            case, f"{case}.nii.gz", made if isinstance(made, tuple) else (made,), limits
        )
        for case, made in runs.items()
    )
    found = Efficiency(folder.name, split, ("x",), None, machine or {}, limits, cases)
    found.write(folder / "efficiency.json")
    return folder
