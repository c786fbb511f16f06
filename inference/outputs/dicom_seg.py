"""DICOM-SEG: <case>.seg.dcm, one binary segment an organ; the only module that imports highdicom.

Segments are coded by `inference.outputs.terms`, and refer to the images that they were drawn on.
The same series, labels and network give the same bytes: UIDs are made from the content, and the
date of the content is that of the CT, for no clock is read.
"""

import warnings
from pathlib import Path

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom import config
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

import inference
from imaging.dicom.series import Image
from imaging.digest import sha256
from imaging.errors import GeometryError, KitError
from imaging.files import KIT, replacing
from imaging.nifti_header import place_of
from imaging.overlap import label_counts
from imaging.volumes import Header
from inference.outputs.dicom_source import Images, date_and_time, made_uid, source_images
from inference.outputs.names import DICOM_SEG
from inference.outputs.segments import LabelledCase, Segment
from inference.outputs.terms import Code, term_of

_SERIES_NUMBER = 1000
"""Added to that of the CT."""
_ALONG, _ASIDE = 0.5, 0.25
"""Share of a voxel by which an image may lie before or behind its slice of the label map, and
beside it."""


def write_dicom_seg(case: LabelledCase, outputs: Path) -> tuple[str, ...]:
    """Write <case>.seg.dcm with the organs that have a voxel; none is written if there is none.

    Returns:
        What was mended in the series, and which segments have no SNOMED CT term.

    Raises:
        KitError: The case is no DICOM series, or the file cannot be written.
    """
    series = case.source
    if series is None or isinstance(series, Path):
        raise KitError(
            f"{case.name} was not read from a DICOM series, to which a DICOM-SEG must refer; "
            "give the series, or leave out --also dicom-seg"
        )
    counts = label_counts(case.labels)
    present = tuple(segment for segment in case.segments if counts[segment.value])
    if not present:
        return ("no DICOM-SEG was written, for no organ was found",)
    with config.disable_value_validation(), warnings.catch_warnings():
        # of an anonymised series, with values that are not valid; some name the patient
        warnings.simplefilter("ignore", UserWarning)
        images = source_images(series)
        check_place(series.slices, images, case.header)
        made = segmentation_of(case, images, present)
        with replacing(outputs / f"{case.name}{DICOM_SEG}") as partial:
            made.save_as(partial)
    unnamed = ", ".join(segment.name for segment in present if term_of(segment).private)
    uncoded = (f"DICOM-SEG: {unnamed} without a SNOMED CT term",) if unnamed else ()
    return (*images.mended, *uncoded)


def segmentation_of(
    case: LabelledCase, images: Images, present: tuple[Segment, ...]
) -> highdicom.seg.Segmentation:
    """Return the DICOM object of a case.

    Args:
        case: The label map.
        images: The images of its CT, mended.
        present: The organs that have a voxel; their numbers are 1, 2, 3, … in this order.
    """
    numbers = np.zeros(256, np.uint8)
    numbers[[segment.value for segment in present]] = np.arange(1, len(present) + 1)
    first = images.datasets[0]
    day, time = date_and_time(first)
    seed = _seed(case, images, present)
    made = highdicom.seg.Segmentation(
        source_images=images.datasets,
        pixel_array=_frames(numbers[case.labels], images),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _description(number, segment, case) for number, segment in enumerate(present, 1)
        ],
        series_instance_uid=made_uid("series", *seed),
        series_number=_SERIES_NUMBER + max(0, int(first.get("SeriesNumber") or 0)),
        sop_instance_uid=made_uid("instance", *seed),
        instance_number=1,
        manufacturer=KIT,
        manufacturer_model_name=case.manifest.name[:64],
        software_versions=inference.__version__,
        device_serial_number=case.manifest.sha256 or "unknown",
        content_label="ORGANS",
        content_description="Organs labelled by a network; not reviewed",
        series_description=f"Organs ({KIT})",
        content_date=day,
        content_time=time,
    )
    del made.InstanceCreationDate, made.InstanceCreationTime  # of the clock, as the next
    for equipment in made.ContributingEquipmentSequence:
        if equipment.Manufacturer.startswith("Highdicom"):
            del equipment.ContributionDateTime
    organization = made_uid("dimensions", *seed)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    return made


def _seed(case: LabelledCase, images: Images, present: tuple[Segment, ...]) -> tuple[str, ...]:
    """Return all that the file's content depends on."""
    return (
        *(image.SOPInstanceUID for image in images.datasets),
        sha256(np.ascontiguousarray(case.labels).tobytes()),
        *(f"{segment.name}={segment.value}" for segment in present),
        *(inference.__version__, case.manifest.sha256, highdicom.__version__),
    )


def _description(
    number: int, segment: Segment, case: LabelledCase
) -> highdicom.seg.SegmentDescription:
    term = term_of(segment)
    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name[:64],
        segmented_property_category=_dicom(term.category),
        segmented_property_type=_dicom(term.kind),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=case.manifest.name[:64],
            family=codes.DCM.ArtificialIntelligence,
            version=inference.__version__,
            source=KIT,
            parameters={"manifest_sha256": case.manifest.sha256 or "unknown"},
        ),
        display_color=highdicom.color.CIELabColor.from_rgb(*segment.rgb),
    )
    if term.side is not None:
        (kind,) = described.SegmentedPropertyTypeCodeSequence
        kind.SegmentedPropertyTypeModifierCodeSequence = [
            highdicom.sr.CodedConcept.from_code(_dicom(term.side))
        ]
    return described


def _dicom(code: Code) -> DicomCode:
    return DicomCode(code.value, code.scheme, code.meaning)


def _frames(numbers: NDArray[np.uint8], images: Images) -> NDArray[np.uint8]:
    """Return segment numbers [frame, row, column] in the order of the images' own frames."""
    if images.frames is None:
        return numbers
    count = int(images.datasets[0].NumberOfFrames)
    frames = np.zeros((count, *numbers.shape[1:]), np.uint8)
    frames[list(images.frames)] = numbers
    return frames


def check_place(slices: tuple[Image, ...], images: Images, header: Header) -> None:
    """Check that each image lies where its slice of the label map does.

    Slices that are not quite evenly spaced are in the map as if they were; a frame keeps the place
    of its image.

    Raises:
        GeometryError: An image lies elsewhere, or there are more slices than images.
    """
    place = place_of(header.raw, header.order, header.shape)
    count = len(images.frames or images.datasets)
    if count != header.shape[0]:
        raise GeometryError(f"the label map has {header.shape[0]} slices, not {count}")
    x_mm, y_mm, z_mm = place.spacing_mm
    across, down, up = place.direction.T
    height, width = header.shape[1:]
    for number, image in enumerate(slices):
        row, column = image.axes
        position = np.array(image.position_mm, np.float64)
        corner = place.origin_mm + number * z_mm * up
        normal = np.cross(row, column)
        for x, y in ((0.0, 0.0), ((width - 1) * x_mm, 0.0), (0.0, (height - 1) * y_mm)):
            off = position + x * row + y * column - corner - x * across - y * down
            along_mm = abs(float(off @ normal))
            aside_mm = float(np.linalg.norm(off - (off @ normal) * normal))
            if along_mm > _ALONG * z_mm or aside_mm > _ASIDE * min(x_mm, y_mm):
                raise GeometryError(
                    f"image {number + 1} lies {float(np.linalg.norm(off)):.3g} mm from its slice "
                    "of the label map"
                )
