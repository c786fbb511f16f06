"""Command line: parse, call one function, report. Heavy imports wait until a command runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaging.commands import CommandGroup, OutputFile
from imaging.errors import KitError

if TYPE_CHECKING:
    from inference.manifest import Manifest

_FILE = click.Path(path_type=Path)
_MANIFEST = "weights_manifest.json"
_CROPS = click.Choice(["none", "nonzero", "body"])


@click.group(cls=CommandGroup)
def main() -> None:
    """Label the organs on abdominal CTs."""


def _network_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of everything that runs the network."""
    engines = click.Choice(["auto", "openvino", "onnxruntime", "tensorrt", "tensorrt-rtx", "torch"])
    precisions = click.Choice(["auto", "f32", "bf16", "int8"])
    limit = click.FloatRange(min=0, min_open=True)
    for option in reversed(
        (
            click.option("--manifest", default=_MANIFEST, type=_FILE, show_default=True),
            click.option("--weights", type=_FILE, help="ONNX file, where the manifest's is not."),
            click.option("--engine", default="auto", show_default=True, type=engines),
            click.option("--threads", default=0, type=click.IntRange(min=0), help="0: all cores."),
            click.option("--precision", default="auto", type=precisions),
            click.option("--step", type=click.FloatRange(0.1, 1.0), help="Share of a patch."),
            click.option("--blending", type=click.Choice(["gaussian", "constant"])),
            click.option("--tta", type=click.Choice(["none", "flip-x", "full"]), help="Flips."),
            click.option("--crop", type=_CROPS, help="What to look at; the rest is background."),
            click.option(
                "--time-limit",
                "time_limit_s",
                type=limit,
                envvar="FLARE23_TIME_LIMIT",
                help="Seconds a case: the step is widened to keep it.",
            ),
            click.option(
                "--memory-limit",
                "memory_limit_mib",
                type=limit,
                envvar="FLARE23_MEMORY_LIMIT",
                help="MiB: a case that will need more says so.",
            ),
        )
    ):
        command = option(command)
    return command


@main.command()
@click.argument("inputs", type=_FILE)
@click.argument("outputs", type=_FILE)
@_network_options
@click.option("--clean/--no-clean", default=True, help="The manifest's component rules.")
@click.option("--strict", is_flag=True, help="Refuse a CT about which there is a warning.")
@click.option("--report", type=OutputFile(), help="Where run.json goes; by default into OUTPUTS.")
def predict(
    inputs: Path,
    outputs: Path,
    manifest: Path,
    weights: Path | None,
    report: Path | None,
    **settings: Any,
) -> None:
    """Label every INPUTS/<case>_0000.nii.gz into OUTPUTS/<case>.nii.gz.

    Exit code 0: all cases done; 1: a case or the run failed (the others are done); 2: wrong usage;
    143: ended by SIGTERM.
    """
    from inference.termination import ending_on_sigterm

    with ending_on_sigterm():
        from inference.predictor import Settings
        from inference.screen import predict_inputs

        described = _described(manifest, weights, settings["engine"])
        run_json = report or outputs / "run.json"
        done = predict_inputs(inputs, outputs, described, Settings(**settings), run_json)
    if done.failed:
        raise KitError(f"{len(done.failed)} of {len(done.cases)} cases failed; see above")


@main.command()
@click.argument("ct", type=_FILE)
@_network_options
@click.option("-o", "--output", type=OutputFile(), help="JSON file.")
def plan(
    ct: Path, manifest: Path, weights: Path | None, output: Path | None, **settings: Any
) -> None:
    """Say what CT will take, before it is labelled, from the time of one window.

    Exit code 1: no step keeps the limits.
    """
    from inference.predictor import Settings
    from inference.tools.plan import plan_on_screen

    described = _described(manifest, weights, settings["engine"])
    over = plan_on_screen(ct, described, Settings(**settings), output)
    if over:
        raise KitError(f"{ct.name}: {'; '.join(over)}")


@main.command()
@click.argument("ct", type=_FILE)
@click.argument("truth", type=_FILE)
@click.option("--manifest", default=_MANIFEST, type=_FILE, show_default=True)
@click.option("--crop", type=_CROPS, help="What to look at; by default as the manifest has it.")
@click.option("-o", "--output", type=OutputFile(), help="JSON file.")
def outside(ct: Path, truth: Path, manifest: Path, crop: str | None, output: Path | None) -> None:
    """Say how much of TRUTH lies outside of what is looked at on CT.

    Exit code 1: a labelled voxel does.
    """
    from inference.manifest import load_manifest
    from inference.tools.outside import outside_on_screen

    described = load_manifest(manifest)
    missed = outside_on_screen(ct, truth, described, crop or described.crop, output)
    if missed:
        raise KitError(f"{ct.name}: {missed} labelled voxels lie outside; use --crop none")


def _described(manifest: Path, weights: Path | None, engine: str) -> "Manifest":
    """Read the manifest; with the user's own ONNX file if there is one."""
    from inference.manifest import load_manifest

    if weights is not None and engine == "torch":
        raise click.UsageError("--weights is an ONNX file; the torch engine takes the manifest's")
    described = load_manifest(manifest)
    return described if weights is None else described.with_onnx(weights)


@main.command()
@click.argument("manifest", default=_MANIFEST, type=_FILE)
def verify(manifest: Path) -> None:
    """Check every weights file that MANIFEST names."""
    import json

    from inference.manifest import load_manifest, verify_files

    described = load_manifest(manifest)
    verify_files(described)
    click.echo(json.dumps({"name": described.name, "verified": sorted(described.files)}))


@main.group("engine")
def engine_commands() -> None:
    """Build what a GPU runs."""


@engine_commands.command()
@click.option("--engine", required=True, type=click.Choice(["tensorrt", "tensorrt-rtx"]))
@click.option("--target", help="Kinds of GPU: sm75,sm86,…; by default the one that is here.")
@click.option("--precision", default="fp16", show_default=True, type=click.Choice(["fp16"]))
@click.option("--manifest", default=_MANIFEST, type=_FILE, show_default=True)
@click.option("--parity-case", type=_FILE, help="CT to compare on; by default a generated one.")
@click.option("-o", "--output", type=_FILE, help="By default plans/ beside the ONNX file.")
def build(manifest: Path, target: str | None, output: Path | None, **settings: Any) -> None:
    """Build plans of the manifest's network for TensorRT or TensorRT-RTX.

    Exit code 1: a plan cannot be built, or its logits are not the network's; the others stay.
    """
    from inference.builders.screen import build_on_screen
    from inference.builders.tensorrt_build import Request
    from inference.engines.tensorrt_index import plan_folder
    from inference.manifest import load_manifest

    described = load_manifest(manifest)
    targets = tuple(part.strip() for part in target.split(",")) if target else ()
    folder = output or plan_folder(described)
    build_on_screen(Request(described, targets=targets, folder=folder, **settings))


@main.command()
@click.argument("ct", type=_FILE)
@click.argument("labels", type=_FILE)
@click.option("-o", "--output", required=True, type=OutputFile(), help="PNG file.")
def show(ct: Path, labels: Path, output: Path) -> None:
    """Draw LABELS over CT: three planes, contours, legend."""
    from inference.tools.show import overlay_png

    for warning in overlay_png(ct, labels, output):
        click.echo(f"{ct.name}: {warning}", err=True)


@main.command()
@click.argument("folder", type=_FILE)
def sample(folder: Path) -> None:
    """Copy a small real CT into FOLDER, to try `predict` on."""
    from inference.tools.sample import write_sample

    click.echo(str(write_sample(folder)))
