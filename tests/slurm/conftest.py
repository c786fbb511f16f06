import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scancel")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Start a Slurm of one node; yield the variables of a run on it."""
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"no {', '.join(missing)} here: apt-get install slurm-wlm munge")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        with (folder / "start.txt").open("w") as log:  # a pipe would wait for the daemons' end
            started = subprocess.run(["sh", HERE / "start.sh", folder], stdout=log, stderr=log)
        if started.returncode:
            pytest.fail(f"no Slurm: {(folder / 'start.txt').read_text()}", pytrace=False)
        yield {**os.environ, "SNAKEMAKE_PROFILE": str(HERE / "profile")}
    finally:
        subprocess.run(["sh", HERE / "stop.sh", folder], check=True)
