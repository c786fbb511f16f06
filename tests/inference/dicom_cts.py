"""Small CTs as DICOM series: any axes, any faults."""

from datetime import date
from itertools import permutations, product

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from imaging.dicom.headers import read_images
from imaging.dicom.series import Series
from imaging.volumes import read_header

ROOT = "1.2.826.0.1.3680043.8.498"
SPACING_MM = (3.0, 1.5, 2.0)
"""Of (Z, Y, X): three different ones, so that no two axes can be mistaken."""
ORIGIN_MM = np.array([-11.5, 7.25, 30.125])
DIRECTIONS = [
    np.array(signs)[:, np.newaxis] * np.eye(3)[:, list(order)]
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]
"""48 matrices [3, 3]: column i is the LPS direction of index axis i in (X, Y, Z)."""


def position(direction, number):
    return ORIGIN_MM + number * SPACING_MM[0] * direction[:, 2]


def image(number, shape, direction):
    """The dataset of slice `number` of a CT of `shape` [Z, Y, X]."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, f"{ROOT}.1.{number + 1}"
    made.StudyInstanceUID, made.SeriesInstanceUID = f"{ROOT}.2", f"{ROOT}.3"
    made.FrameOfReferenceUID, made.Modality = f"{ROOT}.4", "CT"
    made.PatientID, made.PatientName, made.PatientSex = "P1", "Doe^Jo", "F"
    made.PatientBirthDate, made.StudyDate, made.StudyTime = "19700102", "20230405", "101112"
    made.StudyID, made.AccessionNumber, made.ReferringPhysicianName = "S1", "A1", ""
    made.SeriesNumber, made.InstanceNumber = 7, number + 1
    made.ImagePositionPatient = position(direction, number).tolist()
    made.ImageOrientationPatient = direction[:, :2].T.ravel().tolist()
    made.PixelSpacing, made.SliceThickness = [SPACING_MM[1], SPACING_MM[2]], SPACING_MM[0]
    made.Rows, made.Columns = shape[1:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.RescaleSlope, made.RescaleIntercept = 1, -1024
    made.PixelData = bytes(2 * shape[1] * shape[2])
    return made


def write(dataset, path):
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or f"{ROOT}.9"
    dataset.save_as(path, enforce_file_format=True)
    return path


def header_of(shape, direction, folder):
    """The NIfTI header of a volume that lies where the series does."""
    volume = sitk.GetImageFromArray(np.zeros(shape, np.uint8))
    volume.SetSpacing(SPACING_MM[::-1])
    volume.SetOrigin(ORIGIN_MM.tolist())
    if np.linalg.det(direction) > 0:
        volume.SetDirection(direction.ravel().tolist())
        sitk.WriteImage(volume, str(folder / "like.nii"))
        return read_header(folder / "like.nii")
    import nibabel  # ITK refuses left-handed axes

    affine = np.eye(4)
    affine[:3, :3] = direction * SPACING_MM[::-1]
    affine[:3, 3] = ORIGIN_MM
    affine[:2] *= -1
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape[::-1], np.uint8), affine), folder / "like.nii")
    return read_header(folder / "like.nii")


def series(folder, shape, direction=DIRECTIONS[0], change=lambda dataset, number: None, hu=None):
    """Write a series with one file a slice, in an order of names that is not theirs.

    Its slices are in the order in which they are written, whatever their direction.
    """
    slices = []
    for number in range(shape[0]):
        dataset = image(number, shape, direction)
        if hu is not None:
            dataset.PixelData = (hu[number] + 1024).astype("<i2").tobytes()
        change(dataset, number)
        path = write(dataset, folder / f"{(7 * number + 3) % 11}.dcm")
        slices += read_images(path)
    return described(slices, header_of(shape, direction, folder))


def multi_frame(folder, shape, direction=DIRECTIONS[0]):
    """Write an enhanced CT of one file, whose frames are not in the order of their places."""
    order = [(3 * number + 1) % shape[0] for number in range(shape[0])]  # slice of each frame
    made = image(0, shape, direction)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(made, keyword)
    made.SOPClassUID = EnhancedCTImageStorage
    made.NumberOfFrames, made.ContentDate = shape[0], date(2023, 4, 6).strftime("%Y%m%d")
    made.ContentTime = "090807"
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = direction[:, :2].T.ravel().tolist()
    measures.PixelSpacing = [SPACING_MM[1], SPACING_MM[2]]
    measures.SliceThickness = SPACING_MM[0]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = []
    for number in order:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = position(direction, number).tolist()
        frame.PlanePositionSequence = [place]
        made.PerFrameFunctionalGroupsSequence.append(frame)
    made.PixelData = bytes(2 * int(np.prod(shape)))
    path = write(made, folder / "all.dcm")
    frames = read_images(path)
    slices = [frames[order.index(number)] for number in range(shape[0])]
    return described(slices, header_of(shape, direction, folder))


def described(slices, header):
    return Series(
        name="small", uid=f"{ROOT}.3", number=7, description="", modality="CT",
        folder=slices[0].file.parent, slices=tuple(slices), header=header,
    )  # fmt: skip
