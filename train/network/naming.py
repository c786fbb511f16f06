"""Names of the kit's trainings in nnU-Net's folders."""

DATASET = 23
"""The challenge's year."""
CONFIGURATION = "3d_fullres"
PLANS = "flare23Plans"
TRAINER = "FLARE23Trainer"


def dataset_name(name: str) -> str:
    """Return nnU-Net's name of the dataset called `name`."""
    return f"Dataset{DATASET:03d}_{name}"


def model_folder_name() -> str:
    """Return the name of nnU-Net's result folder in a dataset's."""
    return f"{TRAINER}__{PLANS}__{CONFIGURATION}"
