"""What README.md and docs/ tell people to type: every command is there, and the README's run."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from imaging.commands import OutputFile
from tests.contract.documents import ROOT, Command, blocks, can_run, commands, pages, parted

KIT = ("flare23", "inference", "evaluation", "train", "benchmarks", "viewer")
PAGES = {page.relative_to(ROOT).as_posix(): page for page in pages()}
README = ROOT / "README.md"
TOLD = [command for page in PAGES.values() for command in commands(page)]


@pytest.fixture(autouse=True)
def _no_file_is_looked_for(monkeypatch):
    """TRUTH, CTS and RUN are not there, and nothing is made for them."""
    for kind in (click.Path, OutputFile):
        monkeypatch.setattr(kind, "convert", lambda self, value, param, ctx: Path(value))
    for module in ("imaging.commands", "imaging.verbosity"):
        monkeypatch.setattr(f"{module}.choose_verbosity", lambda *_: None)


def command_line(module: str) -> click.Command | None:
    """Return the command of `python -m MODULE`; None of one that is not of the kit."""
    top, _, inner = module.partition(".")
    if top not in KIT:
        return None
    found = import_module(module if inner else f"{module}.cli").main
    assert isinstance(found, click.Command), module
    return found


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Parse as if it were run, down to the last command, and run nothing.

    Raises:
        click.UsageError: It cannot be run so.
    """
    if "--help" in words or "--version" in words:
        words = [word for word in words if word not in ("--help", "--version")]
        if not words:
            return
    if not isinstance(command, click.Group):
        command.make_context(str(command.name), words, parent=parent)
        return
    context = command.make_context(str(command.name), list(words), parent=parent)
    rest = [*context._protected_args, *context.args]
    if rest:
        _, inner, arguments = command.resolve_command(context, rest)
        assert inner is not None
        parse(inner, arguments, context)


def check(command: Command) -> None:
    """Fail if a command of the kit is not there, or does not take what it is given."""
    for module, words in command.calls():
        found = command_line(module)
        if found is None:
            assert find_spec(module), f"{command}: no module {module}"
            continue
        inner = next((n for n, word in enumerate(words) if word == "-m"), len(words))
        outer = list(words if "--" in words[:inner] else words[:inner])
        try:
            parse(found, outer)
        except (click.NoSuchOption, click.exceptions.NoSuchCommand) as error:
            pytest.fail(f"{command}: {error.format_message()}")
        except click.UsageError as error:
            assert command.shortened, f"{command}: {error.format_message()}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_can_be_parsed(page):
    for command in commands(PAGES[page]):
        check(command)


def test_every_script_is_there_and_its_options_are_known():
    seen = 0
    predict = import_module("inference.cli").main.get_command(None, "predict")
    for command in TOLD:
        if command.words[0] != "sh" or len(command.words) < 2:
            continue
        seen += 1
        script, *options = command.words[1:]
        assert (ROOT / script).is_file(), command
        if script == "predict.sh":
            parse(predict, ["inputs", "outputs", *(word for word in options if word != "--sample")])
    assert seen > 5


def test_every_test_that_is_named_is_there():
    for command in TOLD:
        words = command.words
        if "pytest" in words[:3]:
            for word in words[words.index("pytest") + 1 :]:
                if word.startswith("tests"):
                    assert (ROOT / word).exists(), command


def test_every_extra_that_is_installed_is_there():
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for command in TOLD:
        for word in command.words:
            if "install" in command.words and (found := re.fullmatch(r"\.\[([\w,-]+)\]", word)):
                assert set(found[1].split(",")) <= known.keys(), command


class TestReading:
    """The reader itself, and that a wrong command would be found."""

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("sh a.sh   # why", [("sh", "a.sh")]),
            ("A=1 b && c -o 'd e' | f >g.txt", [("A=1", "b"), ("c", "-o", "d e"), ("f",)]),
            ("outside CT [--crop body] CT…", [("outside", "CT", "--crop", "body", "CT")]),
            ("run a \\\n  --b c", [("run", "a", "--b", "c")]),
            ("pip install '.[dicom]'", [("pip", "install", ".[dicom")]),
        ],
    )
    def test_words(self, line, words):
        assert parted(line) == words

    def test_there_are_commands_of_every_kind(self):
        modules = {module for command in TOLD for module, _ in command.calls()}
        assert {"inference", "evaluation", "train", "benchmarks"} <= modules
        assert any(command.shortened for command in TOLD)
        assert len(TOLD) > 50

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            ("python -m inference predikt IN OUT", "No such command 'predikt'"),
            ("python -m inference predict IN OUT --tta twice", "Invalid value for '--tta'"),
            ("flare23 score --truth T --pred P --jbos 2 -o S", "No such option"),
            (".venv/bin/python -m train run R --release A", "Missing option '--run'"),
            ("python -m evaluation efficiency --inputs I -o O -- python -m inference predict I",
             "Missing argument 'OUTPUTS'"),
            ("python -m inference.nothing", "no command line"),
        ],
    )  # fmt: skip
    def test_a_wrong_command_is_found(self, words, complaint):
        command = Command("page.md", 1, tuple(words.split()), shortened=False)
        with pytest.raises((pytest.fail.Exception, AssertionError, ModuleNotFoundError)) as raised:
            check(command)
        if complaint != "no command line":
            assert complaint in str(raised.value)


RUNNABLE = [
    (name, line, block)
    for name, page in PAGES.items()
    for line, block in blocks(page)
    if can_run(page, block)
]


def test_all_of_the_readmes_blocks_can_be_run_and_some_of_other_pages():
    ran = [name for name, *_ in RUNNABLE]
    assert ran.count("README.md") == len(blocks(README)) > 0
    assert {"docs/predict.md", "docs/reproduce.md"} <= set(ran)


@pytest.fixture
def clone(tmp_path):
    """A clean clone, with what is not committed yet."""
    folder = tmp_path / "clone"
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "as it is")
    return folder


def git(folder, *words):
    command = ["git", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def python_of(tmp_path):
    """A folder with `python3`: the one that made the environment of this test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "packages",
    ["of this environment", pytest.param("from the index", marks=pytest.mark.long)],
)
def test_blocks_run_in_a_clean_clone_and_leave_nothing_that_git_sees(clone, tmp_path, packages):
    """Packages are those of this environment, so nothing is downloaded; or, in minutes, all are."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("FLARE23")}
    path = f"{clone / '.venv' / 'bin'}:{python_of(tmp_path)}:{os.environ['PATH']}"
    variables |= {"PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if packages == "of this environment":
        pytest.importorskip("hatchling")
        shared = {"PYTHONPATH": sysconfig.get_path("purelib"), "PIP_NO_INDEX": "1"}
        variables |= shared | {"PIP_NO_BUILD_ISOLATION": "0"}  # pip's way to say: without it
    for name, line, block in RUNNABLE:
        done = subprocess.run(
            ["sh", "-e", "-c", block], cwd=clone, env=variables, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{name}:{line}:\n{block}\n{done.stdout}{done.stderr}"
    assert (clone / "overlay.png").is_file()
    assert list((clone / "outputs").glob("*.nii.gz"))
    changed = git(clone, "status", "--porcelain").splitlines()
    assert [row for row in changed if not row.endswith("docs/pictures/sample.png")] == []
