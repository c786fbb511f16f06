import zlib

import numpy as np
import pytest

from viewer.packing import TABLE_HU, as_text, codes_of, packed_ct, packed_labels, text_bytes


def test_the_table_of_hu():
    assert (TABLE_HU[0], TABLE_HU[-1], len(TABLE_HU)) == (-1024, 1520, 235)
    steps = np.diff(TABLE_HU)
    assert set(steps[(TABLE_HU[:-1] >= -160) & (TABLE_HU[:-1] < 240)]) == {4}
    assert set(steps[(TABLE_HU[:-1] < -160) | (TABLE_HU[:-1] >= 240)]) == {16}


@pytest.mark.parametrize(
    ("hu", "shown"),
    [
        (-3000, -1024), (-1024, -1024), (-1017, -1024), (-1015, -1008),
        (-160, -160), (41, 40), (43, 44), (240, 240), (249, 256), (40000, 1520),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_the_nearest_hu_of_the_table(hu, shown, kind):
    code = codes_of(np.array([[[np.clip(hu, -3000, 30000)]]], kind))
    assert code.dtype == np.uint8
    assert TABLE_HU[code[0, 0, 0]] == shown


def test_every_hu_is_off_by_no_more_than_half_a_step():
    hu = np.arange(-1024, 1521)
    off = np.abs(TABLE_HU[codes_of(hu)] - hu)
    assert off.max() == 8
    assert off[(hu >= -160) & (hu <= 240)].max() == 2


def test_a_voxel_is_stored_as_its_difference_to_three_neighbours():
    codes = np.array([[[10, 20], [30, 40]], [[50, 60], [70, 3]]], np.uint8)
    stored = np.frombuffer(zlib.decompress(packed_ct(codes)), np.uint8).tolist()
    # only the last has all three: 3 - (70 + 60 + 40) // 3 = 3 - 56 = -53, which is 203
    assert stored == [10, 20, 30, 40, 50, 60, 70, 203]


def test_labels_and_text():
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::-1]
    assert zlib.decompress(packed_labels(labels)) == labels.tobytes()
    for size in range(5):
        assert text_bytes(bytes(size)) == len(as_text(bytes(size)))
