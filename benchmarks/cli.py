"""Command line of the benchmarks: `python -m benchmarks`."""

import json
from pathlib import Path

import click

from imaging.commands import CommandGroup, OutputFile
from inference.shipped import DEFAULT_MANIFEST

_REPEATS = click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
_OUTPUT = click.option("-o", "--output", required=True, type=OutputFile(), help="JSON file.")
_PATH = click.Path(path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_CTS = click.argument("cts", nargs=-1, required=True, type=_FILE)
_MANIFEST = click.option(
    "--manifest", default=DEFAULT_MANIFEST, type=_FILE, help="Default: the default weights."
)


@click.group(cls=CommandGroup)
def main() -> None:
    """Measure speed and memory on this machine, in alternating runs."""


@main.command("score")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("-o", "--output", type=OutputFile(), help="JSON file of the results.")
def score_speed(repeats: int, output: Path | None) -> None:
    """`evaluation score` against a plain transcription of the official rules."""
    from benchmarks.score import benchmark_score

    benchmark_score(repeats, output)


@main.command()
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
def distances(repeats: int) -> None:
    """Surface distances by k-d tree, SciPy, SimpleITK, and `edt` where it is installed."""
    from benchmarks.distances import benchmark_distances

    benchmark_distances(repeats)


@main.command()
@_CTS
@_MANIFEST
@click.option("--model", type=_FOLDER, help="nnU-Net's folder of the same network.")
@click.option("--int8", is_flag=True, help="Also the kit with the manifest's 8-bit weights.")
@_REPEATS
@click.option("-o", "--output", required=True, type=_PATH, help="Folder of results.")
def inference(
    cts: tuple[Path, ...],
    manifest: Path,
    model: Path | None,
    int8: bool,
    repeats: int,
    output: Path,
) -> None:
    """`inference predict` against nnU-Net, stock and tuned, on CTS (<case>_0000.nii.gz)."""
    from benchmarks.prediction import benchmark_inference

    benchmark_inference(cts, manifest, model, repeats, output, int8=int8)


@main.command()
@click.argument("ct", type=_FILE)
@_MANIFEST
@click.option("--model", type=_FOLDER, help="nnU-Net's folder of the same network.")
@click.option(
    "--most-baseline", type=click.IntRange(min=0), default=296, show_default=True,
    help="Slices up to which nnU-Net is run: its logits on the CT's voxels fill the memory.",
)  # fmt: skip
@_REPEATS
@click.option("-o", "--output", required=True, type=_PATH, help="Folder of results.")
def slices(
    ct: Path, manifest: Path, model: Path | None, most_baseline: int, repeats: int, output: Path
) -> None:
    """Seconds by number of slices, 40 to 2,651: CT is laid on grids of 512×512."""
    from benchmarks.slices import benchmark_slices

    benchmark_slices(ct, manifest, model, repeats, most_baseline, output)


@main.command("localiser")
@click.argument("images", type=_FOLDER)
@click.argument("labels", nargs=-1, type=_FOLDER)
@_MANIFEST
@click.option("--bodies", type=click.IntRange(min=0), default=10, show_default=True)
@_OUTPUT
def localiser_box(
    images: Path, labels: tuple[Path, ...], manifest: Path, bodies: int, output: Path
) -> None:
    """The localiser's box on IMAGES with LABELS, and on generated bodies from head to toe."""
    from benchmarks.localiser import benchmark_localiser

    benchmark_localiser(images, labels, manifest, bodies, output)


@main.command()
@click.argument("ct", type=_FILE)
@click.argument("target", type=OutputFile())
@click.option("--slices", type=click.IntRange(min=1), default=172, show_default=True)
@click.option("--size", type=click.IntRange(min=1), default=512, show_default=True)
@click.option("--thickness-mm", type=float, default=2.5, show_default=True)
@click.option("--pixel-mm", type=float, default=0.82, show_default=True)
def scan(
    ct: Path, target: Path, slices: int, size: int, thickness_mm: float, pixel_mm: float
) -> None:
    """Lay CT on another grid, mirrored on and on along the body; by default FLARE23's median."""
    from benchmarks.scans import lay
    from imaging.geometry import Grid

    lay(ct, Grid((slices, size, size), (thickness_mm, pixel_mm, pixel_mm)), target)


@main.command()
@click.argument("recipe", type=_FILE)
@_REPEATS
@click.option("--epochs", type=click.IntRange(min=2), default=3, show_default=True)
@click.option("--iterations", type=click.IntRange(min=1), default=6, show_default=True)
@_OUTPUT
def epochs(recipe: Path, repeats: int, epochs: int, iterations: int, output: Path) -> None:
    """Seconds an epoch of the kit's trainer against nnU-Net's own."""
    from benchmarks.epochs import benchmark_epochs

    benchmark_epochs(recipe, repeats, epochs, iterations, output)


@main.command()
@click.argument("recipe", type=_FILE)
@click.option("--batches", type=click.IntRange(min=2), default=41, show_default=True)
@_OUTPUT
def feeding(recipe: Path, batches: int, output: Path) -> None:
    """CPU seconds of what a training on a GPU is fed with: cases prepared, batches drawn."""
    from benchmarks.feeding import benchmark_feeding

    benchmark_feeding(recipe, batches, output)


@main.command()
@_REPEATS
@_OUTPUT
def labels(repeats: int, output: Path) -> None:
    """Seconds and memory from logits to labels on the CT's own voxels, three ways."""
    from benchmarks.labels import benchmark_labels

    benchmark_labels(repeats, output)


@main.command()
@click.argument("manifest", type=_FILE)
@_OUTPUT
def bound(manifest: Path, output: Path) -> None:
    """One window's seconds, and the least they could be on this CPU."""
    from benchmarks.bound import benchmark_bound

    benchmark_bound(manifest, output)


@main.command()
@click.argument("truth", type=_FOLDER)
@click.option("--seed", default=20231007, show_default=True)
@click.option("-o", "--output", required=True, type=_PATH)
def sources(truth: Path, seed: int, output: Path) -> None:
    """Make sources of pseudo labels with known errors of the true label maps in TRUTH."""
    from benchmarks.sources import write_sources

    click.echo(json.dumps({"cases": write_sources(truth, seed, output)}))


@main.command()
@click.argument("work", type=_FOLDER)
@click.option(
    "--left-out", multiple=True, required=True, help="Case that judges; all of a patient."
)
@click.option("--steps", type=click.IntRange(min=1), default=800, show_default=True)
@click.option("--patch", type=(int, int, int), default=(48, 64, 64), show_default=True)
@click.option(
    "--only", multiple=True, metavar="FAMILY",
    help='Train only the variant without this, or "all families"; may be repeated.',
)  # fmt: skip
@_OUTPUT
def augmentation(
    work: Path,
    left_out: tuple[str, ...],
    steps: int,
    patch: tuple[int, int, int],
    only: tuple[str, ...],
    output: Path,
) -> None:
    """What each family of sample changes brings to the default weights: WORK of `train small`.

    With --only, the other variants stay as an earlier run with the same settings wrote them.
    """
    from benchmarks.augmentation import VARIANTS, benchmark_augmentation

    if unknown := set(only) - set(VARIANTS):
        raise click.UsageError(
            f"--only: no family {', '.join(sorted(unknown))}; choose from {', '.join(VARIANTS)}"
        )
    benchmark_augmentation(work, left_out, steps, patch, output, only)


@main.command()
@click.option(
    "--cases", "counts", multiple=True, type=click.IntRange(min=1), default=(100, 1000, 4000),
    show_default=True, help="How many; may be repeated, in rising order.",
)  # fmt: skip
@click.option("--folder", required=True, type=_PATH, help="New folder for releases and runs.")
@click.option(
    "--kills", type=click.IntRange(min=0), default=3, show_default=True,
    help="How often a second run of each size is killed, and continued; 0: no second run.",
)  # fmt: skip
@click.option(
    "--ct-mib", type=click.IntRange(min=1),
    help="Fill every CT's file up to this size, by zeros behind its end.",
)  # fmt: skip
@_OUTPUT
def scale(
    counts: tuple[int, ...], folder: Path, kills: int, ct_mib: int | None, output: Path
) -> None:
    """What whole runs take, stage by stage, with few cases and with many; and after kills."""
    from benchmarks.scale import benchmark_scale

    if list(counts) != sorted(set(counts)):
        raise click.UsageError("give --cases in rising order, each number once")
    benchmark_scale(counts, folder.resolve(), output, kills=kills, ct_mib=ct_mib)


@main.command()
@_CTS
@click.option("--truth", required=True, type=_FOLDER, help="Folder of <case>.nii.gz.")
@_MANIFEST
@_REPEATS
@_OUTPUT
def tta(cts: tuple[Path, ...], truth: Path, manifest: Path, repeats: int, output: Path) -> None:
    """What test-time augmentation gains and costs on CTS (<case>_0000.nii.gz)."""
    from benchmarks.tta import benchmark_tta

    benchmark_tta(cts, truth, manifest, repeats, output)
