"""Test-time augmentation: what each network may use, and what is left where time is short."""

import pytest

from imaging.errors import GeometryError
from inference.augmentation import LATTICES, TTA, augmented, flips_of, lesser
from inference.cli import TTA as OFFERED
from inference.sliding_window import PLAIN, Lattice, Window

WINDOW = Window((10, 20, 30), 0.5, "gaussian", ((),))


def test_the_command_line_offers_all():
    assert tuple(OFFERED.choices) == TTA


def test_shifts_and_scales_are_for_any_network():
    assert augmented(WINDOW, "shift", ()).lattices == (PLAIN, Lattice(between=True))
    assert augmented(WINDOW, "finer", ()).lattices == (PLAIN, Lattice(scale=0.93))
    scales = augmented(WINDOW, "scales", ())
    assert scales.lattices == (PLAIN, Lattice(scale=0.93), Lattice(scale=1.07))
    assert scales.flips == ((),)
    # 10.7, 21.4 and 32.1 voxels
    assert scales.largest == (11, 21, 32)
    assert all(lattices[0] is PLAIN for lattices in LATTICES.values())


def test_flips_leave_the_windows_where_they_are():
    found = augmented(WINDOW, "flip-x", (2,))
    assert (found.flips, found.lattices, found.largest) == (((), (2,)), (PLAIN,), (10, 20, 30))


def test_flips():
    assert flips_of("none", (0, 1, 2)) == ((),)
    assert flips_of("flip-x", (0, 2)) == ((), (2,))
    assert flips_of("full", (0, 2)) == ((), (0,), (2,), (0, 2))
    assert len(flips_of("full", (0, 1, 2))) == 8


@pytest.mark.parametrize("tta", ["flip-x", "full"])
def test_flips_that_training_did_not_see_are_refused(tta):
    message = "was trained without mirroring; use none, shift, finer, scales"
    with pytest.raises(GeometryError, match=message):
        augmented(WINDOW, tta, ())


def test_the_axes_that_were_mirrored_are_named():
    message = r"tta 'flip-x': this network was trained with Z and Y mirrored, nothing else; use "
    with pytest.raises(GeometryError, match=message):
        flips_of("flip-x", (0, 1))


def test_an_unknown_augmentation_is_refused():
    message = "'all'; choose none, shift, finer, scales, flip-x, full"
    with pytest.raises(GeometryError, match=message):
        augmented(WINDOW, "all", (2,))


@pytest.mark.parametrize(
    ("tta", "mirror_axes", "expected"),
    [
        ("none", (), ()),
        ("shift", (), ("none",)),
        ("finer", (), ("none",)),
        ("scales", (), ("finer", "none")),
        ("flip-x", (2,), ("none",)),
        ("full", (0, 1, 2), ("flip-x", "none")),
        ("full", (0, 1), ("none",)),
    ],
)
def test_what_is_tried_where_time_is_short(tta, mirror_axes, expected):
    assert lesser(tta, mirror_axes) == expected
