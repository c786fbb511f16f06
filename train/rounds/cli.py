"""The commands of rounds: `train estimate`, `run`, `stage` and `verify`."""

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaging.errors import KitError
from imaging.words import number_of

if TYPE_CHECKING:
    from train.rounds.run import Run

Command = Callable[..., Any]
_RECIPE = click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)
_PARANOID = click.option(
    "--paranoid",
    is_flag=True,
    help="Read every file for its digest, also those whose size, times and inode are as they were.",
)


def _of_a_run(command: Command) -> Command:
    """Add what every command about a run takes; the command gets it as a `Run`."""

    @wraps(command)
    def with_run(recipe: Path, **options: Any) -> None:
        from train.rounds.recipe import load_rounds
        from train.rounds.run import Run

        fields = ("folder", "release", "truth", "external", "device")
        run = Run(load_rounds(recipe), **{name: options.pop(name) for name in fields})
        command(run, **options)

    for option in (
        click.option("--source", "external", multiple=True, callback=named_folders,
                     metavar="NAME=FOLDER", help="An external pseudo-label set; may be repeated."),
        click.option("--device", default="cpu", type=click.Choice(["cpu", "cuda"]),
                     show_default=True, help="What trains."),
        click.option("--truth", type=_FOLDER,
                     help="True labels of validation cases, to score every round's network."),
        click.option("--release", required=True, type=_FOLDER, help="FLARE23's folder."),
        click.option("--run", "folder", required=True, help="Folder of the run's files.",
                     type=click.Path(resolve_path=True, path_type=Path)),
        _RECIPE,
    ):  # fmt: skip
        with_run = option(with_run)
    return with_run


def named_folders(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, Path]:
    """Read an option that is NAME=FOLDER and may be repeated."""
    found: dict[str, Path] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not (name and folder) or name in found:
            reason = f"{text}: give NAME=FOLDER, each name once"
            raise click.BadParameter(reason, context, parameter)
        found[name] = Path(folder).resolve()
    return found


@click.command("estimate")
@_RECIPE
@click.option("--release", type=_FOLDER, help="FLARE23's folder: count the cases in it too.")
def estimate_recipe(recipe: Path, release: Path | None) -> None:
    """Say what RECIPE will take, before anything is spent: cases, GPU-hours, disk.

    Without --release a recipe that has [phantoms] is counted with these, another one with all cases
    that its lists name.
    """
    from train.rounds.cost_screen import show_costs
    from train.rounds.recipe import load_rounds
    from train.synthesis.phantom_release import phantoms_of

    show_costs(load_rounds(recipe), release, phantoms_of(recipe))


@click.command()
@click.argument(
    "kind",
    type=click.Choice(
        ["data", "fuse", "select", "train", "export", "label", "judge", "rules", "score"]
    ),
)
@_of_a_run
@click.option("--round", "name", default="", help="Which round of the recipe; none for data.")
@click.option("--part", type=click.IntRange(min=0), help="Which part of a labelling, from 0.")
@click.option(
    "--cards",
    default="",
    metavar="NAME,NAME",
    help="With --device cuda: take one of these GPUs that is free.  [default: what "
    "CUDA_VISIBLE_DEVICES leaves]",
)
@_PARANOID
def stage(run: "Run", kind: str, name: str, part: int | None, cards: str, paranoid: bool) -> None:
    """Run one stage of RECIPE: RUN/ROUND/KIND, with a record of what it was made of."""
    from train.rounds.graph import find_stage
    from train.rounds.stages import do_stage

    run.known.paranoid = paranoid
    named = tuple(card for card in cards.split(",") if card)
    done = do_stage(run, find_stage(run.recipe, name, kind, part), named)
    click.echo(json.dumps({"stage": str(done)}))


@click.command("run")
@_of_a_run
@click.option("--cores", type=click.IntRange(min=1), default=2, show_default=True)
@click.option(
    "--gpus",
    type=click.IntRange(min=1),
    help="With --device cuda: GPUs of this machine; each stage that needs one has it for itself.  "
    "[default: 1]",
)
@click.option("--executor", help="A Snakemake executor; slurm sends every stage to the queue.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="With --executor: stages in the queue at once.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How often a stage that failed is tried again.",
)
@_PARANOID
@click.pass_context
def run_all(context: click.Context, /, run: "Run", gpus: int | None, **launch: Any) -> None:
    """Run every round of RECIPE, from FLARE23's folders to the exported students.

    Called again after whatever stopped it, it goes on; stages that are done stay as they are.
    """
    from train.rounds.command import Launch, run_recipe
    from train.rounds.screen import show_rounds

    if gpus is not None and (run.device != "cuda" or launch["executor"]):
        raise click.UsageError("--gpus goes with --device cuda, and without --executor")
    run_recipe(run, context.params["recipe"], Launch(**launch, gpus=gpus or 1))
    show_rounds(run)


@click.command()
@_of_a_run
@click.option("--round", "name", required=True, help="Which round of the recipe.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
def audit(run: "Run", name: str, jobs: int, output: Path) -> None:
    """Look at the labels that a round is trained on: OUTPUT/audit.html and audit.json.

    Exit code 1: a case could not be read; the others are there.
    """
    from train.pseudo_labels.audit.page import audit_round

    if unread := audit_round(run, name, output, jobs):
        raise KitError(
            f"{number_of(unread, 'case')} could not be read; see {output / 'audit.html'}"
        )


@click.command("verify")
@click.argument("first", type=_FOLDER)
@click.argument("second", type=_FOLDER)
def verify_runs(first: Path, second: Path) -> None:
    """Compare two runs: exit code 1, and the first stage that differs, if they are not the same."""
    from train.rounds.verify import compare_runs

    equal, difference = compare_runs(first, second)
    if difference is not None:
        around = f"; there differ {'; '.join(difference.around)}" if difference.around else ""
        raise KitError(
            f"after {equal} equal stages {difference.stage} differs: {difference.what}{around}"
        )
    click.echo(json.dumps({"equal_stages": equal}))
