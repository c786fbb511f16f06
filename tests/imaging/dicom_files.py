"""Writes CT series as scanners, archives and anonymisers do; every test has one phantom."""

import copy
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

SPACING_MM = (2.5, 0.8, 0.75)
"""Z, Y, X."""
ORIGIN_MM = (-10.5, 20.25, 300.0)
UPRIGHT = (1, 0, 0, 0, 1, 0)


def phantom(slices=6):
    """A CT [Z, Y, X] in HU: air, fat, soft tissue, and a number that tells each slice."""
    hu = np.full((slices, 9, 10), -1000, np.int16)
    hu[:, 1:8, 1:9] = -100
    hu[:, 2:7, 2:8] = 40
    hu[:, 3, 3] = np.arange(slices) * 10 + 100
    hu[:, 5, 2:8] += np.arange(6, dtype=np.int16)
    return hu


def stored(hu, slope=1, intercept=-1024):
    return np.round((hu.astype(np.float64) - intercept) / slope).astype(np.int64)


def header(series, number=2, **changes):
    """What all images of a series share."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3.1", series
    data.FrameOfReferenceUID = "1.2.3.2"
    data.PatientName, data.PatientID = "A^B", "77"
    data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SeriesNumber, data.SeriesDescription = number, "Abdomen 2.5"
    data.PatientPosition = "HFS"
    data.ImageOrientationPatient = list(UPRIGHT)
    data.PixelSpacing, data.SliceThickness = list(SPACING_MM[1:]), SPACING_MM[0]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = 0
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, -1024, "HU"
    for name, value in changes.items():
        setattr(data, name, value)
    return data


def images(hu, series="1.2.3.4", step_mm=(0, 0, SPACING_MM[0]), origin_mm=ORIGIN_MM, **changes):
    """Return one dataset a slice; `changes` set attributes of all, after the defaults."""
    made = []
    for at, plane in enumerate(hu):
        data = header(series, **changes)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.InstanceNumber = at + 1
        data.ImagePositionPatient = [o + at * s for o, s in zip(origin_mm, step_mm, strict=True)]
        data.Rows, data.Columns = plane.shape
        kind = "<i2" if data.PixelRepresentation else "<u2"
        words = stored(plane, float(data.RescaleSlope), float(data.RescaleIntercept))
        data.PixelData = words.astype(kind).tobytes()
        made.append(data)
    return made


def write(made, folder, name="IM{:04}", **options):
    """Write datasets into a folder, without suffix by default; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for at, data in enumerate(made):
        data.save_as(folder / name.format(at), **({"enforce_file_format": True} | options))
    return folder


def _jpeg_2000(words):
    """Return one plane compressed by ITK, which is all that writes JPEG 2000 here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(path))
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG2000")
        writer.Execute(sitk.GetImageFromArray(words[None]))
        packed = pydicom.dcmread(path)
    assert packed.file_meta.TransferSyntaxUID == JPEG2000Lossless
    return get_frame(packed.PixelData, 0, number_of_frames=1)


def as_jpeg_2000(data):
    """Return a dataset with its frames compressed."""
    kind = np.int16 if data.PixelRepresentation else np.uint16
    words = np.frombuffer(data.PixelData, kind).reshape(-1, data.Rows, data.Columns)
    made = copy.deepcopy(data)
    made.file_meta.TransferSyntaxUID = JPEG2000Lossless
    made.BitsStored, made.HighBit = 16, 15
    made.PixelData = encapsulate([_jpeg_2000(plane) for plane in words])
    made["PixelData"].is_undefined_length = True
    return made


def compressed(syntax):
    """Return what compresses a dataset by pydicom: RLE, and JPEG-LS through pyjpegls."""

    def change(data):
        made = copy.deepcopy(data)
        made.compress(syntax)
        return made

    return change


def big_endian(data):
    made = copy.deepcopy(data)
    made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    made.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    return made


def enhanced(hu, slopes=None):
    """Return one dataset of all slices, with a rescale of its own for each where given."""
    data = header("1.2.3.5")
    for name in ("ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(data, name)
    del data.RescaleType
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data.NumberOfFrames, data.Rows, data.Columns = hu.shape
    measures, orientation, frame_type = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(SPACING_MM[1:]), SPACING_MM[0]
    orientation.ImageOrientationPatient = list(UPRIGHT)
    frame_type.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.CTImageFrameTypeSequence = Sequence([frame_type])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    own, pixels = [], []
    for at, slope in enumerate(slopes or [1] * len(hu)):
        position, values, frame = Dataset(), Dataset(), Dataset()
        place = (ORIGIN_MM[0], ORIGIN_MM[1], ORIGIN_MM[2] + at * SPACING_MM[0])
        position.ImagePositionPatient = list(place)
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = slope, -1024, "HU"
        frame.PlanePositionSequence = Sequence([position])
        frame.PixelValueTransformationSequence = Sequence([values])
        own.append(frame)
        pixels.append(stored(hu[at], slope).astype("<u2"))
    data.PerFrameFunctionalGroupsSequence = Sequence(own)
    data.PixelData = np.stack(pixels).tobytes()
    return data
