"""Settings of one training: the `[training]` table of a recipe."""

from dataclasses import dataclass

from imaging.errors import KitError
from imaging.records import PositiveInt

_CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "augmentation": ("light", "nnunet"),
    "dice": ("nnunet", "batch"),
    "undecided": ("ignore", "marginal"),
    "precision": ("bf16", "nnunet"),
}


@dataclass(frozen=True)
class Training:
    """How one network is trained; an empty list leaves to nnU-Net's planner what it would be.

    Axes (Z, Y, X).
    """

    patch: tuple[int, ...]
    window: tuple[int, ...]
    """What the network is planned for and predicts in; empty: the patch. A larger one is trained in
    small patches, a step of which takes less time, and predicts in fewer windows."""
    batch: int
    features: tuple[int, ...]
    """Channels of each stage; their number sets the depth."""
    decoder_convolutions: PositiveInt
    """Of each stage on the way up; nnU-Net's default is 2. Asks for `patch` or `features`."""
    clip_hu: tuple[float, ...]
    mean_hu: float
    std_hu: float
    """Mean and deviation go with `clip_hu`: without it the fingerprint's are taken."""
    epochs: int
    iterations: int
    """Steps an epoch."""
    validation_iterations: int
    """Patches an epoch on which nnU-Net's pseudo Dice is estimated."""
    save_every: int
    """Epochs between checkpoints: what a killed training loses at most."""
    optimizer: str
    """"adamw", or nnU-Net's "sgd"."""
    learning_rate: float
    rare_heads: bool
    """Whether the output layers start from the rarity of labels."""
    augmentation: str
    """"nnunet", or "light", which two CPU cores can keep up with."""
    mirroring: bool
    rotation_degrees: float
    scaling: tuple[float, ...]
    """Rotation and scaling are the light augmentation's; nnU-Net has its own."""
    dice: str
    """"batch": one Dice for all of a batch, so that a class that few patches have is not unlearnt
    on the others; or what nnU-Net's planner chooses."""
    oversample_foreground: float
    """Share of patches that are centered on a labelled voxel."""
    undecided: str
    """What a voxel labelled "ignore" teaches. "ignore": nothing. "marginal": that it is none of the
    classes which its case's annotators drew (`train.network.losses.MarginalLoss`)."""
    precision: str
    """"bf16", or "nnunet": float16 with a scaled loss on GPUs, float32 on CPUs."""
    threads: int
    """Threads of the training itself; the last bits of its sums depend on their number."""
    workers: int
    """Processes that draw batches ahead; 0: none, training waits. No result depends on it."""
    gpus: PositiveInt = 1
    """Cards that train one network together (nnU-Net's DDP), each with its share of a batch; for
    `--device cuda` alone."""

    def __post_init__(self) -> None:
        """Refuse what the trainer does not know."""
        for key, known in _CHOICES.items():
            if (found := getattr(self, key)) not in known:
                raise KitError(f"training: {key} is {found!r}; choose from {', '.join(known)}")
        if self.gpus > max(1, self.batch):
            raise KitError(
                f"training: {self.gpus} GPUs and a batch of {self.batch}; each GPU takes one patch "
                "or more of a batch"
            )
        if self.window and len(self.patch) != len(self.window):
            raise KitError(
                f"training: a window of {list(self.window)} and a patch of {list(self.patch)}; "
                "give both three numbers"
            )
