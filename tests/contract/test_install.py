"""`pip install .` gives the whole product: commands, weights and sample, from any folder."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

import imaging
from flare23.cli import SECTIONS
from flare23.cli import main as flare23
from imaging import extras
from imaging.commands import CommandGroup

ROOT = Path(__file__).parents[2]
PACKAGES = ("inference", "evaluation", "train", "benchmarks")


def run(*arguments, where, **environment):
    return subprocess.run(
        [str(argument) for argument in arguments],
        cwd=where,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what is in the repository, for a build may leave nothing behind in it."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = run("git", "ls-files", "-co", "--exclude-standard", where=ROOT).stdout.splitlines()
    for name in listed:
        if not (ROOT / name).is_file():
            continue  # deleted, not yet committed
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    words = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, "."]
    before = set(checkout.rglob("*"))
    built = run(sys.executable, *words, where=checkout)
    assert built.returncode == 0, built.stderr
    assert set(checkout.rglob("*")) == before  # no build/, no egg-info
    (found,) = folder.glob("flare23_kit-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the installed packages; the checkout is not on its path."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_the_wheel_has_the_weights_and_the_data_of_every_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = run("git", "ls-files", "imaging", "inference", "evaluation", "train", where=ROOT)
    assert {name for name in tracked.stdout.splitlines() if (ROOT / name).is_file()} <= names
    weights = json.loads((ROOT / "weights_manifest.json").read_text("utf-8"))["files"]
    files = {"weights_manifest.json", *(stored["path"] for stored in weights.values())}
    assert {f"inference/files/{name}" for name in files} <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]


def test_the_wheel_has_a_console_command_and_the_version(wheel):
    archive = zipfile.ZipFile(wheel)
    head = f"flare23_kit-{imaging.__version__}.dist-info"
    assert "flare23 = flare23.cli:main" in archive.read(f"{head}/entry_points.txt").decode()
    assert f"Version: {imaging.__version__}\n" in archive.read(f"{head}/METADATA").decode()


def test_the_installed_kit_labels_the_sample_from_any_folder(installed, tmp_path):
    def command(*words):
        return run(
            sys.executable, "-m", "flare23", *words, where=tmp_path, PYTHONPATH=str(installed)
        )

    done = command("verify")
    verified = ["int8", "int8_weights", "localiser", "onnx"]
    assert json.loads(done.stdout) == {"name": "flare23_default", "verified": verified}
    assert command("sample", "in").returncode == 0
    done = command("predict", "in", "out", "--threads", "1")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "run.json").read_text())
    assert report["kit"] == imaging.__version__
    assert report["cases"][0]["volumes_ml"]["liver"] > 1000


def test_the_console_command_has_every_command_of_the_packages():
    context = None
    for module, names in SECTIONS.values():
        group = import_module(module).main
        whole = module == "train.cli"
        expected = {"train", "package"} if whole else set(group.list_commands(context))
        assert set(names) == expected, module
    train = import_module("train.cli").main
    assert flare23.get_command(context, "train") is train
    assert flare23.get_command(context, "package") is train.get_command(context, "package")


@pytest.mark.parametrize("package", (*PACKAGES, "flare23"))
def test_help_has_a_whole_sentence_for_every_command(package):
    done = CliRunner().invoke(import_module(f"{package}.cli").main, ["--help"], prog_name="kit")
    listed = done.stdout.partition("--help")[2]
    assert "..." not in listed
    assert max(map(len, listed.splitlines())) <= 80


@pytest.mark.parametrize("package", (*PACKAGES, "flare23"))
def test_every_command_line_tells_its_version(package):
    done = CliRunner().invoke(import_module(f"{package}.cli").main, ["--version"])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"flare23-kit {imaging.__version__}, Python 3.")


def test_what_is_installable_is_what_the_kit_says_is_missing():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras._EXTRAS) <= set(project["optional-dependencies"])
    distributions = {"pynvml": "nvidia-ml-py", "surface_distance": "surface-distance"}
    for extra, names in extras._EXTRAS.items():
        text = " ".join(project["optional-dependencies"][extra])
        for name in names:
            if name != "dynamic_network_architectures":  # comes with nnunetv2
                assert distributions.get(name, name) in text


WITHOUT = "import sys; sys.modules[{name!r}] = None; from {module} import main; main({words!r})"


@pytest.mark.parametrize(
    ("name", "module", "words"),
    [
        ("scipy", "evaluation.cli", ["score", "--truth", ".", "--pred", ".", "-o", "s"]),
        ("matplotlib", "evaluation.cli", ["rank", ".", ".", "-o", "s"]),
        ("psutil", "evaluation.cli", ["efficiency", "--inputs", ".", "-o", "s", "--", "true"]),
        ("torch", "train.cli", ["export", ".", "-o", "s"]),
    ],
)
def test_a_missing_package_is_one_line_that_says_what_to_type(name, module, words, tmp_path):
    code = WITHOUT.format(name=name, module=module, words=words)
    done = run(sys.executable, "-c", code, where=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    extra = "train" if module == "train.cli" else "evaluation"
    command = f"run `{sys.executable} -m pip install '{ROOT}[{extra}]'`"
    assert done.stderr == f"Error: {name} is not installed; {command}\n"


def test_an_installed_kit_names_the_packages_of_an_extra(installed, tmp_path):
    code = "from imaging.extras import how_to_install; print(how_to_install('dicom'))"
    done = run(sys.executable, "-c", code, where=tmp_path, PYTHONPATH=str(installed))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = " ".join(f"'{line}'" for line in project["optional-dependencies"]["dicom"])
    assert done.stdout == f"run `{sys.executable} -m pip install {wanted}`\n"


def test_an_unknown_missing_module_is_a_bug_and_shows():
    group = CommandGroup("made")

    @group.command()
    def broken():
        import no_such_module_anywhere  # noqa: F401

    done = CliRunner().invoke(group, ["broken"])
    assert isinstance(done.exception, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("score -q", "-q comes before the command: flare23 -q score …"),
        (
            "train run --verbose",
            "--verbose comes before the command: flare23 train --verbose run …",
        ),
        ("train small fit -q", "-q comes before the command: flare23 train -q small fit …"),
        ("score -x", "No such option '-x'."),
        ("-x", "No such option '-x'."),
    ],
)
def test_an_option_of_all_commands_is_shown_its_place(words, said):
    done = CliRunner().invoke(flare23, words.split(), prog_name="flare23")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == f"Error: {said}"


def test_quiet_leaves_out_progress_but_no_warning(tmp_path):
    (tmp_path / "in").mkdir()
    source = ROOT / "samples" / "TS_example_0000.nii.gz"
    raw = bytearray(gzip.decompress(source.read_bytes()))
    raw[252:256] = bytes(4)  # neither qform nor sform has a code
    (tmp_path / "in" / "odd_0000.nii.gz").write_bytes(gzip.compress(bytes(raw), 1))
    shutil.copyfile(source, tmp_path / "in" / "plain_0000.nii.gz")
    (tmp_path / "in" / "notes.txt").write_text("text")
    words = ["-m", "flare23", "-q", "predict", tmp_path / "in", tmp_path / "out", "--threads", "1"]
    done = run(sys.executable, *words, "--no-clean", where=ROOT)
    assert done.returncode == 0, done.stderr
    passed, odd = done.stderr.splitlines()
    assert passed.startswith("passed over in ") and "notes.txt" in passed
    assert odd.startswith("odd: done in ") and "Left, Anterior, Superior" in odd


def test_messages_that_matter_are_not_printed_as_progress():
    """`terminal(stderr=True)` is quiet with --quiet; `warn` never is."""
    found = [
        str(path.relative_to(ROOT))
        for package in ("inference", "viewer", "evaluation", "train")
        for path in (ROOT / package).rglob("*.py")
        if "terminal(stderr=True).print(f" in path.read_text(encoding="utf-8")
        or "terminal(stderr=True).print(message" in path.read_text(encoding="utf-8")
    ]
    assert found == []
