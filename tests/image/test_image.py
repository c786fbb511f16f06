"""The challenge image as the organisers run it, on a real Docker engine: marker docker."""

import gzip
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import imaging
from imaging.label_maps import read_label_map
from imaging.volumes import read_header, read_place
from tests.imaging import bad_files

ROOT = Path(__file__).parents[2]
TEAM = "flare23kit"
CASES = ("CHAOS_3", "CRLM_1004", "TS_example")
MOST_MB_OVER_BASE = 600
HEADER_BYTES = 352
LATEST_S = 120  # far more than it needs: nothing is asserted of it

pytestmark = pytest.mark.docker


def docker(*words, check=True):
    words = ["docker", *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, check=check)


@pytest.fixture
def folders(tmp_path):
    inputs, outputs = tmp_path / "inputs", tmp_path / "outputs"
    inputs.mkdir()
    outputs.mkdir()
    outputs.chmod(0o777)
    return inputs, outputs


def words_of(inputs, outputs, *flags, command="sh predict.sh"):
    """The organisers' command line without --gpus, and with more flags."""
    return (
        *("container", "run", "--shm-size=28gb", "-m", "28G", "--name", TEAM, "--rm"),
        *("-v", f"{inputs}/:/workspace/inputs/"),
        *(() if outputs is None else ("-v", f"{outputs}/:/workspace/outputs/")),
        *(*flags, f"{TEAM}:latest", "/bin/bash", "-c", command),
    )


def report_of(outputs):
    return json.loads((outputs / "run.json").read_text(encoding="utf-8"))


def good(inputs, data_dir, case="TS_example"):
    shutil.copy(data_dir / "ct" / f"{case}_0000.nii.gz", inputs)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def lines_of(case, done):
    assert "Traceback" not in done.stderr + done.stdout
    return [line for line in done.stderr.splitlines() if line.startswith(f"{case}: ")]


# ----- what is in it --------------------------------------------------------------------------


def test_it_is_small_and_says_what_it_is(archive):
    size = {
        name: int(docker("image", "inspect", "--format", "{{.Size}}", name).stdout)
        for name in (f"{TEAM}:latest", f"{TEAM}-base:bookworm")
    }
    over = size[f"{TEAM}:latest"] - size[f"{TEAM}-base:bookworm"]
    assert over <= MOST_MB_OVER_BASE * 1_000_000
    told = docker("image", "inspect", "--format", "{{json .Config.Labels}}", f"{TEAM}:latest")
    labels = json.loads(told.stdout)
    assert labels["org.opencontainers.image.version"] == imaging.__version__
    assert re.fullmatch("[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    digest = subprocess.run(
        ["sha256sum", ROOT / "weights_manifest.json"], capture_output=True, text=True, check=True
    )
    assert labels["flare23.manifest.sha256"] == digest.stdout.split()[0]


def test_it_holds_what_predicts_and_nothing_else(archive, folders):
    inside = "ls -A; ls /opt"
    done = docker("run", "--rm", "--network", "none", f"{TEAM}:latest", "/bin/bash", "-c", inside)
    kit = {"imaging", "inference", "predict.sh", "weights", "weights_manifest.json"}
    listing = {"sbom.cdx.json", "licences.txt.gz"}
    assert {*done.stdout.split()} == kit | listing | {"pycache", "venv"}
    code = (
        "import importlib.util as u, shutil; "
        "print([m for m in ('pip', 'torch', 'nnunetv2', 'train', 'evaluation', 'scipy', "
        "'openvino_telemetry') if u.find_spec(m)], "
        "[p for p in ('gcc', 'cc', 'make', 'pip', 'pip3') if shutil.which(p)])"
    )
    python = ("run", "--rm", f"{TEAM}:latest", "/opt/venv/bin/python", "-c", code)
    assert docker(*python).stdout == "[] []\n"


# ----- the organisers' way --------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_a_real_ct_by_the_organisers_command_line(archive, folders, data_dir, case):
    inputs, outputs = folders
    good(inputs, data_dir, case)
    done = docker(*words_of(inputs, outputs), check=False)
    assert done.returncode == 0, done.stderr
    assert files_in(outputs) == [f"{case}.nii.gz", "run.json"]
    ct = inputs / f"{case}_0000.nii.gz"
    found = read_label_map(outputs / f"{case}.nii.gz")
    assert found.elsewhere_than(read_place(ct), read_header(ct).shape) is None
    assert {1, 3, 5, 11} <= set(found.labels[found.labels > 0].tolist()) <= set(range(1, 15))


# ----- faults ---------------------------------------------------------------------------------

