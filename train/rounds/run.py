"""Paths of one run of a recipe."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from train.data.release import LABEL_SUFFIX, Case, load_cases
from train.rounds.graph import Stage, cases_of, cases_to_label, held_out
from train.rounds.known import KnownDigests
from train.rounds.recipe import WEIGHTED, Round, RoundsRecipe


@dataclass(frozen=True)
class Run:
    """One run of a recipe."""

    recipe: RoundsRecipe
    folder: Path
    release: Path
    truth: Path | None = None
    """Folder of true labels of validation cases; None where nobody knows them."""
    external: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the recipe's external sources."""
    device: str = "cpu"
    known: KnownDigests = field(default_factory=KnownDigests)
    """Digests of its files, so that a stage reads none of them only to know it."""

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """The release's usable cases, as stage `data` found them."""
        return load_cases(self.cases_file)

    @property
    def cases_file(self) -> Path:
        """Where stage `data` lists them."""
        return self.folder / "data" / "cases.json"

    def labels_of(self, source: str) -> dict[str, Path]:
        """Return the label map that a source has, or will have, of each case."""
        if source in self.recipe.external:
            folder = self.external[source]
            return {case.case: folder / f"{case.case}{LABEL_SUFFIX}" for case in self.cases}
        labelled = cases_to_label(self.recipe, source, self.cases)
        parts = [Stage(source, "label", part, ()).key for part in range(self.recipe.shards)]
        return {
            case.case: self.folder / parts[place % len(parts)] / f"{case.case}{LABEL_SUFFIX}"
            for place, case in enumerate(labelled)
        }

    @cached_property
    def held_out(self) -> tuple[Case, ...]:
        """The labelled cases that no round is trained on."""
        return held_out(self.recipe, self.cases)

    def held_out_labels(self, source: str) -> dict[str, Path]:
        """Return the label map that a source has, or will have, of each held-out case."""
        folder = self.external.get(source) or self.folder / source / "judge"
        return {case.case: folder / f"{case.case}{LABEL_SUFFIX}" for case in self.held_out}

    def telling(self, step: Round) -> list[str]:
        """Return the sources of a weighted round that write how sure they are."""
        if step.combine != WEIGHTED or not self.recipe.confidence:
            return []
        return [source for source in step.sources if source not in self.recipe.external]

    def fused(self, step: Round, case: Case) -> Path:
        """Return where stage `fuse` puts a case's labels."""
        return self.folder / step.name / "fuse" / f"{case.case}{LABEL_SUFFIX}"

    def fused_labels(self, step: Round) -> dict[str, Path]:
        """Return where stage `fuse` puts the labels of each case of a round."""
        cases = cases_of(self.recipe, step, self.cases)
        return {case.case: self.fused(step, case) for case in cases}

    def inputs(self, *paths: Path) -> dict[str, Path]:
        """Return files by their names in records: the same in all runs, wherever they are."""
        return {self._named(path): path for path in paths}

    def _named(self, path: Path) -> str:
        for name, folder in (("run", self.folder), ("release", self.release)):
            if path.is_relative_to(folder):
                return f"{name}/{path.relative_to(folder).as_posix()}"
        return path.name


def truths_in(folder: Path, cases: Iterable[str]) -> dict[str, Path]:
    """Return the true label maps of those cases that have one in a folder."""
    paths = {case: folder / f"{case}{LABEL_SUFFIX}" for case in cases}
    return {case: path for case, path in paths.items() if path.is_file()}


class Job(NamedTuple):
    """What a stage reads, and what makes its files."""

    inputs: dict[str, Path]
    """By the name they have in the record."""
    make: Callable[[Path], object]
    """Writes into the folder it is given."""
