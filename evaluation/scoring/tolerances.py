"""FLARE23's names and tolerances of the fourteen labels, as its scorer has them.

Source of both: JunMa11/FLARE, FLARE23/FLARE23_DSC_NSD_Eval.py, `label_tolerance`; the fourteenth
column was called "Tumor" there until 2023-09-21.
"""

from imaging.organs import ORGANS

TUMOUR = "tumour"
COLUMNS: dict[str, str] = dict(
    zip(
        ORGANS,
        "Liver RK Spleen Pancreas Aorta IVC RAG LAG Gallbladder Esophagus Stomach Duodenum LK "
        "Lesion".split(),
        strict=True,
    )
)
"""Official column prefix by organ, in the official order (label 1 to 14)."""

TOLERANCE_MM: dict[str, float] = dict(
    zip(ORGANS, (5, 3, 3, 5, 2, 2, 2, 2, 2, 3, 5, 7, 3, 2), strict=True)
)
"""How far a surface may be off and still count as right in the NSD."""
