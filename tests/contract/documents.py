"""The commands that README.md and docs/ tell people to type, read as a shell would."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_ANY_BLOCK = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_HEREDOC = re.compile(r"<<'?(\w+)'?([^\n]*)\n.*?^\1$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_ENDS = ("&&", "||", "|", ";", "&")
_PYTHON = re.compile(r"(?:.*/)?python3?")
_FLARE23 = re.compile(r"(?:.*/)?flare23")
_SHORTENED = re.compile(r"…|^\.\.\.$")


@dataclass(frozen=True)
class Command:
    """One command of a page."""

    page: str
    line: int
    words: tuple[str, ...]
    shortened: bool
    """Within a sentence, or with "…": it may leave out what does not matter there."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {' '.join(self.words)}"

    def calls(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (module, arguments) of every Python module that it runs, "flare23" among them."""
        for place, word in enumerate(self.words):
            rest = self.words[place + 1 :]
            if _PYTHON.fullmatch(word) and len(rest) > 1 and rest[0] == "-m":
                yield rest[1], rest[2:]
            elif _FLARE23.fullmatch(word) and self.is_program(place):
                yield "flare23", rest

    def is_program(self, place: int) -> bool:
        """Tell whether a word is what is run, and not an argument such as a folder's name."""
        return all("=" in word or word == "exec" for word in self.words[:place])


def pages() -> list[Path]:
    """Return the pages that are read."""
    tops = ("README.md", "CONTRIBUTING.md")
    return [*(ROOT / name for name in tops if (ROOT / name).is_file()),
            *sorted((ROOT / "docs").rglob("*.md"))]  # fmt: skip


def blocks(page: Path) -> list[tuple[int, str]]:
    """Return the text of every shell block, with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start(2)) + 1, found[2]) for found in _BLOCK.finditer(text)]


def commands(page: Path) -> list[Command]:
    """Return the commands of a page's shell blocks, then those within its sentences."""
    name = page.relative_to(ROOT).as_posix()
    found = []
    for first, block in blocks(page):
        plain = _HEREDOC.sub(lambda here: here[2] + "\n" * here[0].count("\n"), block)
        number = first
        for line in re.split(r"(?<!\\)\n", plain):
            found += [Command(name, number, words, "…" in line) for words in parted(line)]
            number += line.count("\n") + 1
    text = page.read_text(encoding="utf-8")
    prose = _ANY_BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    for quoted in _INLINE.finditer(prose):
        line = prose.count("\n", 0, quoted.start()) + 1
        for words in parted(" ".join(quoted[1].split())):
            command = Command(name, line, words, True)
            if any(command.calls()) or words[0] == "sh":
                found.append(command)
    return found


def parted(line: str) -> list[tuple[str, ...]]:
    """Split one line of a shell into commands and words; comments and redirections are left out.

    "[" and "]" around what may be left out go; so does "…".
    """
    reader = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars="&|;<>")
    reader.whitespace_split = True
    try:
        words = list(reader)
    except ValueError:  # a quotation mark of a sentence
        return []
    found: list[list[str]] = [[]]
    skip = False
    for word in words:
        if word in _ENDS:
            found.append([])
        elif re.fullmatch("[<>]+&?", word):
            skip = True
        elif skip:
            skip = False
        elif bare := _SHORTENED.sub("", word.strip("[]") if word not in ("[", "]") else ""):
            found[-1].append(bare)
    return [tuple(words) for words in found if words]


_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+(?:/.*)?")
_ELSEWHERE = ("docker", "apt-get", "pytest", "git", "eval", "benchmarks", "engine", "export",
              "tests/run.sh", "install", "phantoms")  # fmt: skip
"""What needs a daemon, root, a GPU, a network or many minutes; README's own `install` is run."""


def can_run(page: Path, block: str) -> bool:
    """Tell whether a block can be run in a clone: no word of it stands for something of one's own.

    Such words are in capitals, TRUTH for one, or have "…".
    """
    words = [word for command in parted_lines(block) for word in command]
    words = [word for word in words if page.name != "README.md" or word != "install"]
    known = not any(word in _ELSEWHERE or word.startswith("R=") for word in words)
    return known and "…" not in block and not any(_PLACEHOLDER.fullmatch(word) for word in words)


def parted_lines(block: str) -> list[tuple[str, ...]]:
    """Return the commands of a block."""
    plain = _HEREDOC.sub(lambda here: here[2], block)
    return [words for line in re.split(r"(?<!\\)\n", plain) for words in parted(line)]
