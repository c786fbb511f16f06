"""Memory that is given back is of the slices that were named, and of no others."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.geometry import Orientation
from imaging.machine import resident_mib
from imaging.memory import give_back

MIB = 1 << 20
turns = st.builds(
    Orientation, st.permutations(range(3)).map(tuple), st.tuples(*[st.booleans()] * 3)
)


def part_of(draw, size):
    start = draw(st.integers(0, size - 1))
    return slice(start, draw(st.integers(start + 1, size)))


@settings(max_examples=500)
@given(turns, st.sampled_from([np.int16, np.float32]), st.data())
def test_other_slices_stay_as_they_are(turn, dtype, data):
    stored = np.ones(data.draw(st.tuples(st.integers(1, 12), *[st.integers(1, 90)] * 2)), dtype)
    turned = turn.apply(stored)
    z, y, x = (part_of(data.draw, size) for size in turned.shape)
    give_back(turned[:, y, x][z])
    assert (turned[: z.start] == 1).all()
    assert (turned[z.stop :] == 1).all()


def test_whole_pages_are_given_back():
    stored = np.ones((64, 512, 512), np.int16)
    before_mib = resident_mib()
    give_back(stored[::-1, 100:400, 20:500][:48])  # the last 48 slices, each half a MiB
    assert 22 < before_mib - resident_mib() < 24.1
    assert (stored[:16] == 1).all()
    assert not stored[20:60].any()


def test_slices_that_lie_between_others_are_not_given_back():
    stored = np.ones((64, 512, 512), np.int16)
    before_mib = resident_mib()
    for turned in (stored.transpose(1, 0, 2), stored.transpose(2, 1, 0)):
        give_back(turned[:300])
    assert abs(before_mib - resident_mib()) < 1
    assert (stored == 1).all()


def test_no_slices():
    give_back(np.ones((0, 5, 5), np.int16))
