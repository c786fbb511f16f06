"""Let `python -m train` run the command line."""

from train.cli import main

main(prog_name="python -m train")
