"""Run one stage of a run, and record its inputs and outputs."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from train.data.release import LAYOUT, release_files
from train.data.screen import check_on_screen
from train.progress import log_stage
from train.rounds.cards import hold_cards, require_card
from train.rounds.fuse import fuse_job, select_job
from train.rounds.graph import Stage, expand
from train.rounds.known import known_path
from train.rounds.network import export_job, judge_job, label_job, rules_job, score_job, train_job
from train.rounds.records import Work, run_stage
from train.rounds.run import Job, Run
from train.rounds.schedule import cards_of


def do_stage(run: Run, stage: Stage, cards: Sequence[str] = ()) -> Path:
    """Run one stage; on stderr, lines say that it starts, how far it is, and how it ended.

    Args:
        run: Whose.
        stage: Which.
        cards: One that needs a GPU waits for one of these, and sees no other; none: it sees those
            that CUDA_VISIBLE_DEVICES leaves.

    Raises:
        KitError: It failed; what it wrote is removed. Or it needs a GPU, and there is none.
    """
    with log_stage(stage.key), ExitStack() as stack:
        if count := cards_of(stage, run.recipe.training, run.device):
            if cards:
                stack.enter_context(hold_cards(cards, count))
            require_card()
        return _do_stage(run, stage)


def _do_stage(run: Run, stage: Stage) -> Path:
    for key in (*stage.needs, stage.key):
        run.known.load(known_path(run.folder, key))
    job = JOBS[stage.kind](run, stage)
    order = [other.key for other in expand(run.recipe, scored=True)]
    facts = {
        "place": order.index(stage.key),
        "round": stage.round,
        "recipe": {"name": run.recipe.name, "sha256": run.recipe.sha256},
        "seed": run.recipe.seed,
        "threads": run.recipe.training.threads,
        "device": run.device,
    }
    hands_on = stage.kind == "data"
    work = Work(stage.key, run.folder, facts, job.inputs, hands_on=hands_on, known=run.known)
    return run_stage(work, job.make)


def data_job(run: Run, stage: Stage) -> Job:
    """Check the release: which cases are usable, and what was annotated in each."""
    jobs = run.recipe.training.threads
    make = partial(check_on_screen, run.release, LAYOUT, jobs=jobs, deep=False)
    return Job(run.inputs(*release_files(run.release)), make)


JOBS: dict[str, Callable[[Run, Stage], Job]] = {
    "data": data_job,
    "fuse": fuse_job,
    "select": select_job,
    "train": train_job,
    "export": export_job,
    "label": label_job,
    "judge": judge_job,
    "rules": rules_job,
    "score": score_job,
}
