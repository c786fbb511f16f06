"""Command line: parse, call one function, report. Heavy imports wait until a command runs."""

from pathlib import Path
from typing import Any

import click

from inference.commands import CommandGroup
from inference.errors import KitError

_FILE = click.Path(path_type=Path)


@click.group(cls=CommandGroup)
def main() -> None:
    """Label the organs on abdominal CTs."""


@main.command()
@click.argument("inputs", type=_FILE)
@click.argument("outputs", type=_FILE)
@click.option("--manifest", default="weights_manifest.json", type=_FILE, show_default=True)
@click.option("--weights", type=_FILE, help="ONNX file, where it is not where the manifest says.")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "openvino", "onnxruntime", "torch"]),
)
@click.option("--threads", default=0, type=click.IntRange(min=0), help="0: every core.")
@click.option("--precision", default="auto", type=click.Choice(["auto", "f32", "bf16", "int8"]))
@click.option(
    "--step", type=click.FloatRange(0.1, 1.0), help="Distance of windows, share of a patch."
)
@click.option("--blending", type=click.Choice(["gaussian", "constant"]))
@click.option("--tta", type=click.Choice(["none", "flip-x", "full"]), help="Flips to average.")
@click.option(
    "--crop",
    type=click.Choice(["none", "nonzero", "body"]),
    help="What to look at; the rest is background.",
)
@click.option("--clean/--no-clean", default=True, help="The manifest's component rules.")
@click.option("--report", type=_FILE, help="Where run.json goes; by default into OUTPUTS.")
def predict(
    inputs: Path,
    outputs: Path,
    manifest: Path,
    weights: Path | None,
    report: Path | None,
    **settings: Any,
) -> None:
    """Label every INPUTS/<case>_0000.nii.gz into OUTPUTS/<case>.nii.gz.

    Exit code 0: all cases done; 1: a case or the run failed (the others are done); 2: wrong usage.
    """
    from inference.manifest_reader import load_manifest
    from inference.pipeline import find_cases
    from inference.predictor import Settings
    from inference.screen import predict_on_screen

    if weights is not None and settings["engine"] == "torch":
        raise click.UsageError("--weights is an ONNX file; the torch engine takes the manifest's")
    cases = find_cases(inputs)
    described = load_manifest(manifest)
    if weights is not None:
        described = described.with_onnx(weights)
    done = predict_on_screen(cases, outputs, described, Settings(**settings))
    done.write(report or outputs / "run.json")
    if done.failed:
        raise KitError(f"{len(done.failed)} of {len(done.cases)} cases failed; see above")


@main.command()
@click.argument("manifest", default="weights_manifest.json", type=_FILE)
def verify(manifest: Path) -> None:
    """Check every weights file that MANIFEST names."""
    import json

    from inference.manifest import verify_files
    from inference.manifest_reader import load_manifest

    described = load_manifest(manifest)
    verify_files(described)
    click.echo(json.dumps({"name": described.name, "verified": sorted(described.files)}))


@main.command()
@click.argument("ct", type=_FILE)
@click.argument("labels", type=_FILE)
@click.option("-o", "--output", required=True, type=_FILE, help="PNG file.")
def show(ct: Path, labels: Path, output: Path) -> None:
    """Draw LABELS over CT: three planes, contours, legend."""
    from inference.show import overlay_png

    overlay_png(ct, labels, output)


@main.command()
@click.argument("folder", type=_FILE)
@click.option("--seed", default=0, show_default=True)
def sample(folder: Path, seed: int) -> None:
    """Write a generated CT into FOLDER, to try `predict` on."""
    from inference.phantom import write_sample

    click.echo(str(write_sample(folder, seed)))
