"""What each organ is called in SNOMED CT, as DICOM and 3D Slicer name segments.

Categories and types are those of DICOM PS3.16: CID 7150, and CID 7154 (abdominal organs), CID 7151
and CID 7159 (tumours). Organs of two sides have the organ's code and a modifier. Slicer's list of
terms has an older code for the category of organs.
"""

from dataclasses import dataclass

from imaging.organs import SNOMED_CT, TUMOUR
from inference.outputs.segments import Segment


@dataclass(frozen=True)
class Code:
    """A coded term."""

    scheme: str
    """SCT: SNOMED CT; or a private scheme, which begins with 99."""
    value: str
    meaning: str


@dataclass(frozen=True)
class Term:
    """What a segment is."""

    category: Code
    kind: Code
    side: Code | None = None
    slicer_category: Code | None = None
    """The category in Slicer's own list of terms."""

    @property
    def private(self) -> bool:
        """Whether the kit knows no SNOMED CT term."""
        return self.kind.scheme != "SCT"


PRIVATE_SCHEME = "99FLARE23KIT"
_ORGAN = Code("SCT", "91723000", "Anatomical Structure")
_ORGAN_IN_SLICER = Code("SCT", "123037004", "Anatomical Structure")
_ABNORMAL = Code("SCT", "49755003", "Morphologically Abnormal Structure")
_ABNORMAL_IN_SLICER = Code("SCT", "49755003", "Morphologically Altered Structure")
_SIDES = {"Right": Code("SCT", "24028007", "Right"), "Left": Code("SCT", "7771000", "Left")}
_LONGEST = 64
"""Characters of a code's meaning in DICOM."""


def term_of(segment: Segment) -> Term:
    """Return the term of a segment: by its name; a private code where the kit knows no term."""
    if segment.name not in SNOMED_CT:
        kind = Code(PRIVATE_SCHEME, f"LABEL{segment.value}", segment.name[:_LONGEST])
        return Term(_ORGAN, kind, None, _ORGAN_IN_SLICER)
    value, meaning, side = SNOMED_CT[segment.name]
    kind = Code("SCT", value, meaning)
    if segment.name == TUMOUR:
        return Term(_ABNORMAL, kind, None, _ABNORMAL_IN_SLICER)
    return Term(_ORGAN, kind, _SIDES.get(side), _ORGAN_IN_SLICER)
