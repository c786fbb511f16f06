"""Let `python -m inference` run the command line."""

from inference.cli import main

main(prog_name="python -m inference")
