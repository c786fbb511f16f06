"""Let `python -m flare23` run the command line."""

from flare23.cli import main

main(prog_name="python -m flare23")
