"""The same recipe gives the same checkpoint, also when it is killed on the way."""

import copy
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

pytest.importorskip("nnunetv2")

from inference.phantom import phantom
from train.checkpoints import canonical, write_checkpoint
from train.losses import DeterministicCrossEntropy
from train.nnunet import (
    PLANS,
    TrainingSpec,
    environment,
    fit,
    model_folder,
    train_round,
    write_plans,
)
from train.recipe import Training
from train.streams import EpochStream, seed_everything

ROOT = Path(__file__).parents[2]
TRAINING = Training(
    patch=(16, 24, 24),
    batch=2,
    features=(4, 8),
    clip_hu=(-200.0, 300.0),
    mean_hu=50.0,
    std_hu=80.0,
    epochs=3,
    iterations=2,
    validation_iterations=1,
    save_every=1,
    optimizer="adamw",
    learning_rate=0.002,
    rare_heads=True,
    augmentation="light",
    mirroring=False,
    rotation_degrees=15.0,
    scaling=(0.8, 1.2),
    oversample_foreground=0.5,
    workers=0,
)
SPEC = TrainingSpec("tiny", 7, (8.0, 8.0, 8.0), TRAINING)
CHECKPOINT = Path("fold_all") / "checkpoint_final.pth"


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Two small abdomens, one with voxels to ignore."""
    folder = tmp_path_factory.mktemp("cases")
    found = {}
    for seed in range(2):
        hu, labels = phantom(seed, (36, 48, 48), (8.0, 8.0, 8.0))
        labels[:4] = 15 if seed else labels[:4]
        files = folder / f"p{seed}_0000.nii.gz", folder / f"p{seed}.nii.gz"
        for array, path in zip((hu, labels), files, strict=True):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((8.0, 8.0, 8.0))
            sitk.WriteImage(image, str(path), useCompression=True)
        found[f"p{seed}"] = files
    return found


@pytest.fixture(scope="module")
def prepared(cases, tmp_path_factory):
    """A work folder whose first training is done, and its checkpoint's digest."""
    work = tmp_path_factory.mktemp("work") / "a"
    model = train_round(SPEC, cases, work)
    return work, digest(model / CHECKPOINT)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def again(prepared, tmp_path):
    """Return a work folder with the data prepared and nothing trained."""
    work = tmp_path / "work"
    shutil.copytree(prepared[0], work, symlinks=True, ignore=shutil.ignore_patterns("results"))
    return work


@pytest.mark.slow
class TestTraining:
    def test_two_runs_from_scratch_are_byte_equal(self, prepared, cases, tmp_path):
        model = train_round(SPEC, cases, tmp_path)
        assert digest(model / CHECKPOINT) == prepared[1]

    def test_a_finished_round_is_left_alone(self, prepared, cases):
        path = next(prepared[0].rglob("checkpoint_final.pth"))
        before = path.stat().st_mtime_ns
        train_round(SPEC, cases, prepared[0])
        assert path.stat().st_mtime_ns == before

    def test_killed_in_the_second_epoch_and_resumed(self, prepared, cases, tmp_path):
        work = again(prepared, tmp_path)
        code = "import sys; from pathlib import Path; from train.nnunet import fit;"
        code += "fit(Path(sys.argv[1]), 'cpu')"
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(work)],
            cwd=ROOT,
            env=environment(work),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        latest = Path("checkpoint_latest.pth")
        deadline = time.monotonic() + 120
        while not list(work.rglob(latest.name)) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert list(work.rglob(latest.name))
        assert not list(work.rglob("checkpoint_final.pth"))
        model = train_round(SPEC, cases, work)
        assert digest(model / CHECKPOINT) == prepared[1]

    def test_another_seed_is_another_network(self, prepared, cases, tmp_path):
        assert digest(self.trained(replace(SPEC, seed=8), prepared, tmp_path)) != prepared[1]

    def test_nnunets_augmentation_with_workers_is_byte_equal(self, prepared, tmp_path):
        changes = {"augmentation": "nnunet", "mirroring": True, "optimizer": "sgd", "workers": 2}
        spec = replace(SPEC, training=replace(TRAINING, epochs=2, **changes))
        paths = [self.trained(spec, prepared, tmp_path / name) for name in "ab"]
        assert digest(paths[0]) == digest(paths[1])
        content = torch.load(paths[0], weights_only=False)
        assert content["inference_allowed_mirroring_axes"] == (0, 1, 2)

    def trained(self, spec, prepared, folder):
        """Train another recipe on the data that is prepared; return the checkpoint."""
        work = again(prepared, folder)
        write_plans(spec, work / "preprocessed" / spec.dataset / f"{PLANS}.json")
        fit(work, "cpu")
        return model_folder(spec, work) / CHECKPOINT


