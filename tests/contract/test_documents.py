"""What README.md and docs/ tell people to type: every command is there, and the README's run."""

import re
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from imaging.commands import OutputFile
from tests.contract.documents import ROOT, Command, commands, pages, parted

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
