"""The commands other than `predict`; `inference.cli` loads them when one runs."""

from pathlib import Path
from typing import Any

import click

from imaging.commands import OutputFile
from imaging.errors import KitError
from inference.cli import CROPS, FILE, MANIFEST, described_network, network_options
from inference.shipped import DEFAULT_MANIFEST

_SCHEMA = Path(__file__).parents[1] / "manifest.schema.json"


@click.command()
@click.argument("ct", type=FILE)
@network_options
@click.option("-o", "--output", type=OutputFile(), help="JSON file.")
def estimate(
    ct: Path, manifest: Path, weights: Path | None, output: Path | None, **settings: Any
) -> None:
    """Estimate the time and memory to label CT, from the time of one window.

    CT is one CT in any form that `predict` reads: a file, a DICOM folder or a .zip of one.

    Exit code 1: no step keeps the limits.
    """
    from inference.settings import Settings
    from inference.tools.estimate import estimate_on_screen

    described = described_network(manifest, weights)
    over = estimate_on_screen(ct, described, Settings(**settings), output)
    if over:
        raise KitError(f"{ct.name}: {'; '.join(over)}")


@click.command()
@click.argument("ct", type=FILE)
@click.argument("truth", type=FILE)
@MANIFEST
@click.option("--crop", type=CROPS, help="Region of interest; by default as in the manifest.")
@click.option("-o", "--output", type=OutputFile(), help="JSON file.")
def outside(ct: Path, truth: Path, manifest: Path, crop: str | None, output: Path | None) -> None:
    """Say how much of TRUTH lies outside of the region of interest of CT.

    CT is one CT in any form that `predict` reads: a file, a DICOM folder or a .zip of one.

    Exit code 1: a labelled voxel does.
    """
    from inference.manifest import load_manifest
    from inference.tools.outside import outside_on_screen

    described = load_manifest(manifest)
    missed = outside_on_screen(ct, truth, described, crop or described.crop, output)
    if missed:
        raise KitError(f"{ct.name}: {missed} labelled voxels lie outside; use --crop none")


@click.command()
@click.argument("manifest", default=DEFAULT_MANIFEST, type=FILE)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of manifests instead.")
@click.option("--run", is_flag=True, help="Label the sample CT too; compare with its golden maps.")
@click.option(
    "--engine",
    default="openvino",
    show_default=True,
    type=click.Choice(["openvino", "onnxruntime", "torch", "all"]),
    help="With --run: golden maps of this engine.",
)
@click.option(
    "--precision",
    default="all",
    show_default=True,
    type=click.Choice(["f32", "bf16", "int8", "all"]),
    help="With --run: golden maps of this precision.",
)
@click.option(
    "--threads", default=0, type=click.IntRange(min=0), help="With --run; 0: as the golden maps."
)
def verify(
    manifest: Path, schema: bool, run: bool, engine: str, precision: str, threads: int
) -> None:
    """Check MANIFEST and every weights file that it names; by default the default weights.

    What is wrong is named by its key's path, such as window.patch[2].

    With --run the sample CT is labelled too, and every voxel is compared. Exit code 1: the weights
    are not those of the golden maps, or voxels differ more than this CPU explains.
    """
    import json

    if schema:
        click.echo(_SCHEMA.read_text(encoding="utf-8"), nl=False)
        return
    from inference.manifest import load_manifest, verify_files

    described = load_manifest(manifest)
    verify_files(described)
    click.echo(json.dumps({"name": described.name, "verified": sorted(described.files)}))
    if run:
        from inference.tools.golden_screen import compare_with_golden

        if problems := compare_with_golden(described, engine, precision, threads):
            raise KitError("; ".join(problems))


@click.command()
@click.argument("manifest", default=DEFAULT_MANIFEST, type=FILE)
@click.option("-o", "--output", required=True, type=OutputFile(), help="Markdown file.")
def card(manifest: Path, output: Path) -> None:
    """Write the model card of the network that MANIFEST describes."""
    from inference.manifest import load_manifest
    from inference.tools.card import write_card

    write_card(load_manifest(manifest), output)


@click.group()
def engine() -> None:
    """Build engines for a GPU."""


@engine.command()
@click.option("--engine", required=True, type=click.Choice(["tensorrt", "tensorrt-rtx"]))
@click.option("--target", help="Kinds of GPU: sm75,sm86,…; by default the one that is here.")
@click.option("--precision", default="fp16", show_default=True, type=click.Choice(["fp16"]))
@MANIFEST
@click.option("--parity-case", type=FILE, help="CT to compare on; by default a generated one.")
@click.option("-o", "--output", type=FILE, help="By default plans/ beside the ONNX file.")
def build(manifest: Path, target: str | None, output: Path | None, **settings: Any) -> None:
    """Build plans of the manifest's network for TensorRT or TensorRT-RTX.

    Exit code 1: a plan cannot be built, or its logits are not the network's; the others stay.
    """
    from inference.builders.screen import build_on_screen
    from inference.builders.tensorrt_build import Request
    from inference.engines import plan_folder
    from inference.manifest import load_manifest

    described = load_manifest(manifest)
    targets = tuple(part.strip() for part in target.split(",")) if target else ()
    folder = output or plan_folder(described)
    build_on_screen(Request(described, targets=targets, folder=folder, **settings))


@click.command()
@click.argument("ct", type=FILE)
@click.argument("labels", type=FILE)
@click.option("-o", "--output", required=True, type=OutputFile(), help="PNG file.")
def show(ct: Path, labels: Path, output: Path) -> None:
    """Draw LABELS over CT: three planes, contours, legend.

    CT is one CT in any form that `predict` reads: a file, a DICOM folder or a .zip of one.
    """
    from inference.tools.show import overlay_png

    for warning in overlay_png(ct, labels, output):
        click.echo(f"{ct.name}: {warning}", err=True)


@click.command()
@click.argument("folder", type=FILE)
def sample(folder: Path) -> None:
    """Copy a small real CT into FOLDER, to try `predict` on."""
    from inference.tools.sample import write_sample

    click.echo(str(write_sample(folder)))
