"""Command line of the benchmarks: `python -m evaluation.benchmark`."""

from pathlib import Path

import click

from inference.commands import CommandGroup, OutputFile

_PATH = click.Path(path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(cls=CommandGroup)
def main() -> None:
    """Measure speed and memory on this machine, in alternating runs."""


@main.command()
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("-o", "--output", type=OutputFile(), help="JSON file of the results.")
def score(repeats: int, output: Path | None) -> None:
    """`evaluation score` against a plain transcription of the official rules."""
    from evaluation.benchmark.score import benchmark_score

    benchmark_score(repeats, output)


@main.command()
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
def distances(repeats: int) -> None:
    """Surface distances by k-d tree, SciPy, SimpleITK, and `edt` where it is installed."""
    from evaluation.benchmark.distances import benchmark_distances

    benchmark_distances(repeats)


@main.command()
@click.argument("cts", nargs=-1, required=True, type=_FILE)
@click.option("--manifest", default="weights_manifest.json", type=_FILE, show_default=True)
@click.option("--model", type=_FOLDER, help="nnU-Net's folder of the same network.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("-o", "--output", required=True, type=_PATH, help="Folder of results.")
def inference(
    cts: tuple[Path, ...], manifest: Path, model: Path | None, repeats: int, output: Path
) -> None:
    """`inference predict` against nnU-Net, stock and tuned, on CTS (<case>_0000.nii.gz)."""
    from evaluation.benchmark.inference import benchmark_inference

    benchmark_inference(cts, manifest, model, repeats, output)


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
    from evaluation.benchmark.scans import lay
    from inference.geometry import Grid

    lay(ct, Grid((slices, size, size), (thickness_mm, pixel_mm, pixel_mm)), target)


if __name__ == "__main__":
    main(prog_name="python -m evaluation.benchmark")
