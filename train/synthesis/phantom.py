"""Generate an abdominal CT with all fourteen labels, for trials and tests.

The patient is made of solids. It does not replace a real CT, but it has adult sizes, true
neighbours, Hounsfield units of a contrast phase, noise, gas, bone and a couch, at any spacing. One
takes about a second.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.files import make_folder
from imaging.geometry import Grid, Shape, SpacingMm
from imaging.organs import ORGANS
from imaging.volumes import write_volume
from train.synthesis import patient as anatomy
from train.synthesis.solids import Mask, Solid, SolidEllipsoid, Tube, WarpedSpace, smooth_noise

# Tissues that have no FLARE label; 1 to 14 are the labels themselves.
AIR, FAT, MUSCLE, BONE, MARROW, LUNG, HEART, BOWEL, GAS, COUCH, VESSEL, FLUID = range(20, 32)
SKIN, DISC = 32, 33

# Mean HU by tissue: without contrast, in the portal venous and in the late arterial phase.
_HU: dict[int, tuple[float, float, float]] = {
    AIR: (-1000, -1000, -1000),
    FAT: (-102, -100, -101),
    MUSCLE: (52, 62, 58),
    BONE: (520, 530, 525),
    MARROW: (170, 190, 180),
    LUNG: (-840, -830, -830),
    HEART: (42, 140, 230),
    BOWEL: (36, 62, 58),
    GAS: (-960, -960, -960),
    COUCH: (-180, -180, -180),
    VESSEL: (42, 160, 180),
    FLUID: (14, 16, 15),
    SKIN: (20, 25, 23),
    DISC: (78, 80, 79),
    ORGANS["liver"]: (56, 108, 70),
    ORGANS["right kidney"]: (32, 178, 150),
    ORGANS["spleen"]: (48, 120, 126),
    ORGANS["pancreas"]: (40, 96, 108),
    ORGANS["aorta"]: (42, 155, 310),
    ORGANS["inferior vena cava"]: (40, 142, 84),
    ORGANS["right adrenal gland"]: (24, 66, 74),
    ORGANS["left adrenal gland"]: (24, 66, 74),
    ORGANS["gallbladder"]: (8, 9, 8),
    ORGANS["esophagus"]: (36, 56, 50),
    ORGANS["stomach"]: (38, 66, 62),
    ORGANS["duodenum"]: (36, 68, 66),
    ORGANS["left kidney"]: (32, 178, 150),
    ORGANS["tumour"]: (34, 62, 48),
}
_NATIVE, _PORTAL, _ARTERIAL = range(3)
_PARENCHYMA = tuple(ORGANS[name] for name in ("liver", "spleen", "pancreas"))
_BODY_POWER = 2.4
_NOISE_HU = 11.0
_STREAM = 23
"""Set apart from other users of the same seed."""


@dataclass
class _Patient:
    """What is painted so far."""

    space: WarpedSpace
    rng: np.random.Generator
    tissue: NDArray[np.uint8]
    """[Z, Y, X] tissue codes."""
    cavity: Mask
    grid: Grid

    def paint(self, code: int, solids: tuple[Solid, ...], where: Mask) -> None:
        """Give `solids`, varied, the tissue `code` inside `where`."""
        self.tissue[self.space.mask(*(solid.varied(self.rng) for solid in solids)) & where] = code

    def inside(self, solids: tuple[Solid, ...], wall_mm: float = 0.0) -> Mask:
        """Return where `solids`, as in the standard patient, are; `wall_mm` of each left out."""
        return self.space.mask(*(solid.shrunk(wall_mm) if wall_mm else solid for solid in solids))


def phantom(
    seed: int,
    shape: Shape = (96, 128, 128),
    spacing_mm: SpacingMm = (3.0, 3.0, 3.0),
    tumour: bool = True,
    tumours_mm: tuple[float, ...] = (),
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Draw a patient, supine, axes to the patient's Superior, Posterior, Left.

    Args:
        seed: Draws anatomy, contrast phase and noise; the same seed gives the same arrays.
        shape: Voxels (Z, Y, X). The default is a whole abdomen, less is its middle.
        spacing_mm: Voxel size (Z, Y, X).
        tumour: Whether to grow tumours.
        tumours_mm: Their diameters, roughly; empty: one to three of 16 to 44 mm.

    Returns:
        int16 [Z, Y, X] CT in Hounsfield units and uint8 [Z, Y, X] FLARE labels.
    """
    rng = np.random.default_rng((_STREAM, seed))
    grid = Grid(shape, spacing_mm)
    space = WarpedSpace(grid, rng, warp_mm=2.5, scale=float(rng.uniform(0.94, 1.05)))
    tissue = np.full(shape, AIR, dtype=np.uint8)
    patient = _Patient(space, rng, tissue, np.zeros(shape, np.bool_), grid)
    _trunk(patient)
    _bowel(patient)
    below = _diaphragm(patient)
    _organs(patient, below)
    _bones(patient)
    if tumour:
        _tumours(patient, tumours_mm)
    labels = np.where(tissue <= len(ORGANS), tissue, 0).astype(np.uint8)
    _contents(patient)
    return _hounsfield(patient), labels


