"""Command line: parse, call one function, report. Heavy imports wait until a command runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaging.commands import CommandGroup, NamedPath, OutputFile
from imaging.errors import KitError
from imaging.words import number_of
from inference.shipped import DEFAULT_MANIFEST

if TYPE_CHECKING:
    from inference.manifest import Manifest
    from inference.pipeline import Beside

FILE = NamedPath()
KINDS = ("dicom-seg", "seg-nrrd", "itk-snap", "masks", "statistics", "preview")
"""As in `inference.outputs.writing`, which is imported only if one is requested."""
CROPS = click.Choice(["none", "nonzero", "body", "organs"])
MANIFEST = click.option(
    "--manifest",
    default=DEFAULT_MANIFEST,
    type=FILE,
    show_default="the default weights",
    help="The network and how to use it.",
)
TTA = click.Choice(["none", "shift", "finer", "scales", "flip-x", "full"])
"""As in `inference.augmentation`, which is imported only if one is requested."""
_TOOLS = ("card", "engine", "estimate", "outside", "sample", "show", "verify")


def _names(context: click.Context, option: click.Parameter, values: Any) -> tuple[str, ...]:
    """Return the names in an option's values, which have commas between them."""
    names = (name.strip() for value in values for name in value.split(","))
    return tuple(filter(None, names))


def _kinds(context: click.Context, option: click.Parameter, values: Any) -> tuple[str, ...]:
    """Return the kinds of output in an option's values."""
    names = _names(context, option, values)
    if odd := [name for name in names if name not in KINDS]:
        raise click.BadParameter(f"{', '.join(odd)} is none of: {', '.join(KINDS)}")
    return names


class _Commands(CommandGroup):
    """Loads commands other than `predict` from `inference.tools.commands`, only when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted((*self.commands, *_TOOLS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command."""
        if cmd_name not in _TOOLS:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(import_module("inference.tools.commands"), cmd_name)
        return found


@click.group(cls=_Commands)
def main() -> None:
    """Label the organs on abdominal CTs."""


def network_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of everything that runs the network."""
    engines = click.Choice(["auto", "openvino", "onnxruntime", "tensorrt", "tensorrt-rtx", "torch"])
    precisions = click.Choice(["auto", "f32", "bf16", "int8"])
    limit = click.FloatRange(min=0, min_open=True)
    for option in reversed(
        (
            MANIFEST,
            click.option("--weights", type=FILE, help="ONNX file, where the manifest's is not."),
            click.option("--engine", default="auto", show_default=True, type=engines),
            click.option("--threads", default=0, type=click.IntRange(min=0), help="0: all cores."),
            click.option(
                "--device", default=0, type=click.IntRange(min=0), help="GPU, where one is used."
            ),
            click.option("--precision", default="auto", type=precisions),
            click.option("--step", type=click.FloatRange(0.1, 1.0), help="Share of a patch."),
            click.option("--blending", type=click.Choice(["gaussian", "constant"])),
            click.option("--tta", type=TTA, help="Test-time augmentation."),
            click.option("--crop", type=CROPS, help="Region of interest; the rest is background."),
            click.option(
                "--time-limit",
                "time_limit_s",
                type=limit,
                envvar="FLARE23_TIME_LIMIT",
                help="Seconds a case: less augmentation, then a wider step, to keep it.",
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
@click.argument("inputs", type=FILE)
@click.argument("outputs", type=FILE)
@network_options
@click.option(
    "--challenge", is_flag=True, help="Only INPUTS/<case>_0000.nii.gz are cases, as in FLARE23."
)
@click.option("--series", multiple=True, help="UID or number of a DICOM series; may be repeated.")
@click.option("--clean/--no-clean", default=True, help="The manifest's component rules.")
@click.option("--strict", is_flag=True, help="Refuse a CT about which there is a warning.")
@click.option("--report", type=OutputFile(), help="Where run.json goes; by default into OUTPUTS.")
@click.option(
    "--organs",
    multiple=True,
    callback=_names,
    metavar="NAME,…",
    help="Keep only these labels, such as liver,spleen; by default all.",
)
@click.option(
    "--also",
    multiple=True,
    callback=_kinds,
    metavar="KIND,…",
    help=f"Write more than label maps, one or several of: {', '.join(KINDS)}.",
)
@click.option("--preview", is_flag=True, help="A picture of each case; short for --also preview.")
def predict(
    inputs: Path,
    outputs: Path,
    manifest: Path,
    weights: Path | None,
    report: Path | None,
    also: tuple[str, ...],
    preview: bool,
    challenge: bool,
    series: tuple[str, ...],
    **settings: Any,
) -> None:
    """Label every CT of INPUTS into OUTPUTS/<case>.nii.gz.

    INPUTS is a CT (.nii, .nii.gz, .nrrd, .mha, .mhd), a folder of such files, or DICOM: a file, a
    folder, a tree of folders or a .zip. A case is named by its file or folder.

    Exit code 0: all cases done; 1: a case or the run failed (the others are done); 2: wrong usage;
    143: ended by SIGTERM.
    """
    if challenge and series:
        raise click.UsageError("--series is for DICOM, which --challenge does not read")
    from inference.termination import ending_on_sigterm

    with ending_on_sigterm():
        from inference.screen import predict_inputs
        from inference.settings import Settings

        described = described_network(manifest, weights)
        run_json = report or outputs / "run.json"
        kinds = also + ("preview",) * preview
        with _beside(kinds, outputs, described, settings["organs"]) as beside:
            done = predict_inputs(
                inputs,
                outputs,
                described,
                Settings(**settings),
                run_json,
                beside,
                challenge=challenge,
                series=series,
            )
    if done.failed:
        raise KitError(
            f"{len(done.failed)} of {number_of(len(done.cases), 'case')} failed; see above"
        )


@contextmanager
def _beside(
    kinds: tuple[str, ...], outputs: Path, manifest: "Manifest", organs: tuple[str, ...]
) -> "Iterator[Beside | None]":
    """Yield what writes other outputs of `kinds`; labels that there are not are wrong usage."""
    try:
        manifest.chosen(organs)
    except KitError as error:
        raise click.UsageError(f"--organs: {error}") from error
    if not kinds:
        yield None
        return
    from inference.outputs.writing import Outputs

    with Outputs(kinds, outputs, manifest, organs) as chosen:
        yield chosen.write


def described_network(manifest: Path, weights: Path | None) -> "Manifest":
    """Read the manifest; with the user's own ONNX file if there is one."""
    from inference.manifest import load_manifest

    described = load_manifest(manifest)
    return described if weights is None else described.with_onnx(weights)
