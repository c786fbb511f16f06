"""Cards of this machine for stages: each card is held by one stage at a time.

A card is a GPU, or a part of one, as CUDA_VISIBLE_DEVICES names it. Snakemake counts how many
stages may hold one; which of them a stage gets is decided here, by locks that end with a process,
however it ends.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from imaging.errors import KitError
from imaging.files import make_folder
from imaging.terminal import warn
from imaging.words import number_of
from train.rounds.records import locked

VISIBLE = "CUDA_VISIBLE_DEVICES"
_LOOK_S = 0.2
"""Between two looks for a free card."""


def first_cards(count: int) -> tuple[str, ...]:
    """Return the names of the first `count` cards that CUDA_VISIBLE_DEVICES leaves.

    Raises:
        KitError: There are fewer.
    """
    found = _cards()
    if count > len(found):
        raise KitError(
            f"--gpus {count} was requested, but torch can use {number_of(len(found), 'GPU')} here "
            f"({VISIBLE} is {_shown()}); give fewer, or --device cpu"
        )
    return found[:count]


def _cards() -> tuple[str, ...]:
    """Return the names of all cards that torch can use here."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return tuple(named or map(str, range(count)))[:count]


def require_card() -> None:
    """Make sure that this process can use a card: without one torch would take the CPU.

    Raises:
        KitError: It cannot.
    """
    if not _cards():
        raise KitError(
            f"--device cuda was requested, but torch can use no GPU here ({VISIBLE} is "
            f"{_shown()}); see whether nvidia-smi lists one, or give --device cpu"
        )


def _shown() -> str:
    found = os.environ.get(VISIBLE)
    return "not set" if found is None else repr(found)


def lock_folder() -> Path:
    """Return where the locks of this machine's cards are: all runs of a user share them."""
    return Path(tempfile.gettempdir()) / f"flare23_cards_{os.getuid()}"


@contextmanager
def hold_cards(cards: Sequence[str], count: int) -> Iterator[tuple[str, ...]]:
    """Hold `count` of `cards` that nobody else holds, and show this process no other.

    It waits while there are fewer: another run may hold some. All are taken at once or none, so
    that two that wait do not wait for each other.

    Args:
        cards: Names, as CUDA_VISIBLE_DEVICES has them.
        count: How many are needed.

    Raises:
        KitError: There are fewer than `count`.
    """
    if count > len(cards):
        raise KitError(f"{number_of(count, 'card')} needed, but the run has {len(cards)}: --gpus")
    make_folder(lock_folder())
    waited = False
    while True:
        with ExitStack() as stack:
            held = _hold(stack, cards, count)
            if len(held) == count:
                os.environ[VISIBLE] = ",".join(held)
                yield held
                return
        if not waited:
            warn(f"waits for {number_of(count, 'card')}: others hold {', '.join(cards)}")
            waited = True
        time.sleep(_LOOK_S)


def _hold(stack: ExitStack, cards: Sequence[str], count: int) -> tuple[str, ...]:
    """Take the first `count` cards that are free, until `stack` ends."""
    held: list[str] = []
    for card in cards:
        if len(held) == count:
            break
        with suppress(KitError):  # another process has it
            name = "".join(letter if letter.isalnum() else "-" for letter in card)
            stack.enter_context(locked(lock_folder() / f"{name}.lock"))
            held.append(card)
    return tuple(held)
