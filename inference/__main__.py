"""Let `python -m inference` run the command line."""

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no matrices here: NumPy starts no threads

from inference.cli import main

try:
    main(prog_name="python -m inference")
except SystemExit as ended:
    if not isinstance(ended.code, int):
        raise
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended.code)  # all is written and closed; taking the engine's libraries apart is not
