"""Test-time augmentation: in which ways windows are laid and shown before logits are averaged."""

import itertools
from dataclasses import replace

from imaging.errors import GeometryError
from inference.sliding_window import PLAIN, Lattice, Window

_FINER, _COARSER = Lattice(scale=0.93), Lattice(scale=1.07)
LATTICES = {
    "shift": (PLAIN, Lattice(between=True)),
    "finer": (PLAIN, _FINER),
    "scales": (PLAIN, _FINER, _COARSER),
}
"""What any network can use: the patient keeps left and right, front and back."""
FLIPS = ("flip-x", "full")
"""What only a network can use whose training mirrored."""
TTA = ("none", *LATTICES, *FLIPS)
_LESS = {"scales": "finer", "full": "flip-x"}
"""What takes less time than an augmentation and is still one; "none" if there is nothing."""


def augmented(window: Window, tta: str, mirror_axes: tuple[int, ...]) -> Window:
    """Return `window` with a test-time augmentation.

    Args:
        window: Plain.
        tta: One of `TTA`. "shift" lays more windows halfway between; "finer" lays windows that are
            smaller by 7 % too, "scales" also larger ones; "flip-x" flips left and right, and
            "full", as nnU-Net does, every combination of the axes that training mirrored.
        mirror_axes: Axes that training mirrored.

    Raises:
        GeometryError: `tta` is unknown, or training did not mirror what it flips.
    """
    if tta in LATTICES:
        return replace(window, lattices=LATTICES[tta])
    return replace(window, flips=flips_of(tta, mirror_axes))


def flips_of(tta: str, mirror_axes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the flips of "none", "flip-x" or "full".

    Raises:
        GeometryError: `tta` is none of them, or training did not mirror what it flips.
    """
    if tta == "none":
        return ((),)
    if tta == "flip-x" and 2 in mirror_axes:
        return ((), (2,))
    if tta == "full" and mirror_axes:
        counts = range(len(mirror_axes) + 1)
        return tuple(c for n in counts for c in itertools.combinations(mirror_axes, n))
    others = ", ".join(LATTICES)
    if tta in FLIPS:
        axes = " and ".join("ZYX"[axis] for axis in mirror_axes)
        trained = f"with {axes} mirrored, nothing else" if axes else "without mirroring"
        raise GeometryError(f"tta {tta!r}: this network was trained {trained}; use none, {others}")
    raise GeometryError(f"unknown test-time augmentation {tta!r}; choose {', '.join(TTA)}")


def lesser(tta: str, mirror_axes: tuple[int, ...]) -> tuple[str, ...]:
    """Return what to try in place of `tta` where time runs out, from the best to "none".

    Args:
        tta: One of `TTA`.
        mirror_axes: Axes that training mirrored.
    """
    if tta == "none":
        return ()
    less = _LESS.get(tta, "none")
    if less in FLIPS and 2 not in mirror_axes:
        less = "none"
    return (less, *lesser(less, mirror_axes))
