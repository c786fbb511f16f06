"""FLARE23's fourteen labels."""

ORGANS: dict[str, int] = {
    "liver": 1,
    "right kidney": 2,
    "spleen": 3,
    "pancreas": 4,
    "aorta": 5,
    "inferior vena cava": 6,
    "right adrenal gland": 7,
    "left adrenal gland": 8,
    "gallbladder": 9,
    "esophagus": 10,
    "stomach": 11,
    "duodenum": 12,
    "left kidney": 13,
    "tumour": 14,
}

TUMOUR = "tumour"

COLORS: dict[int, tuple[int, int, int]] = {
    1: (214, 110, 72),
    2: (86, 180, 112),
    3: (190, 64, 90),
    4: (150, 120, 210),
    5: (235, 40, 40),
    6: (60, 110, 240),
    7: (240, 220, 60),
    8: (70, 220, 220),
    9: (40, 200, 60),
    10: (235, 80, 220),
    11: (250, 160, 40),
    12: (170, 250, 130),
    13: (120, 170, 255),
    14: (255, 255, 255),
}
"""RGB in 0..255, by label: for pictures."""
