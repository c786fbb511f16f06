"""Command line of training and export: each command parses its options and calls one function."""

import json
from pathlib import Path
from typing import Any

import click

from evaluation.options import ANNOTATED
from imaging.commands import CommandGroup
from imaging.errors import KitError
from inference.manifest import CROPS, PLAIN_CROPS
from train.package.cli import package
from train.provenance.cli import crate, croissant
from train.rounds.cli import audit, estimate_recipe, named_folders, run_all, stage, verify_runs
from train.small.cli import small

_PATH = click.Path(path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_OUTPUT = click.option("-o", "--output", required=True, type=_PATH)
_LABELLED = click.option("--images", required=True, type=_PATH, help="Labelled CTs.")
_TRUTH = click.option("--truth", required=True, type=_PATH, help="Their labels.")
_THREADS = click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
_PRECISION = click.option(
    "--precision", default="f32", show_default=True, type=click.Choice(["f32", "bf16", "int8"])
)


@click.group(cls=CommandGroup)
def main() -> None:
    """Train a segmentation network and export it."""


_OF_RUNS = (audit, estimate_recipe, run_all, stage, verify_runs)
for command in (*_OF_RUNS, crate, croissant, package, small):
    main.add_command(command)


@main.command()
@click.argument("model_folder", type=_FOLDER)
@click.option("--fold", default="all", show_default=True, help="Which training: a number, or all.")
@click.option("-o", "--output", required=True, type=_PATH, help="The bundle.")
@click.option("--checkpoint", default="checkpoint_final.pth", show_default=True)
@click.option("--storage", type=click.Choice(["f32", "f16"]), default="f32", show_default=True)
@click.option(
    "--parity-case",
    "parity_cases",
    multiple=True,
    type=_FILE,
    help="CT to compare the engines on; may be repeated. Without one, generated phantoms.",
)
@click.option("--name", help="Name of the network; by default dataset and configuration.")
@click.option(
    "--provenance",
    type=_FILE,
    help="JSON object that is put into the manifest's provenance.",
)
@click.option(
    "--components",
    type=_FILE,
    help="JSON with the component rules that prediction shall apply.",
)
@click.option(
    "--crop",
    type=click.Choice(PLAIN_CROPS),
    default="nonzero",
    show_default=True,
    help="What prediction looks at; nonzero is nnU-Net's.",
)
@click.option(
    "--step",
    type=click.FloatRange(0.1, 1.0),
    default=0.5,
    show_default=True,
    help="From window to window in prediction, as a share of the patch; 0.5 is nnU-Net's.",
)
@_THREADS
@click.option(
    "--trust-checkpoint",
    is_flag=True,
    help="Unpickle the checkpoint whole. It can run code: only for your own training.",
)
def export(model_folder: Path, output: Path, **options: Any) -> None:
    """Turn the nnU-Net result folder MODEL_FOLDER into ONNX weights and their manifest."""
    from train.export.bundle import ExportRequest, export_bundle
    from train.export.parity import show_agreements

    request = ExportRequest(model_folder=model_folder, bundle=output, **options)
    done = export_bundle(request)
    show_agreements(done.agreements)
    click.echo(json.dumps({"manifest": str(done.manifest), "warnings": list(done.warnings)}))


@main.command()
@click.argument("manifest", type=_FILE)
@click.argument("localiser", type=_FILE)
@click.option(
    "--margin-mm", required=True, type=click.FloatRange(min=0, min_open=True), help="Of its box."
)
@click.option(
    "--least-certainty",
    required=True,
    type=click.FloatRange(0, 1),
    help="Below it the body's box is taken.",
)
@click.option(
    "--step",
    default=0.75,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Between its windows, as a share of its patch.",
)
@click.option(
    "--crop", type=click.Choice(CROPS), help="MANIFEST's from now on; by default as it is."
)
def localiser(manifest: Path, localiser: Path, **settings: Any) -> None:
    """Add the network of the manifest LOCALISER to MANIFEST: it finds the organs' box."""
    from train.export.localiser import add_localiser

    written = add_localiser(manifest, localiser, **settings)
    click.echo(json.dumps({"manifest": str(manifest), "crop": written.crop}))


@main.command()
@click.argument("manifest", type=_FILE)
@click.argument("calibration", nargs=-1, required=True, type=_FILE)
@_LABELLED
@_TRUTH
@_THREADS
def quantize(
    manifest: Path, calibration: tuple[Path, ...], images: Path, truth: Path, threads: int
) -> None:
    """Add 8-bit weights to MANIFEST, calibrated on the CTs CALIBRATION.

    They are refused if mean DSC on the labelled CTs falls by more than 0.1 point.
    """
    from dataclasses import asdict

    from inference.predictor import Progress
    from train.export.int8 import add_int8

    progress = Progress(done=lambda case: click.echo(case.summary, err=True))
    gate = add_int8(manifest, calibration, images, truth, threads, progress)
    click.echo(json.dumps(asdict(gate)))


@main.command()
@click.argument("manifest", type=_FILE)
@_LABELLED
@_TRUTH
@_OUTPUT
@_PRECISION
@_THREADS
@ANNOTATED
def calibrate(
    manifest: Path, images: Path, truth: Path, output: Path, annotated: Any, **settings: Any
) -> None:
    """Fit the temperature of the network in MANIFEST, and say how far it can be believed.

    Each case is judged with a temperature that was fitted on the others, and with thresholds on
    confidence that were chosen on the others.
    """
    from inference.manifest import load_manifest
    from inference.settings import Settings
    from train.pseudo_labels.calibration.cross_validation import calibrate_network, show_calibration
    from train.pseudo_labels.calibration.thresholds import show_kept

    loaded = load_manifest(manifest)
    found, selection = calibrate_network(
        loaded, images, truth, output, Settings(**settings), annotated
    )
    show_calibration(found)
    show_kept(selection)


@main.command()
@click.argument("manifest", type=_FILE)
@click.option("--images", required=True, type=_PATH, help="CTs.")
@_OUTPUT
@click.option(
    "--temperature",
    type=click.FloatRange(0, min_open=True),
    help="What logits are divided by; 1 leaves the network as it is.",
)
@click.option(
    "--calibration",
    type=_FILE,
    help="calibration.json of `train calibrate`: its temperature.",
)
@click.option("--flips", is_flag=True, help="Ask again with left and right flipped.")
@_PRECISION
@_THREADS
def confidence(
    manifest: Path,
    images: Path,
    output: Path,
    temperature: float | None,
    calibration: Path | None,
    flips: bool,
    **settings: Any,
) -> None:
    """Label CTs with the network in MANIFEST, and say how sure it is of every voxel and component.

    One of --temperature and --calibration is needed. Exit code 1: a case failed; the others are
    done.
    """
    from inference.manifest import load_manifest
    from inference.settings import Settings
    from train.pseudo_labels.calibration.confidence import Questions
    from train.pseudo_labels.calibration.confidence_command import temperature_in, write_confidence

    if (temperature is None) == (calibration is None):
        raise click.UsageError("give either --temperature or --calibration")
    loaded = load_manifest(manifest)
    if calibration is not None:
        temperature = temperature_in(calibration, loaded)
    questions = Questions(temperature or 1.0, flips)
    write_confidence(loaded, images, output, Settings(**settings), questions)


@main.command()
@click.argument("truth", type=_FOLDER)
@click.option(
    "--source", "sources", multiple=True, required=True, callback=named_folders,
    metavar="NAME=FOLDER", help="A pseudo-label set; several.",
)  # fmt: skip
@_OUTPUT
def ablate(truth: Path, sources: dict[str, Path], output: Path) -> None:
    """Fuse pseudo labels by every rule, and by ours without each source; judge them by TRUTH."""
    from train.pseudo_labels.ablation import compare_rules

    compare_rules(truth, sources, output)


@main.command()
@click.argument("release", type=_PATH)
@_OUTPUT
@click.option("--images", default="imagesTr2200", show_default=True, help="Folder of its CTs.")
@click.option("--labels", default="labelsTr2200", show_default=True, help="Folder of their labels.")
@click.option("--unlabelled", default="unlabeledTr1800", show_default=True)
@click.option("--validation", default="imagesVal50", show_default=True)
@click.option("--deep", is_flag=True, help="Read every CT whole; else its header, and the labels.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Processes.")
def data(release: Path, output: Path, jobs: int, deep: bool, **folders: str) -> None:
    """Check FLARE23's RELEASE folder: which cases are usable, and what was annotated in each.

    Writes OUTPUT/cases.json and OUTPUT/problems.csv. Exit code 1: there are problems; the cases
    that have them are left out.
    """
    from train.data.release import Layout
    from train.data.screen import check_on_screen

    problems = check_on_screen(release, Layout(**folders), output, jobs, deep=deep)
    if problems:
        raise KitError(
            f"{problems} problems, see {output / 'problems.csv'}; mend the files or go on"
        )


@main.command()
@click.argument("recipe", type=_FILE)
@_OUTPUT
@click.option(
    "--anatomies",
    type=_FOLDER,
    help="Folder of real label maps; their organs' shapes are taken.",
)
@click.option(
    "--ids",
    type=click.Choice(["flare", "word", "amos"]),
    default="flare",
    show_default=True,
    help="What the numbers in those label maps mean.",
)
def phantoms(recipe: Path, output: Path, anatomies: Path | None, ids: str) -> None:
    """Generate the release that RECIPE describes, in FLARE23's layout: OUTPUT.

    The truth of every case is in OUTPUT/hidden. No outside data is needed.
    """
    from train.synthesis.phantom_release import from_shapes, load_phantoms, write_release

    described, seed = load_phantoms(recipe)
    draw = from_shapes(described)
    if anatomies is not None:
        from train.synthesis.phantom_anatomies import from_anatomies

        draw = from_anatomies(described, anatomies, ids)
    click.echo(json.dumps({"cases": write_release(described, seed, draw, output)}))