REFUSED = {
    bad_files.truncated_gzip: "damaged or truncated",
    bad_files.nothing_in_it: "not a NIfTI-1 file",
    bad_files.not_a_nifti: "not a NIfTI-1 file",
    bad_files.two_dimensions: "a CT has three dimensions",
    bad_files.four_dimensions: "a CT has three dimensions",
    bad_files.not_a_number: "3 voxels are NaN or infinite",
    bad_files.zero_spacing: "voxel size 2 × 2 × 0 mm is not positive",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_a_bad_file_is_one_line_and_the_other_case_is_done(archive, folders, data_dir, make):
    inputs, outputs = folders
    good(inputs, data_dir)
    make(inputs / "bad_0000.nii.gz", bad_files.write_ct)
    done = docker(*words_of(inputs, outputs, "--network", "none"), check=False)
    assert done.returncode == 1
    (line,) = lines_of("bad", done)
    assert line.startswith("bad: failed: bad_0000.nii.gz: ")
    assert REFUSED[make] in line
    (line,) = lines_of("TS_example", done)
    assert line.startswith("TS_example: done in ")
    for name in files_in(outputs):
        assert name in {"TS_example.nii.gz", "bad.nii.gz", "run.json"}
    assert read_label_map(outputs / "TS_example.nii.gz").labels.any()
    if (outputs / "bad.nii.gz").exists():  # with the CT's own header, which may be the damage
        voxels = gzip.decompress((outputs / "bad.nii.gz").read_bytes())[HEADER_BYTES:]
        assert voxels
        assert not any(voxels)


def test_a_sheared_direction_is_labelled_and_told(archive, folders):
    inputs, outputs = folders
    bad_files.sheared(inputs / "odd_0000.nii.gz", bad_files.write_ct)
    done = docker(*words_of(inputs, outputs), check=False)
    assert done.returncode == 0, done.stderr
    (line,) = lines_of("odd", done)
    assert "not orthonormal; the nearest rotation was used" in line
    assert files_in(outputs) == ["odd.nii.gz", "run.json"]


def error_of(done):
    assert "Traceback" not in done.stderr + done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return line


def test_empty_inputs(archive, folders):
    done = docker(*words_of(*folders), check=False)
    assert done.returncode == 1
    assert "inputs holds no <case>_0000.nii.gz" in error_of(done)
    assert files_in(folders[1]) == []


def test_outputs_that_cannot_be_written_to(archive, folders, data_dir):
    inputs, outputs = folders
    good(inputs, data_dir)
    words = words_of(inputs, None, "-v", f"{outputs}/:/workspace/outputs/:ro")
    done = docker(*words, check=False)
    assert done.returncode == 1
    assert "cannot write to outputs: Read-only file system" in error_of(done)


def test_full_outputs(archive, folders, data_dir):
    inputs, _ = folders
    good(inputs, data_dir, "CHAOS_3")  # its map has 240 kB
    bad_files.sheared(inputs / "small_0000.nii.gz", bad_files.write_ct)
    full = ("--mount", "type=tmpfs,destination=/workspace/outputs,tmpfs-size=100k")
    command = "sh predict.sh; code=$?; gzip -t outputs/*.gz && ls -A outputs; exit $code"
    done = docker(*words_of(inputs, None, *full, command=command), check=False)
    assert done.returncode == 1
    (line,) = lines_of("CHAOS_3", done)
    assert "cannot write outputs/CHAOS_3.nii.gz: No space left on device" in line
    assert line.endswith("an empty label map was written in its place")  # there is room for that
    assert sorted(done.stdout.split()) == ["CHAOS_3.nii.gz", "run.json", "small.nii.gz"]


def test_a_wrong_digest(archive, folders, data_dir, tmp_path):
    inputs, outputs = folders
    good(inputs, data_dir)
    flags = []
    for name in ("flare23_default.onnx", "flare23_default_int8.bin"):  # the CPU says which is used
        content = bytearray((ROOT / "weights" / name).read_bytes())
        content[-1] ^= 1
        (tmp_path / name).write_bytes(content)
        flags += ["-v", f"{tmp_path / name}:/workspace/weights/{name}:ro"]
    done = docker(*words_of(inputs, outputs, *flags), check=False)
    assert done.returncode == 1
    assert re.search(r"flare23_default(\.onnx|_int8\.bin): sha256 ", error_of(done))
    assert files_in(outputs) == []


def test_sigterm_in_the_middle(archive, folders, data_dir):
    inputs, outputs = folders
    for case in CASES:
        good(inputs, data_dir, case)
    process = subprocess.Popen(
        ["docker", *words_of(inputs, outputs)], stderr=subprocess.PIPE, text=True
    )
    latest_s = time.monotonic() + LATEST_S
    while not (outputs / "CHAOS_3.nii.gz").is_file() and time.monotonic() < latest_s:
        time.sleep(0.01)
    docker("stop", "--time", LATEST_S, TEAM)  # then it would be killed: exit code 137
    _, told = process.communicate(timeout=LATEST_S)
    assert process.returncode == 143
    assert "Traceback" not in told
    assert told.splitlines()[-1] == (
        "Error: ended by SIGTERM; the label maps that are there are whole"
    )
    found = files_in(outputs)
    assert "CHAOS_3.nii.gz" in found
    assert "TS_example.nii.gz" not in found
    status = {row["case"]: row["status"] for row in report_of(outputs)["cases"]}
    assert status["CHAOS_3"] == "done"
    assert status["TS_example"] == "not reached"
    for name in found:
        if name.endswith(".nii.gz"):
            read_label_map(outputs / name)
