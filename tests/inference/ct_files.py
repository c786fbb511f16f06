"""CTs in other forms than NIfTI, for tests of what is taken."""

import zipfile

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("onnx")
pytest.importorskip("openvino")
pytest.importorskip("pydicom")

from tests.imaging.dicom_files import images, write


def write_as(path, source, **options):
    image = sitk.ReadImage(str(source))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), **options)
    return path


def as_dicom(source, folder, series="1.2.3.4"):
    image = sitk.ReadImage(str(source))
    turn = np.array(image.GetDirection()).reshape(3, 3)
    x, y, z = image.GetSpacing()
    made = images(
        sitk.GetArrayFromImage(image),
        series,
        step_mm=(turn[:, 2] * z).tolist(),
        origin_mm=image.GetOrigin(),
        ImageOrientationPatient=[*turn[:, 0], *turn[:, 1]],
        PixelSpacing=[y, x],
        PixelRepresentation=1,
        BitsStored=16,
        HighBit=15,
        RescaleIntercept=0,
    )
    return write(made, folder)


def zipped(folder, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent))
    return path
