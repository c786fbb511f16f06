"""FLARE23's fourteen labels: numbers, names, colours, and what SNOMED CT calls them."""

TUMOUR = "tumour"
_TABLE = (
    (1, "liver", (214, 110, 72), ("10200004", "Liver", "")),
    (2, "right kidney", (86, 180, 112), ("64033007", "Kidney", "Right")),
    (3, "spleen", (190, 64, 90), ("78961009", "Spleen", "")),
    (4, "pancreas", (150, 120, 210), ("15776009", "Pancreas", "")),
    (5, "aorta", (235, 40, 40), ("15825003", "Aorta", "")),
    (6, "inferior vena cava", (60, 110, 240), ("64131007", "Inferior vena cava", "")),
    (7, "right adrenal gland", (240, 220, 60), ("23451007", "Adrenal gland", "Right")),
    (8, "left adrenal gland", (70, 220, 220), ("23451007", "Adrenal gland", "Left")),
    (9, "gallbladder", (40, 200, 60), ("28231008", "Gallbladder", "")),
    (10, "esophagus", (235, 80, 220), ("32849002", "Esophagus", "")),
    (11, "stomach", (250, 160, 40), ("69695003", "Stomach", "")),
    (12, "duodenum", (170, 250, 130), ("38848004", "Duodenum", "")),
    (13, "left kidney", (120, 170, 255), ("64033007", "Kidney", "Left")),
    (14, "tumour", (255, 255, 255), ("108369006", "Neoplasm", "")),
)
ORGANS: dict[str, int] = {name: label for label, name, _, _ in _TABLE}
COLORS: dict[int, tuple[int, int, int]] = {label: color for label, _, color, _ in _TABLE}
"""RGB in 0..255, by label: for pictures."""
OTHER_COLOR = (200, 200, 200)
"""The same of a label that is none of these."""
SNOMED_CT: dict[str, tuple[str, str, str]] = {name: term for _, name, _, term in _TABLE}
"""Code and meaning, by name, and the side: "Right", "Left", or "" where there is one organ."""
