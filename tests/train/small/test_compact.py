"""What a prepared folder keeps of a CT and of its labels, and what reading one refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imaging.errors import KitError
from train.small.compact import UNKNOWN, PreparedCase, SoftLabels, read_case, write_case

SHAPE = (2, 3, 4)
HU = arrays(np.float32, SHAPE, elements=st.floats(-1500, 2500, width=32))
BYTES = arrays(np.uint8, SHAPE, elements=st.integers(0, 14) | st.just(UNKNOWN))
SHARES = arrays(np.uint8, SHAPE, elements=st.integers(128, 255))
examples = settings(deadline=None, derandomize=True, max_examples=25)


def stored(folder, hu, labels):
    write_case(PreparedCase("case", hu, labels), folder)
    return read_case(folder / "case.npz")


@examples
@given(HU, BYTES, BYTES, SHARES)
def test_a_case_comes_back_within_half_a_step(tmp_path_factory, hu, first, second, share):
    labels = SoftLabels(first, second, share)
    case = stored(tmp_path_factory.mktemp("case"), hu, labels)
    kept = hu.clip(-1024, 1524)
    # 824 HU in 52 steps, 500 in 167, 1224 in 36
    half = np.select([kept < -200, kept <= 300], [824 / 52 / 2, 500 / 167 / 2], 1224 / 36 / 2)
    assert (np.abs(case.hu - kept) <= half + 1e-3).all()
    assert case.name == "case"
    rounded = labels.rounded()
    for name in ("first", "second", "share"):
        np.testing.assert_array_equal(getattr(case.labels, name), getattr(rounded, name))


def test_the_ends_of_the_three_ranges_are_exact(tmp_path):
    hu = np.array([-1024, -200, 300, 1524], np.float32).reshape(1, 2, 2)
    zeros = np.zeros(hu.shape, np.uint8)
    np.testing.assert_array_equal(stored(tmp_path, hu, SoftLabels(zeros, zeros, zeros)).hu, hu)


@examples
@given(BYTES, BYTES, SHARES)
def test_rounding_keeps_the_best_class_and_makes_the_nearly_certain_certain(first, second, share):
    rounded = SoftLabels(first, second, share).rounded()
    sure = share >= 251
    np.testing.assert_array_equal(rounded.first, first)
    np.testing.assert_array_equal(rounded.second, np.where(sure, first, second))
    assert (rounded.share[sure] == 255).all()
    assert (rounded.share[~sure] % 4 == 0).all()
    assert (share[~sure] - rounded.share[~sure] < 4).all()
    assert (rounded.share >= 128).all()


def damage(content):
    """Return an archive with other bytes in the middle of an array."""
    middle = len(content) // 2
    return content[: middle - 30] + bytes(60) + content[middle + 30 :]


@pytest.fixture
def case_file(tmp_path):
    noise = np.random.default_rng(0).integers(128, 250, (8, 9, 10), np.uint8)
    hu = noise.astype(np.float32)
    write_case(PreparedCase("case", hu, SoftLabels(noise % 15, noise % 7, noise)), tmp_path)
    return tmp_path / "case.npz"


@pytest.mark.parametrize(
    "bent",
    [lambda content: b"", lambda content: b"text", lambda content: content[:-40], damage],
    ids=["empty", "text", "cut", "damaged"],
)
def test_a_damaged_case_is_one_line(case_file, bent):
    case_file.write_bytes(bent(case_file.read_bytes()))
    with pytest.raises(KitError) as caught:
        read_case(case_file)
    assert str(caught.value).startswith(f"{case_file}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_case_says_which_command_makes_it(tmp_path):
    with pytest.raises(KitError, match=r"case\.npz is missing; run `train small prepare` first$"):
        read_case(tmp_path / "case.npz")


@pytest.mark.parametrize("other", ["a NumPy array", "other names", "floats", "other shapes"])
def test_another_file_is_one_line(tmp_path, other):
    path = tmp_path / "case.npz"
    bytes_ = {name: np.zeros(SHAPE, np.uint8) for name in ("hu", "first", "second", "share")}
    with path.open("wb") as stream:
        if other == "a NumPy array":
            np.save(stream, bytes_["hu"])
        elif other == "other names":
            np.savez_compressed(stream, lesions=bytes_["hu"])
        elif other == "floats":
            np.savez_compressed(stream, **{**bytes_, "hu": np.zeros(SHAPE)})
        else:
            np.savez_compressed(stream, **{**bytes_, "share": np.zeros((1, 1, 1), np.uint8)})
    with pytest.raises(KitError) as caught:
        read_case(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
