"""Command line of the benchmarks: `python -m evaluation.benchmark`."""

from pathlib import Path

import click

from inference.commands import CommandGroup


@click.group(cls=CommandGroup)
def main() -> None:
    """Measure speed and memory on this machine, in alternating runs."""


@main.command()
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file of the results.")
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


if __name__ == "__main__":
    main(prog_name="python -m evaluation.benchmark")
