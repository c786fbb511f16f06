"""The standard patient of the generated CT: solids in (superior, posterior, left) millimetres.

Zero is the middle of the trunk at the first lumbar vertebra. Sizes are an adult's; the phantom
varies every solid and warps the space that holds them.
"""

from train.synthesis.solids import Solid, SolidEllipsoid, Tube

BODY_RADII = (115.0, 165.0)
"""Half depth and half width of the trunk."""

ORGANS_IN_CAVITY: dict[str, tuple[Solid, ...]] = {
    "liver": (
        SolidEllipsoid((36, 4, -82), (75, 77, 67)),
        SolidEllipsoid((50, -40, -16), (40, 38, 65)),
    ),
    "spleen": (SolidEllipsoid((46, 42, 106), (57, 48, 34)),),
    "stomach": (
        SolidEllipsoid((62, 0, 62), (32.5, 34.5, 31)),
        Tube(
            ((58, -12, 62), (14, -46, 58), (-16, -58, 28), (-14, -52, -6), (-8, -46, -22)),
            (28, 25, 20, 14.5, 8.5),
        ),
    ),
    "duodenum": (
        Tube(
            (
                (-8, -44, -26),
                (-6, -26, -46),
                (-34, 4, -52),
                (-60, 12, -42),
                (-66, 4, -4),
                (-46, -2, 26),
                (-34, -12, 32),
            ),
            (10.5, 11.5, 11.5, 11.5, 10.5, 10.5, 9.5),
        ),
    ),
    "pancreas": (
        Tube(
            ((-34, -6, -28), (-8, -8, -22), (2, -16, 4), (16, -6, 36), (34, 22, 82)),
            (13.5, 14.5, 9.5, 10.5, 9.5),
        ),
    ),
    "gallbladder": (Tube(((2, -26, -46), (-26, -56, -58)), (9, 15)),),
    "right kidney": (Tube(((-48, 38, -68), (-20, 44, -63), (8, 50, -55)), (23, 26, 22)),),
    "left kidney": (Tube(((-40, 36, 70), (-10, 42, 65), (20, 48, 56)), (23, 26, 22)),),
    "right adrenal gland": (
        Tube(((54, 30, -28), (42, 38, -32), (32, 46, -40)), (4.9, 4.9, 4.2)),
        Tube(((54, 30, -28), (40, 36, -28), (26, 40, -28)), (4.9, 4.9, 3.9)),
    ),
    "left adrenal gland": (
        Tube(((46, 24, 30), (34, 30, 36), (22, 34, 44)), (4.9, 4.9, 4.2)),
        Tube(((46, 24, 30), (32, 32, 31), (16, 36, 31)), (4.9, 4.9, 3.9)),
    ),
}
"""Later ones win where two overlap; all end at the abdominal wall and the diaphragm."""

ORGANS_ACROSS_DIAPHRAGM: dict[str, tuple[Solid, ...]] = {
    "inferior vena cava": (
        Tube(((-110, 34, -17), (-20, 26, -19), (50, 12, -24), (96, -4, -20)), (10, 11, 13, 13)),
    ),
    "aorta": (Tube(((-86, 26, 6), (0, 25, 8), (70, 30, 12), (200, 42, 26)), (9, 10, 11.5, 12.5)),),
    "esophagus": (Tube(((200, 36, 2), (96, 24, 8), (72, 6, 34)), (7, 7, 8)),),
}

HEART = SolidEllipsoid((128, -38, 28), (40, 46, 58))
VERTEBRAE = Tube(((-400, 59, 0), (400, 55, 0)), (21, 20))
CANAL = Tube(((-400, 82, 0), (400, 78, 0)), (8, 8))
ARCHES: tuple[Solid, ...] = (
    Tube(((-400, 84, -10), (400, 80, -10)), (5, 5)),
    Tube(((-400, 84, 10), (400, 80, 10)), (5, 5)),
    Tube(((-400, 96, 0), (400, 92, 0)), (5, 5)),
)
BACK_MUSCLES: tuple[Solid, ...] = (
    Tube(((-400, 86, -34), (400, 82, -32)), (19, 19)),
    Tube(((-400, 86, 34), (400, 82, 32)), (19, 19)),
    Tube(((-160, 52, -50), (-60, 56, -36), (30, 54, -24)), (24, 18, 6)),
    Tube(((-160, 52, 50), (-60, 56, 36), (30, 54, 24)), (24, 18, 6)),
)
KIDNEY_SINUS: tuple[Solid, ...] = (
    SolidEllipsoid((-20, 36, -50), (15, 10, 12)),
    SolidEllipsoid((-10, 34, 52), (15, 10, 12)),
)
LIVER_VESSELS: tuple[Solid, ...] = (
    Tube(((10, -10, -30), (28, -8, -60), (40, 14, -98)), (6, 5, 3)),
    Tube(((28, -8, -60), (52, -30, -92)), (4.5, 3)),
    Tube(((84, 0, -24), (62, 10, -72)), (4.5, 3)),
    Tube(((84, 0, -24), (66, -34, -40)), (4.5, 3)),
)
LOOSE_VESSELS: tuple[Solid, ...] = (
    Tube(((2, -4, 4), (10, -10, -30)), (6, 6)),
    Tube(((-86, 30, 6), (-130, 38, -34)), (7, 6)),
    Tube(((-86, 30, 6), (-130, 38, 42)), (7, 6)),
    Tube(((20, 18, 8), (-10, -2, 8), (-90, -18, 2)), (4, 4, 3)),
)
COLON: tuple[Solid, ...] = (
    Tube(
        ((-130, 4, -104), (-60, 10, -106), (-30, -18, -100), (-46, -66, -50), (-54, -70, 20)),
        (24, 22, 19, 18, 17),
    ),
    Tube(
        ((-54, -70, 20), (-20, -50, 88), (10, 10, 112), (-60, 26, 112), (-140, 12, 100)),
        (17, 17, 15, 14, 14),
    ),
)
BOWEL_REGION = SolidEllipsoid((-98, -24, 4), (60, 52, 90))
"""Where loops of the small bowel are placed at random."""

RIB_PITCH_MM = 27.0
RIB_HEIGHT_MM = 9.0
LOWEST_RIB_MM = -36.0
DISC_PITCH_MM = 33.0
DISC_HEIGHT_MM = 8.0
