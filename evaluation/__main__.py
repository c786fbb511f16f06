"""Let `python -m evaluation` run the command line."""

from evaluation.cli import main

main(prog_name="python -m evaluation")
