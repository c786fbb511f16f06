"""Command line of the training side's benchmarks: `python -m train.benchmark`."""

import json
from pathlib import Path

import click

from inference.commands import CommandGroup, OutputFile

_REPEATS = click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
_FILE = click.option("-o", "--output", required=True, type=OutputFile(), help="JSON file.")


@click.group(cls=CommandGroup)
def main() -> None:
    """Measure what determinism costs, ways to restore labels, and rules that fuse them."""


@main.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_REPEATS
@click.option("--epochs", type=click.IntRange(min=2), default=3, show_default=True)
@click.option("--iterations", type=click.IntRange(min=1), default=6, show_default=True)
@_FILE
def epochs(recipe: Path, repeats: int, epochs: int, iterations: int, output: Path) -> None:
    """Seconds an epoch of the kit's trainer against nnU-Net's own."""
    from train.benchmark.epochs import benchmark_epochs

    benchmark_epochs(recipe, repeats, epochs, iterations, output)


@main.command(hidden=True)
@click.argument("trainer")
@click.argument("epochs", type=int)
@click.argument("iterations", type=int)
@click.argument("threads", type=int)
def epoch(trainer: str, epochs: int, iterations: int, threads: int) -> None:
    """Train in this process."""
    from train.benchmark.epochs import train_once

    train_once(trainer, epochs, iterations, threads)


@main.command()
@_REPEATS
@_FILE
def labels(repeats: int, output: Path) -> None:
    """Seconds and memory from logits to labels on the CT's own voxels, three ways."""
    from train.benchmark.labels import benchmark_labels

    benchmark_labels(repeats, output)


@main.command()
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_FILE
def bound(manifest: Path, output: Path) -> None:
    """One window's seconds, and the least they could be on this CPU."""
    from train.benchmark.bound import benchmark_bound

    benchmark_bound(manifest, output)


@main.command()
@click.argument("truth", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seed", default=20231007, show_default=True)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
def sources(truth: Path, seed: int, output: Path) -> None:
    """Make sources of pseudo labels with known errors of the true label maps in TRUTH."""
    from train.benchmark.sources import write_sources

    click.echo(json.dumps({"cases": write_sources(truth, seed, output)}))


@main.command(hidden=True)
@click.argument("way")
@click.argument("logits", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
def restore(way: str, logits: Path, target: Path) -> None:
    """Restore labels in this process."""
    from train.benchmark.labels import restore_once

    restore_once(way, logits, target)


if __name__ == "__main__":
    main(prog_name="python -m train.benchmark")