def write_phantom(folder: Path, seed: int = 0) -> Path:
    """Write a generated CT as `sample_0000.nii.gz` into `folder`, made if missing.

    Raises:
        KitError: It cannot be written there.
    """
    path = folder / "sample_0000.nii.gz"
    spacing_mm = (3.0, 2.0, 2.0)
    hu, _ = phantom(seed, (96, 176, 192), spacing_mm)
    make_folder(folder)
    write_volume(hu, spacing_mm, path)
    return path


def _trunk(patient: _Patient) -> None:
    """Body outline with skin, fat and muscle wall; the couch under it."""
    rng, (_, y, x) = patient.rng, patient.space.places
    depth, width = anatomy.BODY_RADII
    fat_mm, wall_mm = float(rng.uniform(10, 24)), float(rng.uniform(9, 13))
    thin_mm = np.where(y < 0, 0.85, 1.0).astype(np.float32)
    for inward, code in ((0.0, SKIN), (2.5, FAT), (fat_mm, MUSCLE), (fat_mm + wall_mm, FAT)):
        a, b = depth - inward * thin_mm, width - inward
        inside = np.abs(y / a) ** _BODY_POWER + np.abs(x / b) ** _BODY_POWER <= 1
        patient.tissue[inside] = code
    patient.cavity |= inside
    patient.paint(MUSCLE, anatomy.SURROUNDINGS["back_muscles"], patient.tissue != AIR)
    under = y - (depth + 6 - np.square(x / 60))
    couch = (under > 0) & (under < 9) & (np.abs(x) < 210) & (patient.tissue == AIR)
    patient.tissue[couch] = COUCH


def _bowel(patient: _Patient) -> None:
    """Colon, and loops of small bowel where there is room for them."""
    rng, cavity = patient.rng, patient.cavity
    patient.paint(BOWEL, anatomy.SURROUNDINGS["colon"], cavity)
    region = anatomy.BOWEL_REGION
    for _ in range(14):
        knots = np.array(region.center) + rng.uniform(-0.6, 0.6, (4, 3)) * region.radii
        loop = Tube(tuple((float(z), float(y), float(x)) for z, y, x in knots), (11, 12, 12, 11))
        patient.tissue[patient.space.mask(loop) & cavity & (patient.tissue == FAT)] = BOWEL


def _diaphragm(patient: _Patient) -> Mask:
    """Fill the chest with lung and return where the abdomen is, bool [Z, Y, X]."""
    z, y, x = patient.space.places
    domes: list[NDArray[np.float32]] = []
    for middle, top in ((-78.0, 96.0), (78.0, 86.0)):
        outward = (x - middle) * np.sign(middle)
        fall = np.square(outward * np.where(outward > 0, 1.0, 0.4) / 70) + np.square(y / 85)
        domes.append(top + float(patient.rng.normal(0, 4)) - 58 * fall)
    height = z - np.maximum(domes[0], domes[1])
    middle_chest = np.abs(x) < 30
    patient.tissue[patient.cavity & (height > -3) & (height <= 0) & ~middle_chest] = MUSCLE
    patient.tissue[patient.cavity & (height > 0) & ~middle_chest] = LUNG
    chest = patient.cavity & (height > 0)
    patient.paint(HEART, anatomy.SURROUNDINGS["heart"], chest)
    below: Mask = patient.cavity & (height <= -3)
    return below


def _organs(patient: _Patient, below: Mask) -> None:
    for name, solids in anatomy.ORGANS_IN_CAVITY.items():
        patient.paint(ORGANS[name], solids, below)
    patient.paint(VESSEL, anatomy.SURROUNDINGS["loose_vessels"], patient.tissue == FAT)
    kidneys = np.isin(patient.tissue, (ORGANS["right kidney"], ORGANS["left kidney"]))
    patient.paint(FAT, anatomy.SURROUNDINGS["kidney_sinus"], kidneys)
    for name, solids in anatomy.ORGANS_ACROSS_DIAPHRAGM.items():
        patient.paint(ORGANS[name], solids, patient.cavity)


