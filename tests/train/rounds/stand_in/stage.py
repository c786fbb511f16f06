"""A stage that computes nothing: it holds a card, says which, and ends when it is told to.

usage: stage.py RUN KEY CARDS_NEEDED CARD,CARD DIGESTS; "-" for cards that Slurm gives
"""

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4]))

from train.rounds.cards import VISIBLE, hold_cards

run, key, count, cards, digests = sys.argv[1:]
name = key.replace("/", ".")
with ExitStack() as stack:
    if int(count):
        if cards != "-":
            stack.enter_context(hold_cards(cards.split(","), int(count)))
        started = Path(run) / "started"
        started.mkdir(exist_ok=True)
        partial = started / f".{name}"
        partial.write_text(os.environ[VISIBLE])
        partial.replace(started / name)
        while not (Path(run) / "may_end" / name).exists():
            time.sleep(0.02)
    Path(digests).parent.mkdir(exist_ok=True)
    Path(digests).write_text("{}")
