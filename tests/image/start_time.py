"""How long a container takes until it begins to read its CT.

`python -m tests.image.start_time TEAM -o RESULT.json`: the CT is a pipe, whose opening this program
is told of. In turn with it, the same container opens the pipe by bash: what Docker takes alone.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import click
import psutil

from evaluation.efficiency.containers import named, open_image, remove_container, run_flags
from evaluation.efficiency.processes import Workspace
from imaging.files import replacing
from imaging.machine import cpu_name

RUNS = 10
COMMANDS = {"docker alone": ": <inputs/start_0000.nii.gz", "predict.sh": "sh predict.sh"}


def seconds_to_open(team, command):
    """From before `docker run` to the opening of the CT."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        workspace = Workspace(Path(folder))
        workspace.fill()
        pipe = workspace.inputs / "start_0000.nii.gz"
        os.mkfifo(pipe)
        id_file = workspace.folder / "container"
        flags = (*named(team), "--cidfile", str(id_file))
        words = [*run_flags(team, workspace, None, flags)[:-1], command]
        start_s = time.perf_counter()
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            with pipe.open("wb"):  # returns when somebody reads
                spent_s = time.perf_counter() - start_s
                if command == COMMANDS["predict.sh"]:
                    remove_container(id_file)
            run.wait()
    return spent_s


@click.command()
@click.argument("team")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
def main(team, output):
    """Measure both, in turn."""
    image = open_image(team)
    seen = {what: [] for what in COMMANDS}
    for _ in range(RUNS):
        for what, command in COMMANDS.items():
            seen[what].append(round(seconds_to_open(image.team, command), 3))
    medians = {what: statistics.median(values) for what, values in seen.items()}
    medians["predict.sh less docker alone"] = medians["predict.sh"] - medians["docker alone"]
    table = {
        "what": "seconds from `docker run` to the opening of the CT",
        "image": image.digest,
        "cpu": cpu_name(),
        "cores": psutil.cpu_count(),
        "load_average_1_min": round(os.getloadavg()[0], 2),
        "median_s": {what: round(value, 3) for what, value in medians.items()},
        "runs_s": seen,
    }
    with replacing(output) as partial:
        partial.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(table["median_s"]))


if __name__ == "__main__":
    main()
