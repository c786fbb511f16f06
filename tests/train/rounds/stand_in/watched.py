"""Watch a run of stand-in stages: which cards they hold, and that none is idle while one waits."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from train.rounds.command import run_recipe
from train.rounds.graph import expand
from train.rounds.records import digests_path
from train.rounds.schedule import cards_of

SNAKEFILE = Path(__file__).parent / "Snakefile"


class Watched:
    """The stages of a run that hold cards, as their files tell."""

    def __init__(self, run, gpus):
        self.run, self.gpus = run, gpus
        stages = expand(run.recipe, scored=run.truth is not None)
        training = run.recipe.training
        self.on_card = [stage for stage in stages if cards_of(stage, training, "cuda")]
        self.used, self.most_ready = set(), 0

    def look(self):
        """Return card by running stage, and stages that need a card and lack nothing else."""
        files = (self.run.folder / "started").glob("[!.]*")
        started = {path.name: path.read_text() for path in files}
        done = {path.stem for path in (self.run.folder / "digests").glob("*.json")}
        running = {name: card for name, card in started.items() if name not in done}
        assert len(set(running.values())) == len(running) <= self.gpus, running
        ready = {
            digests_path(Path(), stage.key).stem
            for stage in self.on_card
            if done.issuperset(digests_path(Path(), need).stem for need in stage.needs)
        }
        return running, ready - done

    def end(self, name):
        folder = self.run.folder / "may_end"
        folder.mkdir(exist_ok=True)
        (folder / name).touch()

    def drive(self, recipe, launch, longest_idle_s):
        """Run it; let stages end in random order, and only when as many run as can.

        Args:
            recipe: The file of the run's recipe.
            launch: Cores, cards, where.
            longest_idle_s: What starting a stage may take, on a busy machine.
        """
        with ThreadPoolExecutor(1) as thread:
            going = thread.submit(run_recipe, self.run, recipe, launch)
            try:
                self._end_at_random(going, longest_idle_s)
            finally:  # else a run whose stages wait would never end
                for stage in self.on_card:
                    self.end(digests_path(Path(), stage.key).stem)
            going.result()

    def _end_at_random(self, going, longest_idle_s):
        draws, idle_since_s = random.Random(1), time.monotonic()
        while not going.done():
            running, ready = self.look()
            full = bool(running) and len(running) == min(self.gpus, len(ready))
            if full:
                self.used |= set(running.values())
                self.most_ready = max(self.most_ready, len(ready))
                for name in draws.sample(sorted(running), min(2, len(running))):
                    self.end(name)
            if full or not ready:
                idle_since_s = time.monotonic()
            if time.monotonic() - idle_since_s > longest_idle_s:
                pytest.fail(f"{sorted(running)} run, and {sorted(ready)} could")
            time.sleep(0.02)
