"""`python -m train`, but stages `train` and `export` make a network that costs nothing.

What these two read is read, and recorded, as in any run; only nnU-Net is left out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.free_network import write_free_network
from imaging.files import make_folder
from train.cli import main as train_main
from train.network.nnunet import MODEL_FILES
from train.rounds import command
from train.rounds.graph import Stage
from train.rounds.network import export_job, train_job
from train.rounds.run import Job, Run
from train.rounds.stages import JOBS

_SNAKEFILE = Path(__file__).with_name("Snakefile")
_ENTRY = "from train.cli import main"


def main() -> None:
    """Take the arguments of `python -m train`; `run` starts its stages here too."""
    JOBS.update(FREE_JOBS)
    command.SNAKEFILE = _SNAKEFILE
    train_main()


def take_stages() -> None:
    """Let Snakemake, in whose process this is called, start the stages of this module."""
    theirs = command.stage_command

    def ours(stage: Stage, config: Mapping[str, Any]) -> str:
        return theirs(stage, config).replace(_ENTRY, f"from {__name__} import main")

    command.stage_command = ours


def free_train_job(run: Run, stage: Stage) -> Job:
    """Read what a training reads, and write files without a network in them."""

    def make(folder: Path) -> None:
        for name in MODEL_FILES:
            make_folder((folder / name).parent)
            (folder / name).write_text(f"{name} of {stage.round}", encoding="utf-8")

    return train_job(run, stage)._replace(make=make)


def free_export_job(run: Run, stage: Stage) -> Job:
    """Write the network that costs nothing."""
    z, y, x = run.recipe.training.patch

    def make(folder: Path) -> None:
        write_free_network(folder, (z, y, x), run.recipe.spacing_mm)

    return export_job(run, stage)._replace(make=make)


FREE_JOBS = {"train": free_train_job, "export": free_export_job}
"""In the place of those of `train.rounds.stages.JOBS`."""
