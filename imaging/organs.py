"""FLARE23's fourteen labels."""

TUMOUR = "tumour"
_TABLE = (
    (1, "liver", (214, 110, 72)),
    (2, "right kidney", (86, 180, 112)),
    (3, "spleen", (190, 64, 90)),
    (4, "pancreas", (150, 120, 210)),
    (5, "aorta", (235, 40, 40)),
    (6, "inferior vena cava", (60, 110, 240)),
    (7, "right adrenal gland", (240, 220, 60)),
    (8, "left adrenal gland", (70, 220, 220)),
    (9, "gallbladder", (40, 200, 60)),
    (10, "esophagus", (235, 80, 220)),
    (11, "stomach", (250, 160, 40)),
    (12, "duodenum", (170, 250, 130)),
    (13, "left kidney", (120, 170, 255)),
    (14, "tumour", (255, 255, 255)),
)
ORGANS: dict[str, int] = {name: label for label, name, _ in _TABLE}
COLORS: dict[int, tuple[int, int, int]] = {label: color for label, _, color in _TABLE}
"""RGB in 0..255, by label: for pictures."""
OTHER_COLOR = (200, 200, 200)
"""The same of a label that is none of these."""
