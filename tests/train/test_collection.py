import numpy as np

from train.collection import merged


def row(*labels):
    return np.array([[labels]], dtype=np.uint8)


def test_the_real_label_wins_where_it_exists():
    # Voxels: truth and teacher agree; truth wins; only the teacher knows organ 3; nobody.
    assert merged(row(1, 1, 0, 0), row(1, 2, 3, 0)).tolist() == row(1, 1, 3, 0).tolist()


def test_an_organ_that_was_drawn_is_not_extended_by_the_teacher():
    assert merged(row(1, 0), row(1, 1)).tolist() == row(1, 0).tolist()


def test_the_teacher_splits_the_duodenum_off_a_stomach_only_where_asked():
    truth, pseudo = row(11, 11, 0), row(11, 12, 12)
    assert merged(truth, pseudo).tolist() == row(11, 11, 12).tolist()
    assert merged(truth, pseudo, duodenum_in_stomach=True).tolist() == row(11, 12, 12).tolist()
