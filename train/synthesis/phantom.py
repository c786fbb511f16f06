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

_CODES = {name: ORGANS.get(name, 20 + place) for place, name in enumerate(anatomy.MEAN_HU)}
"""Of every tissue; those of FLARE's organs are their labels."""
_NATIVE, _PORTAL, _ARTERIAL = range(3)
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

    def of(self, *tissues: str) -> Mask:
        """Return where any of `tissues` is."""
        return np.asarray(np.any([self.tissue == _CODES[name] for name in tissues], axis=0))

    def fill(self, tissue: str, where: Mask) -> None:
        """Make everything in `where` of `tissue`."""
        self.tissue[where] = _CODES[tissue]

    def paint(self, tissue: str, solids: tuple[Solid, ...], where: Mask) -> None:
        """Make `solids`, varied, of `tissue` inside `where`."""
        self.fill(tissue, self.space.mask(*(one.varied(self.rng) for one in solids)) & where)

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
    tissue = np.full(shape, _CODES["air"], dtype=np.uint8)
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
    layers = ((0.0, "skin"), (2.5, "fat"), (fat_mm, "muscle"), (fat_mm + wall_mm, "fat"))
    for inward, tissue in layers:
        a, b = depth - inward * thin_mm, width - inward
        inside = np.abs(y / a) ** _BODY_POWER + np.abs(x / b) ** _BODY_POWER <= 1
        patient.fill(tissue, inside)
    patient.cavity |= inside
    patient.paint("muscle", anatomy.SURROUNDINGS["back_muscles"], ~patient.of("air"))
    under = y - (depth + 6 - np.square(x / 60))
    couch = (under > 0) & (under < 9) & (np.abs(x) < 210) & patient.of("air")
    patient.fill("couch", couch)


def _bowel(patient: _Patient) -> None:
    """Colon, and loops of small bowel where there is room for them."""
    rng, cavity = patient.rng, patient.cavity
    patient.paint("bowel", anatomy.SURROUNDINGS["colon"], cavity)
    region = anatomy.BOWEL_REGION
    for _ in range(14):
        knots = np.array(region.center) + rng.uniform(-0.6, 0.6, (4, 3)) * region.radii
        loop = Tube(tuple((float(z), float(y), float(x)) for z, y, x in knots), (11, 12, 12, 11))
        patient.fill("bowel", patient.space.mask(loop) & cavity & patient.of("fat"))


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
    chest = patient.cavity & (height > 0)
    patient.fill("muscle", patient.cavity & (height > -3) & (height <= 0) & ~middle_chest)
    patient.fill("lung", chest & ~middle_chest)
    patient.paint("heart", anatomy.SURROUNDINGS["heart"], chest)
    below: Mask = patient.cavity & (height <= -3)
    return below


def _organs(patient: _Patient, below: Mask) -> None:
    for name, solids in anatomy.ORGANS_IN_CAVITY.items():
        patient.paint(name, solids, below)
    parts = anatomy.SURROUNDINGS
    patient.paint("vessel", parts["loose_vessels"], patient.of("fat"))
    patient.paint("fat", parts["kidney_sinus"], patient.of("right kidney", "left kidney"))
    for name, solids in anatomy.ORGANS_ACROSS_DIAPHRAGM.items():
        patient.paint(name, solids, patient.cavity)


def _bones(patient: _Patient) -> None:
    """Spine and ribs."""
    z, y, x = patient.space.places
    parts = anatomy.SURROUNDINGS
    body = patient.inside(parts["vertebrae"])
    patient.fill("bone", body)
    patient.fill("marrow", patient.inside(parts["vertebrae"], wall_mm=2.5))
    patient.fill("bone", patient.inside(parts["vertebral_arches"]))
    patient.fill("fluid", patient.inside(parts["spinal_canal"]))
    patient.fill("disc", body & ((z % anatomy.DISC_PITCH_MM) < anatomy.DISC_HEIGHT_MM))
    slanted = z - 0.45 * y  # ribs fall from the spine to the front
    ribs = patient.of("muscle") & (slanted > anatomy.LOWEST_RIB_MM)
    ribs &= ((slanted % anatomy.RIB_PITCH_MM) < anatomy.RIB_HEIGHT_MM) & (np.abs(x) > 52)
    depth, width = anatomy.BODY_RADII
    ribs &= np.square(y / depth) + np.square(x / width) > 0.5
    patient.fill("bone", ribs)


def _tumours(patient: _Patient, diameters_mm: tuple[float, ...]) -> None:
    """Tumours in the liver; FLARE's tumour label covers the organ's."""
    rng = patient.rng
    for number in range(len(diameters_mm) or int(rng.integers(1, 4))):
        inside = np.flatnonzero(patient.of("liver"))
        if not inside.size:
            return
        at = patient.space.places.reshape(3, -1)[:, int(rng.choice(inside))]
        radius = diameters_mm[number] / 2 if diameters_mm else float(rng.uniform(8, 22))
        ball = SolidEllipsoid((float(at[0]), float(at[1]), float(at[2])), (radius, radius, radius))
        patient.paint("tumour", (ball,), patient.of("liver"))


def _contents(patient: _Patient) -> None:
    """Paint what lies inside a labelled organ: fluid and gas in the gut, vessels in the liver."""
    rng = patient.rng
    lumps = smooth_noise(patient.grid, rng, 36.0)
    _, y, _ = patient.space.places
    solids, parts = anatomy.ORGANS_IN_CAVITY, anatomy.SURROUNDINGS
    stomach = patient.inside(solids["stomach"], wall_mm=5) & patient.of("stomach")
    patient.fill("fluid", stomach)
    # Supine: gas rises to the front.
    patient.fill("gas", stomach & (y < float(rng.uniform(-58, -34))))
    colon = patient.inside(parts["colon"], wall_mm=4) & patient.of("bowel")
    patient.fill("gas", colon & (lumps > 0.2))
    patient.fill("fluid", patient.of("bowel") & (lumps < -0.9))
    duodenum = patient.inside(solids["duodenum"], wall_mm=5) & patient.of("duodenum")
    patient.fill("fluid", duodenum)
    patient.paint("vessel", parts["liver_vessels"], patient.of("liver"))


def _hounsfield(patient: _Patient) -> NDArray[np.int16]:
    """Turn tissues into a CT: means of a phase, grain, blurred edges, scanner noise."""
    rng = patient.rng
    sampled = float(rng.uniform())
    phase = _ARTERIAL if sampled < 0.25 else _PORTAL if sampled < 0.7 else _NATIVE
    means = np.zeros(256, dtype=np.float32)
    for tissue, mean_hu in anatomy.MEAN_HU.items():
        means[_CODES[tissue]] = mean_hu[phase] + rng.normal(0, 4)
    hu = means[patient.tissue]
    grain = smooth_noise(patient.grid, rng, 12.0)
    hu += np.where(patient.of("liver", "spleen", "pancreas"), 4.0, 9.0).astype(np.float32) * grain
    noise = _blurred(rng.standard_normal(hu.shape, dtype=np.float32), 0.6)
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