class TestLoss:
    def logits(self, *shape):
        made = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return made.requires_grad_()

    def test_is_the_mean_that_torch_computes(self):
        labels = torch.randint(0, 3, (2, 1, 4, 5, 6), generator=torch.Generator().manual_seed(1))
        ours, theirs = self.logits(2, 3, 4, 5, 6), self.logits(2, 3, 4, 5, 6)
        loss = DeterministicCrossEntropy()(ours, labels)
        expected = torch.nn.functional.cross_entropy(theirs, labels[:, 0])
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
        loss.backward()
        expected.backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=0)

    def test_by_hand_with_a_voxel_to_ignore(self):
        # Two classes, equal logits: -log(1/2) in each of the two voxels that count.
        logits = torch.zeros((1, 2, 1, 1, 3), requires_grad=True)
        labels = torch.tensor([0, 1, 15]).reshape(1, 1, 1, 1, 3)
        loss = DeterministicCrossEntropy(15)(logits, labels)
        assert loss.item() == pytest.approx(np.log(2))
        loss.backward()
        # d/dlogit = (softmax - target) / 2 voxels = +-1/4, and nothing where it is ignored.
        np.testing.assert_allclose(
            logits.grad[0, :, 0, 0], [[-0.25, 0.25, 0.0], [0.25, -0.25, 0.0]], rtol=1e-6
        )

    def test_ignored_voxels_do_not_change_the_loss(self):
        labels = torch.full((1, 4, 4, 4), 15)
        labels[0, 0] = 1
        first, second = self.logits(1, 3, 4, 4, 4), self.logits(1, 3, 4, 4, 4).detach()
        second[:, :, 1:] = 99
        loss = DeterministicCrossEntropy(15)
        assert loss(first, labels).item() == loss(second, labels).item()


class _Numbers:
    """A loader as nnU-Net's: endless, drawing from the process's streams."""

    def __next__(self):
        return {"np": np.random.random(), "torch": torch.rand(1).item(), "py": random.random()}


class TestStreams:
    def drawn(self, workers, *entropy, count=6):
        stream = EpochStream(_Numbers(), workers, pin_memory=False)
        seed_everything(*entropy)
        stream.start(*entropy)
        try:
            return [next(stream) for _ in range(count)]
        finally:
            stream.stop()

    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_an_epoch_is_drawn_again_as_it_was(self, workers):
        assert self.drawn(workers, 1, 2) == self.drawn(workers, 1, 2)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_epochs_and_seeds_differ(self, workers):
        assert self.drawn(workers, 1, 2) != self.drawn(workers, 1, 3)
        assert self.drawn(workers, 1, 2) != self.drawn(workers, 2, 2)

    def test_workers_do_not_share_a_stream(self):
        found = self.drawn(3, 1, 2)
        for key in ("np", "torch", "py"):
            assert len({batch[key] for batch in found}) == len(found)

    def test_no_worker_is_left(self):
        before = len(multiprocessing.active_children())
        self.drawn(2, 1, 2)
        assert len(multiprocessing.active_children()) == before


class TestCheckpoints:
    def content(self):
        return {
            "network_weights": OrderedDict(w=torch.arange(3.0)),
            "logging": {"losses": [np.float32(0.5)], "epoch_start_timestamps": [time.time()]},
            "init_args": {"plans": {"a": ["b", np.int64(3)]}},
        }

    def test_bytes_do_not_tell_when_or_where(self, tmp_path):
        first = self.content()
        second = copy.deepcopy(first)
        second["logging"]["epoch_start_timestamps"] = [1.0]
        second["init_args"] = {"plans": {"".join(["a"]): ["".join(["b"]), 3]}}
        for name, content in (("a.pth", first), ("other.pth", second)):
            write_checkpoint(content, tmp_path / name)
        assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "other.pth").read_bytes()

    def test_reads_back(self, tmp_path):
        write_checkpoint(self.content(), tmp_path / "a.pth")
        found = torch.load(tmp_path / "a.pth", weights_only=True)
        assert found["logging"] == {"losses": [0.5], "epoch_start_timestamps": [0.0]}
        torch.testing.assert_close(found["network_weights"]["w"], torch.arange(3.0))

    def test_numpy_becomes_python(self):
        found = canonical({"a": (np.float64(0.25), np.array([1, 2]), None, True)})
        assert found == {"a": (0.25, [1, 2], None, True)}
        assert type(found["a"][0]) is float


def test_fit_names_the_command_that_failed(tmp_path):
    from inference.errors import KitError

    with pytest.raises(KitError, match="`nnUNetv2_train 23 3d_fullres all"):
        fit(tmp_path, "cpu")
