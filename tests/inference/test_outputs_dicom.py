"""DICOM-SEG: every voxel where it was, in any orientation; terms, repairs, the same bytes."""

import re

import numpy as np
import pytest

from imaging.errors import GeometryError, KitError
from imaging.organs import COLORS, ORGANS
from inference.outputs.segments import LabelledCase, Network, segments_of
from inference.outputs.terms import term_of
from tests.inference import dicom_cts

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

from inference.outputs.dicom_seg import write_dicom_seg  # noqa: E402

SHAPE = (5, 6, 7)
NETWORK = Network("tiny", "ab" * 32)


def labels_of(shape=SHAPE):
    """Liver in a corner, tumour in it, left kidney elsewhere; some slices have none."""
    labels = np.zeros(shape, np.uint8)
    labels[1:3, 0:4, 2:6] = ORGANS["liver"]
    labels[2, 1, 3] = ORGANS["tumour"]
    labels[4, 5, 0:2] = ORGANS["left kidney"]
    return labels


def case_of(series, labels=None, organs=ORGANS):
    return LabelledCase(
        name="a",
        labels=labels_of(series.header.shape) if labels is None else labels,
        header=series.header,
        segments=segments_of(organs),
        network=NETWORK,
        source=series,
        read=lambda: pytest.fail("the CT is not needed"),
    )


def written(case, folder):
    """Write the DICOM-SEG; return its path and the warnings."""
    warnings = write_dicom_seg(case, folder)
    return folder / "a.seg.dcm", warnings


def in_the_patient(labels, direction):
    """Names of labelled voxels by their place in LPS, in mm."""
    names = {value: name for name, value in ORGANS.items()}
    z_mm, y_mm, x_mm = dicom_cts.SPACING_MM
    return {
        point(
            dicom_cts.ORIGIN_MM
            + x * x_mm * direction[:, 0]
            + y * y_mm * direction[:, 1]
            + z * z_mm * direction[:, 2]
        ): names[labels[z, y, x]]
        for z, y, x in np.argwhere(labels)
    }


def point(place):
    return tuple(np.round(place, 3).tolist())


def by_slicers_rules(path):
    """Read a DICOM-SEG as 3D Slicer does: each frame where its own attributes say."""
    read = pydicom.dcmread(path)
    names = {item.SegmentNumber: item.SegmentLabel for item in read.SegmentSequence}
    shared = read.SharedFunctionalGroupsSequence[0]
    row, column = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3))
    down_mm, right_mm = shared.PixelMeasuresSequence[0].PixelSpacing
    found = {}
    frames = np.reshape(read.pixel_array, (-1, read.Rows, read.Columns))
    for pixels, groups in zip(frames, read.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for y, x in np.argwhere(pixels):
            place = point(corner + x * right_mm * row + y * down_mm * column)
            assert place not in found
            found[place] = names[number]
    return found


def by_highdicom(path):
    """Read it with highdicom: a volume with an affine from (slice, row, column) to LPS."""
    read = highdicom.seg.segread(path)
    volume = read.get_volume(combine_segments=True, allow_missing_positions=True)
    names = {number: read.get_segment_description(number).SegmentLabel
             for number in read.segment_numbers}  # fmt: skip
    return {
        point((volume.affine @ (*index, 1))[:3]): names[volume.array[tuple(index)]]
        for index in np.argwhere(volume.array)
    }


@pytest.mark.parametrize("direction", dicom_cts.DIRECTIONS)
def test_every_voxel_is_where_it_was_in_48_orientations(tmp_path, direction):
    case = case_of(dicom_cts.series(tmp_path, SHAPE, direction))
    path, warnings = written(case, tmp_path)
    assert warnings == ()
    expected = in_the_patient(case.labels, direction)
    assert len(expected) == 2 * 4 * 4 + 2
    assert by_slicers_rules(path) == expected
    assert by_highdicom(path) == expected


@pytest.mark.parametrize("direction", [d for d in dicom_cts.DIRECTIONS if np.linalg.det(d) > 0])
def test_frames_of_a_multi_frame_series_are_placed_too(tmp_path, direction):
    case = case_of(dicom_cts.multi_frame(tmp_path, SHAPE, direction))
    path, warnings = written(case, tmp_path)
    assert warnings == ()
    expected = in_the_patient(case.labels, direction)
    assert by_slicers_rules(path) == by_highdicom(path) == expected
    read = pydicom.dcmread(path)
    assert (read.ContentDate, read.ContentTime) == ("20230406", "090807")
