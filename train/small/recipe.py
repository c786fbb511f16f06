"""Recipe of the default weights: one TOML file with every setting."""

from dataclasses import dataclass
from pathlib import Path

from imaging.geometry import SpacingMm
from imaging.records import read_record


@dataclass(frozen=True)
class Space:
    """Where a sample is cut and how it is deformed. Angles in degrees, lengths in mm."""

    rotation_z: float
    rotation_xy: float
    scale: tuple[float, ...]
    """Least and greatest size of the sample's patient against the real one."""
    stretch: float
    """How far the three axes' scales may differ from their common one, as a share."""
    bend_mm: float
    """Deviation of the random displacement of each control point."""
    bend_every_mm: float
    """Distance of the control points."""
    centred: float
    """Share of the samples that are centred on a voxel of a random class."""
    cut: float
    """Share of the samples whose scan ends within the patch."""
    circle: float
    """Share with a circular field of view."""


@dataclass(frozen=True)
class Contrast:
    """Share of the samples that get another contrast phase, and the spread of organs in HU."""

    share: float
    spread_hu: float


@dataclass(frozen=True)
class Filling:
    """Share of the samples in which an organ is filled anew, or bowel loops are added."""

    stomach: float
    duodenum: float
    gallbladder: float
    bowel: float


@dataclass(frozen=True)
class Lesions:
    """Share of the samples with synthetic tumours, and with cysts, which are no tumours."""

    tumours: float
    cysts: float
    centred: float
    """Share of the samples that are centred on a real tumour, where the case has one."""


@dataclass(frozen=True)
class Scanner:
    """Share of the samples with each effect of a scanner."""

    thick_slices: float
    blur: float
    sharpen: float
    white_noise: float
    grainy_noise: float
    bias: float
    gain: float
    remap: float
    eight_bits: float
    random_network: float


@dataclass(frozen=True)
class Fit:
    """The network and how it is trained; axes (Z, Y, X)."""

    patch: tuple[int, ...]
    window: tuple[int, ...]
    """What the network predicts in; empty: the patch. Where it is larger, a step takes less time
    than one on whole windows."""
    batch: int
    """Samples a step, one after the other."""
    steps: int
    features: tuple[int, ...]
    decoder_convolutions: int
    clip_hu: tuple[float, ...]
    mean_hu: float
    std_hu: float
    tumour_weight: float
    """How much the tumour's Dice counts against an organ's."""
    start_sha256: str
    """Digest of the ONNX file whose weights the training starts from; empty: random weights."""
    learning_rate: float
    warm_up: int
    """Steps in which the learning rate grows to its full value."""
    horizon: int
    """Steps after which the rate, falling as in nnU-Net, would reach 0."""
    cool_down: int
    """Last steps, in which it falls to 0 from where it is; none where `steps` is the horizon."""
    weight_decay: float
    gradient_norm: float
    """Longer gradients are shortened to it."""
    averaging: float
    """Share of the old mean of the weights that stays after a step."""
    save_every: int
    """Steps between checkpoints: what a killed training loses at most."""
    threads: int


@dataclass(frozen=True)
class SmallRecipe:
    """One recipe, as train/recipes/default_weights.toml."""

    name: str
    seed: int
    spacing_mm: SpacingMm
    """Size of a voxel of the network's working grid (Z, Y, X)."""
    stored_mm: float
    """Edge of a voxel of the prepared cases."""
    cases: tuple[str, ...]
    duodenum_in_stomach: tuple[str, ...]
    """Cases whose experts annotated the duodenum as stomach."""
    lesions_in_liver: tuple[str, ...]
    """Cases that the second source labels: their livers have, or may have, lesions."""
    repeats: dict[str, int]
    """How many times as often as the others a case is sampled; 1 where it is not named."""
    space: Space
    contrast: Contrast
    filling: Filling
    lesions: Lesions
    scanner: Scanner
    fit: Fit


def load_small_recipe(path: Path) -> SmallRecipe:
    """Read a recipe; a key that is unknown, missing or of the wrong type is an error.

    Raises:
        KitError: The file is not TOML, or does not say exactly what a recipe says.
    """
    return read_record(path, SmallRecipe, "recipe")
