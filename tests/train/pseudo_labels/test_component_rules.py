import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.manifest import ComponentRule
from train.pseudo_labels.component_rules import Chosen, choose_rules, least_ml, rules_of
from train.pseudo_labels.selection import Pieces, components

PIECES = st.lists(st.tuples(st.floats(0.001, 100), st.booleans()), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("volumes_ml", "right", "expected"),
    [
        # Under 0.96 are two wrong ones and one right one; higher is no better.
        ([0.51, 0.83, 0.96, 6.34, 9.15], "rwwrr", 0.961),
        ([0.2, 0.3, 5.0], "wwr", 0.301),
        ([0.2, 5.0], "rr", 0.0),
        # One for one: as good as dropping none, which is then chosen.
        ([0.2, 0.3, 5.0], "rwr", 0.0),
        # A large wrong piece does not take the smaller right ones with it.
        ([1.0, 2.0, 3.0, 40.0], "rrrw", 0.0),
        # Equal volumes go together.
        ([0.1, 0.1, 0.1, 2.0], "wwrr", 0.101),
        # Nothing right: no volume would help, the class would be gone.
        ([0.2, 0.3], "ww", 0.0),
        # The largest right piece stays, whatever lies above it.
        ([0.2, 0.5, 7.0, 8.0], "wrww", 0.201),
        # 3 voxels of 0.008 ml are a hair under 0.024.
        ([3 * 0.008 - 1e-15, 5.0], "wr", 0.025),
        # The largest right piece is less than a thousandth above the wrong one.
        ([0.2, 0.2004], "wr", 0.2004),
    ],
)
def test_the_least_volume(volumes_ml, right, expected):
    flags = np.array([letter == "r" for letter in right])
    assert least_ml(np.array(volumes_ml), flags) == pytest.approx(expected, abs=1e-12)


@given(PIECES)
def test_no_volume_does_better_and_something_right_stays(pieces):
    volumes_ml, right = np.array(pieces).T
    flags = right.astype(bool)
    limit = least_ml(volumes_ml, flags)

    def gained(least):
        gone = volumes_ml < least
        return int((gone & ~flags).sum()) - int((gone & flags).sum())

    if limit:
        assert gained(limit) > 0
        assert (flags & (volumes_ml >= limit)).any()
    # Volumes that are nearer to each other than the thousandth to which rules are rounded excepted.
    apart = np.diff(np.unique(volumes_ml))
    if flags.any() and (not apart.size or apart.min() > 0.002):
        largest = volumes_ml[flags].max()
        assert gained(limit) == max(
            gained(least) for least in (0, *volumes_ml[volumes_ml <= largest])
        )


def volumes_of(pieces, label):
    return sorted(zip((ml for _, ml in pieces.scores[label]), pieces.right[label], strict=True))


def test_pieces_are_judged_where_their_class_was_looked_for():
    truth = np.zeros((6, 12, 12), np.uint8)
    truth[:4, :4, :4] = 1
    pred = truth.copy()
    pred[0, 8, 8:10] = 1  # a speck in the corner of nothing
    pred[5, 0, 0] = 1  # apart from the liver by a slice
    pred[0, 4:8, 0] = 14  # tumour, which nobody looked for
    pieces = Pieces()
    pieces.add(truth, components(pred), (1, 2), 0.5)
    pieces.add(truth, components(np.zeros_like(pred)), (1, 2), 0.5)
    assert volumes_of(pieces, 1) == [
        (0.5, False),
        (1.0, False),
        (32.0, True),
    ]
    assert [len(found) for found in pieces.scores] == [0, 3] + [0] * 13
    chosen = choose_rules(pieces)
    assert chosen == {"liver": Chosen(1.001, 1, 2, 0, 2)}
    assert rules_of(chosen) == (ComponentRule("liver", min_ml=1.001),)


def test_half_right_is_right():
    truth, pred = np.zeros((2, 2, 8), np.uint8), np.zeros((2, 2, 8), np.uint8)
    truth[0, 0, :2] = pred[0, 0, :4] = 3
    pred[0, 0, 5:] = 3
    pieces = Pieces()
    pieces.add(truth, components(pred), (3,), 1.0)
    assert volumes_of(pieces, 3) == [
        (3.0, False),
        (4.0, True),
    ]


def test_a_class_whose_pieces_all_stay_has_no_rule():
    assert rules_of({"liver": Chosen(0.0, 4, 0, 0, 0), "spleen": Chosen(0.3, 2, 3, 0, 3)}) == (
        ComponentRule("spleen", min_ml=0.3),
    )
