"""The images that a DICOM-SEG refers to, without their pixels, and mended where they must be.

An anonymised series may lack UIDs, or have values that are not valid. They are replaced in memory:
UIDs by such that depend on the files' bytes alone, other values by nothing.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from pydicom import Dataset, dcmread
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage
from pydicom.valuerep import DA, TM

from imaging.dicom.series import Series
from imaging.digest import file_sha256, sha256

_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Attributes that every DICOM object has, but may have empty."""
_SHARED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_CLASSES = {False: CTImageStorage, True: EnhancedCTImageStorage}
_UID = re.compile(r"[0-9.]{1,64}")
"""What passes for a UID: one with a leading zero is against the rules, but does its work."""
_DATES = ("Content", "Acquisition", "Series", "Study")
NO_DATE, NO_TIME = "19000101", "000000"
"""The content's date where the series has none at all."""


@dataclass(frozen=True)
class Images:
    """The images of a series in slice order."""

    datasets: list[Dataset]
    """One a slice, without pixels; one in all, where its frames are the slices."""
    frames: tuple[int, ...] | None
    """Frame of each slice; None where each slice is a file."""
    mended: tuple[str, ...]
    """What was replaced, in words."""


def source_images(series: Series) -> Images:
    """Read the images of a series, without pixels, and mend them."""
    files = series.files
    datasets: list[Dataset] = [dcmread(file, stop_before_pixels=True, force=True) for file in files]
    multi = len(files) == 1 and "PerFrameFunctionalGroupsSequence" in datasets[0]
    frames = tuple(one.frame for one in series.slices) if multi else None
    mended = list(_mend(datasets, files, multi=multi))
    return Images(datasets, frames, (f"DICOM-SEG: {'; '.join(mended)}",) if mended else ())


def made_uid(*seed: str) -> str:
    """Return a UID that depends on `seed` alone: "2.25." and a UUID, as PS3.5 B.2 allows."""
    digest = sha256("\n".join(seed).encode())
    return f"2.25.{UUID(bytes=bytes.fromhex(digest)[:16], version=5).int}"


def date_and_time(image: Dataset) -> tuple[str, str]:
    """Return the date and time of an image's content, or the next best that it has."""
    for kind in _DATES:
        day, time = (str(image.get(f"{kind}{what}") or "") for what in ("Date", "Time"))
        if day and _valid(DA, day):
            return day, time if time and _valid(TM, time) else NO_TIME
    return NO_DATE, NO_TIME


def _mend(datasets: list[Dataset], files: tuple[Path, ...], *, multi: bool) -> Iterator[str]:
    """Mend images in place, and yield what was done."""

    @cache
    def digests() -> tuple[str, ...]:
        return tuple(file_sha256(file) for file in files)

    yield from _mend_common(datasets, digests)
    yield from _mend_instances(datasets, digests)
    odd = [one for one in datasets if UID(str(one.get("SOPClassUID") or "")).type != "SOP Class"]
    for image in odd:
        image.SOPClassUID = _CLASSES[multi]
    if odd:
        yield f"SOPClassUID taken for that of {_CLASSES[multi].name}, for it is missing or unknown"
    yield from _mend_values(datasets[0])


def _mend_common(datasets: list[Dataset], digests: Callable[[], tuple[str, ...]]) -> Iterator[str]:
    """Mend the UIDs that all images of a series share."""
    made, mixed = list[str](), list[str]()
    for keyword in _SHARED:
        values = [str(image.get(keyword) or "") for image in datasets]
        good = [value for value in values if _UID.fullmatch(value)]
        if len({*values}) == len({*good}) == 1:
            continue
        (mixed if good else made).append(keyword)
        value = good[0] if good else made_uid(keyword, *digests())
        for image in datasets:
            setattr(image, keyword, value)
    if made:
        yield f"{', '.join(made)} made from the files' content, for the series has none"
    if mixed:
        yield f"{', '.join(mixed)} of one image taken for all, for they differ"


def _mend_instances(
    datasets: list[Dataset], digests: Callable[[], tuple[str, ...]]
) -> Iterator[str]:
    """Mend missing and repeated UIDs of images."""
    uids = [str(image.get("SOPInstanceUID") or "") for image in datasets]
    bad = [
        number for number, uid in enumerate(uids) if not _UID.fullmatch(uid) or uids.count(uid) > 1
    ]
    for number in bad:
        made = made_uid("SOPInstanceUID", digests()[number], str(number))
        datasets[number].SOPInstanceUID = made
    if bad:
        yield (
            f"SOPInstanceUID of {len(bad)} images made from the files' content, "
            "for it is missing or repeated"
        )


def _mend_values(image: Dataset) -> Iterator[str]:
    """Mend the patient and the study, of which the first image tells."""
    missing = [keyword for keyword in _EMPTY if keyword not in image]
    wrong = [keyword for keyword in _EMPTY if not _fits(keyword, str(image.get(keyword) or ""))]
    for keyword in (*missing, *wrong):
        setattr(image, keyword, "")
    if missing:
        yield f"left empty, for the series has none: {', '.join(missing)}"
    if wrong:
        # not the value, which tells of a patient
        yield f"left empty, for it is not valid: {', '.join(wrong)}"


def _fits(keyword: str, value: str) -> bool:
    if not value:
        return True
    if keyword == "PatientSex":
        return value in {"M", "F", "O"}
    if keyword.endswith("Date"):
        return _valid(DA, value)
    return _valid(TM, value) if keyword.endswith("Time") else True


def _valid(kind: Callable[[str], Any], value: str) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True
