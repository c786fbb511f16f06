"""A training of the default weights' kind that takes seconds: two abdomens, three stages."""

import shutil
from pathlib import Path

import numpy as np

from inference.phantom import phantom
from train.small.compact import PreparedCase, SoftLabels, write_case
from train.small.fit import RECIPE

DEFAULT = Path("train/recipes/default_weights.toml")
STORED_MM = 6.0


def write_prepared(folder, steps=4, save_every=100):
    """Write a folder as `train small prepare` does: two generated abdomens, a small network."""
    folder.mkdir(parents=True)
    names = ["one", "two"]
    for seed, name in enumerate(names):
        hu, labels = phantom(seed, (30, 48, 60), (STORED_MM,) * 3)
        sure = np.full(labels.shape, 255, np.uint8)
        soft = SoftLabels(labels, labels, sure)
        write_case(PreparedCase(name, hu.astype(np.float32), soft), folder)
    text = DEFAULT.read_text(encoding="utf-8")
    start, end = text.index("cases = ["), text.index("[space]")
    lists = (
        f"cases = {names}\nduodenum_in_stomach = []\nlesions_in_liver = []\n[repeats]\ntwo = 2\n\n"
    )
    text = text[:start] + lists.replace("'", '"') + text[end:]
    for old, new in (
        ("spacing_mm = 3.0", "spacing_mm = 7.0"),
        ("stored_mm = 2.5", f"stored_mm = {STORED_MM}"),
        ("patch = [64, 80, 96]", "patch = [16, 24, 24]"),
        ("features = [16, 32, 64, 128, 256]", "features = [4, 8, 8]"),
        ("save_every = 200", f"save_every = {save_every}"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    rows = [f"steps = {steps}" if row.startswith("steps = ") else row for row in text.splitlines()]
    (folder / RECIPE).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


__all__ = ["DEFAULT", "shutil", "write_prepared"]