def _bones(patient: _Patient) -> None:
    """Spine and ribs."""
    z, y, x = patient.space.places
    parts = anatomy.SURROUNDINGS
    body = patient.inside(parts["vertebrae"])
    patient.tissue[body] = BONE
    patient.tissue[patient.inside(parts["vertebrae"], wall_mm=2.5)] = MARROW
    patient.tissue[patient.inside(parts["vertebral_arches"])] = BONE
    patient.tissue[patient.inside(parts["spinal_canal"])] = FLUID
    patient.tissue[body & ((z % anatomy.DISC_PITCH_MM) < anatomy.DISC_HEIGHT_MM)] = DISC
    slanted = z - 0.45 * y  # ribs fall from the spine to the front
    ribs = (patient.tissue == MUSCLE) & (slanted > anatomy.LOWEST_RIB_MM)
    ribs &= ((slanted % anatomy.RIB_PITCH_MM) < anatomy.RIB_HEIGHT_MM) & (np.abs(x) > 52)
    depth, width = anatomy.BODY_RADII
    ribs &= np.square(y / depth) + np.square(x / width) > 0.5
    patient.tissue[ribs] = BONE


def _tumours(patient: _Patient, diameters_mm: tuple[float, ...]) -> None:
    """Tumours in the liver; FLARE's tumour label covers the organ's."""
    rng, liver = patient.rng, ORGANS["liver"]
    for number in range(len(diameters_mm) or int(rng.integers(1, 4))):
        inside = np.flatnonzero(patient.tissue == liver)
        if not inside.size:
            return
        at = patient.space.places.reshape(3, -1)[:, int(rng.choice(inside))]
        radius = diameters_mm[number] / 2 if diameters_mm else float(rng.uniform(8, 22))
        ball = SolidEllipsoid((float(at[0]), float(at[1]), float(at[2])), (radius, radius, radius))
        mask = patient.space.mask(ball.varied(rng)) & (patient.tissue == liver)
        patient.tissue[mask] = ORGANS["tumour"]


def _contents(patient: _Patient) -> None:
    """Paint what lies inside a labelled organ: fluid and gas in the gut, vessels in the liver."""
    tissue, rng = patient.tissue, patient.rng
    lumps = smooth_noise(patient.grid, rng, 36.0)
    _, y, _ = patient.space.places
    solids, parts = anatomy.ORGANS_IN_CAVITY, anatomy.SURROUNDINGS
    stomach = patient.inside(solids["stomach"], wall_mm=5) & (tissue == ORGANS["stomach"])
    tissue[stomach] = FLUID
    tissue[stomach & (y < float(rng.uniform(-58, -34)))] = GAS  # supine: gas rises to the front
    colon = patient.inside(parts["colon"], wall_mm=4) & (tissue == BOWEL)
    tissue[colon & (lumps > 0.2)] = GAS
    tissue[(tissue == BOWEL) & (lumps < -0.9)] = FLUID
    duodenum = patient.inside(solids["duodenum"], wall_mm=5) & (tissue == ORGANS["duodenum"])
    tissue[duodenum] = FLUID
    patient.paint(VESSEL, parts["liver_vessels"], tissue == ORGANS["liver"])


def _hounsfield(patient: _Patient) -> NDArray[np.int16]:
    """Turn tissues into a CT: means of a phase, grain, blurred edges, scanner noise."""
    rng, tissue = patient.rng, patient.tissue
    sampled = float(rng.uniform())
    phase = _ARTERIAL if sampled < 0.25 else _PORTAL if sampled < 0.7 else _NATIVE
    means = np.zeros(256, dtype=np.float32)
    for code, phases in _HU.items():
        means[code] = phases[phase] + rng.normal(0, 4)
    hu = means[tissue]
    grain = smooth_noise(patient.grid, rng, 12.0)
    hu += np.where(np.isin(tissue, _PARENCHYMA), 4.0, 9.0).astype(np.float32) * grain
    noise = _blurred(rng.standard_normal(tissue.shape, dtype=np.float32), 0.6)
    noise *= np.float32(_NOISE_HU) / noise.std()
    hu = (_blurred(hu, 0.67) + noise).clip(-1024, 1500)
    return hu.round().astype(np.int16)


def _blurred(array: NDArray[np.float32], sigma_voxels: float) -> NDArray[np.float32]:
    variance = [sigma_voxels**2] * 3
    image = sitk.DiscreteGaussian(
        sitk.GetImageFromArray(array), variance, 32, 0.01, useImageSpacing=False
    )
    blurred: NDArray[np.float32] = sitk.GetArrayFromImage(image)
    return blurred
