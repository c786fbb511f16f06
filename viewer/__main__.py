"""Let `python -m viewer` run the command line."""

from viewer.cli import main

main(prog_name="python -m viewer")
