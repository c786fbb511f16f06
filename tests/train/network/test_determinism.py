"""The same recipe gives the same bytes, also when it is killed on the way."""

import io
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("nnunetv2")

import blosc2
import torch

import inference
from imaging.errors import KitError
from imaging.geometry import Orientation
from imaging.records import write_json
from imaging.resampling import resample_linear
from imaging.volumes import read_volume
from tests.train.training import (
    SPEC,
    TRAINING,
    checkpoint_of,
    copied,
    train_here,
    trainer_of,
    varied,
)
from train.network import nnunet
from train.network.nnunet import environment, fit, train_round

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
class TestSameBytes:
    def test_in_another_process_and_folder(self, first, work):
        found = train_here(SPEC, work)
        assert found == checkpoint_of(SPEC, first)
        assert all(torch.isfinite(weights).all() for weights in weights_of(found))

    def test_killed_in_the_middle_of_an_epoch(self, first, work):
        code = "import sys; from pathlib import Path; from train.network.nnunet import fit;"
        code += "fit(Path(sys.argv[1]), 'cpu')"
        stage = subprocess.Popen(
            [sys.executable, "-c", code, str(work)],
            env=environment(work),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not list(work.rglob("checkpoint_latest.pth")) and stage.poll() is None:
            time.sleep(0.005)
        children = psutil.Process(stage.pid).children(recursive=True)
        stage.send_signal(signal.SIGKILL)
        stage.wait()
        assert psutil.wait_procs(children, timeout=30)[1] == [], "nnU-Net outlived its stage"
        assert len(children) == 1
        assert not list(work.rglob("checkpoint_final.pth"))
        assert train_here(SPEC, work, resume=True) == checkpoint_of(SPEC, first)

    def test_whoever_draws_the_batches(self, first, tmp_path):
        found = set()
        for workers in range(3):
            changes = {"augmentation": "nnunet", "optimizer": "sgd", "precision": "nnunet"}
            spec = varied(**changes, mirroring=True, workers=workers, epochs=2)
            content = train_here(spec, copied(first, tmp_path / str(workers)))
            found.add(b"".join(weights.numpy().tobytes() for weights in weights_of(content)))
        assert len(found) == 1


def weights_of(checkpoint):
    return torch.load(io.BytesIO(checkpoint), weights_only=False)["network_weights"].values()


@pytest.mark.slow
class TestResumed:
    def test_between_epochs_the_best_one_is_kept(self, work, tmp_path):
        # Pseudo Dice 0.2, 0.9, 0.1: nnU-Net's moving averages are 0.2, 0.27, 0.253. The second
        # epoch is the best; checkpoint_latest of that epoch was written before that was noted.
        # With these numbers the last bit depends on whether 0.27 went on as float32.
        whole, resumed = work, copied(work, tmp_path / "resumed")
        with trainer_of(SPEC, whole) as trainer:
            dictate(trainer, [0.2, 0.9, 0.1])
            trainer.run_training()
        with trainer_of(SPEC, resumed) as trainer:
            dictate(trainer, [0.2, 0.9])
            with pytest.raises(StopIteration):
                trainer.run_training()
        with trainer_of(SPEC, resumed, resume=True) as trainer:
            assert trainer.current_epoch == 2
            dictate(trainer, [0.1])
            trainer.run_training()
            assert trainer._best_ema == pytest.approx(0.27)
        assert checkpoint_of(SPEC, resumed) == checkpoint_of(SPEC, whole)

    def test_the_next_epoch_draws_the_next_batches(self, work):
        with trainer_of(varied(epochs=1), work) as trainer:
            trainer.run_training()
            next_one = next(trainer.dataloader_train)
        with trainer_of(SPEC, work, resume=True) as trainer:
            trainer.on_train_start()
            after_resuming = next(trainer.dataloader_train)
        assert next_one["keys"].tolist() == after_resuming["keys"].tolist()
        assert torch.equal(next_one["data"], after_resuming["data"])


def dictate(trainer, dices):
    """Let validation find these pseudo Dices, and end the training where they end."""
    remaining = iter([np.float32(dice) for dice in dices])

    def validated(_outputs):
        for key, value in (("mean_fg_dice", next(remaining)), ("val_losses", 0.0)):
            trainer.logger.log(key, value, trainer.current_epoch)
        trainer.logger.log("dice_per_class_or_region", [0.0], trainer.current_epoch)

    trainer.on_validation_epoch_end = validated


@pytest.mark.slow
class TestRecipe:
    def test_another_seed_is_another_network(self, work):
        spec = replace(varied(epochs=1), seed=8)
        with trainer_of(SPEC, work) as one, trainer_of(spec, work) as other:
            for trainer in (one, other):
                trainer.initialize()
            weights = [next(iter(t.network.parameters())) for t in (one, other)]
            assert not torch.equal(*weights)

    def test_mirroring_is_for_training_and_prediction(self, work):
        for mirroring, axes in ((True, (0, 1, 2)), (False, None)):
            for augmentation in ("light", "nnunet"):
                with trainer_of(varied(mirroring=mirroring, augmentation=augmentation), work) as t:
                    t.initialize()
                    t.get_dataloaders()
                    assert t.inference_allowed_mirroring_axes == axes

    def test_a_window_is_for_prediction_and_the_patch_for_training(self, work):
        with trainer_of(varied(window=(32, 48, 48)), work) as trainer:
            trainer.on_train_start()
            batch = next(trainer.dataloader_train)
            trainer.save_checkpoint(str(work / "checkpoint.pth"))
        assert batch["data"].shape == (2, 1, 16, 24, 24)
        plans = torch.load(work / "checkpoint.pth", weights_only=False)["init_args"]["plans"]
        assert plans["configurations"]["3d_fullres"]["patch_size"] == [32, 48, 48]

    def test_nothing_is_chosen_by_its_speed(self, work):
        with trainer_of(varied(augmentation="nnunet"), work) as trainer:
            trainer.initialize()
            trainer.on_train_start()
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.backends.cudnn.deterministic
            assert not torch.backends.cudnn.benchmark
            steps = trainer.dataloader_train._loader.transforms.transforms
        (blur,) = [
            each for step in steps if hasattr(each := getattr(step, "transform", 0), "blur_sigma")
        ]
        assert blur.benchmark is False


@pytest.mark.slow
@pytest.mark.parametrize("case", ["p0", "p1"])
def test_training_and_prediction_see_the_same_voxels(first, cases, case):
    folder = first / "preprocessed" / SPEC.dataset / "flare23Plans_3d_fullres"
    seen = blosc2.open(str(folder / f"{case}.b2nd"))[:][0]
    volume = read_volume(cases[case][0])
    turn = Orientation.to("RAS", volume.direction)
    shape = turn.grid(volume.grid).resampled(SPEC.spacing_mm).shape
    hu = turn.apply(volume.hu).astype(np.float32)
    mean, std = np.float32(TRAINING.mean_hu), np.float32(TRAINING.std_hu)
    # nnU-Net normalizes before it resamples, prediction after: float32 rounds otherwise.
    normalized = (np.clip(hu, *TRAINING.clip_hu) - mean) / std
    assert np.array_equal(seen, resample_linear(normalized, shape))
    predicted = (resample_linear(hu, shape, TRAINING.clip_hu) - mean) / std
    np.testing.assert_allclose(seen, predicted, rtol=0, atol=2e-6)


class TestGoingOn:
    @pytest.fixture
    def requested(self, monkeypatch):
        """Record which steps are run, instead of running them."""
        steps = []

        def fitted(work, _device):
            steps.append("fit")
            checkpoint = nnunet.model_folder(SPEC, work) / nnunet.MODEL_FILES[-1]
            checkpoint.parent.mkdir(parents=True)
            checkpoint.touch()

        monkeypatch.setattr(nnunet, "prepare", lambda *_: steps.append("prepare"))
        monkeypatch.setattr(nnunet, "fit", fitted)
        return steps

    def test_what_is_done_is_not_done_again(self, cases, tmp_path, requested):
        for _ in range(2):
            train_round(SPEC, cases, tmp_path)
        assert requested == ["prepare", "fit"]

    def test_what_was_done_for_another_order_is_done_again(self, cases, tmp_path, requested):
        orders = [
            (SPEC, cases, "cpu"),
            (replace(SPEC, seed=8), cases, "cpu"),
            (SPEC, {"p0": cases["p0"]}, "cpu"),
            (SPEC, {"p0": (cases["p0"][0], cases["p1"][1])}, "cpu"),
            (SPEC, cases, "cuda"),
        ]
        for spec, of_these, device in orders:
            train_round(spec, of_these, tmp_path, device)
        assert requested == ["prepare", "fit"] * len(orders)

    def test_what_another_kit_did_is_done_again(self, cases, tmp_path, requested, monkeypatch):
        for kit in ("1.0", "1.0", "1.1"):
            monkeypatch.setattr(inference, "__version__", kit)
            train_round(SPEC, cases, tmp_path)
        assert requested == ["prepare", "fit"] * 2

    @pytest.mark.parametrize("package", sorted(nnunet._PACKAGES))
    def test_what_another_package_did_is_done_again(
        self, cases, tmp_path, requested, monkeypatch, package
    ):
        def newer(name):
            return "newer" if name == package else version(name)

        train_round(SPEC, cases, tmp_path)
        monkeypatch.setattr(nnunet, "version", newer)
        train_round(SPEC, cases, tmp_path)
        assert requested == ["prepare", "fit"] * 2

    @pytest.mark.parametrize(("undecided", "times"), [("ignore", 1), ("marginal", 2)])
    def test_what_was_annotated_counts_where_the_loss_asks(
        self, cases, tmp_path, requested, undecided, times
    ):
        spec = varied(undecided=undecided)
        for first in ((1, 2), (2, 1), (1, 2, 3)):
            train_round(spec, cases, tmp_path, annotated={"p0": first, "p1": ()})
        assert requested == ["prepare", "fit"] * times

    def test_a_case_of_which_nothing_says_what_was_annotated_is_named(self, cases, tmp_path):
        for annotated, missing in (({"p1": ()}, "p0"), (None, "p0, p1")):
            with pytest.raises(
                KitError, match=f"which labels were annotated in {missing}; give them for every"
            ):
                train_round(varied(undecided="marginal"), cases, tmp_path, annotated=annotated)

    def test_two_at_once_do_it_once(self, cases, tmp_path, requested, monkeypatch):
        quick = nnunet.fit
        monkeypatch.setattr(nnunet, "fit", lambda *given: (time.sleep(0.2), quick(*given)))
        with ThreadPoolExecutor(2) as both:
            models = list(both.map(lambda _: train_round(SPEC, cases, tmp_path), range(2)))
        assert requested == ["prepare", "fit"]
        assert models[0] == models[1]

    def test_a_missing_file_is_named(self, cases, tmp_path):
        gone = {"p0": (tmp_path / "gone.nii.gz", cases["p0"][1])}
        with pytest.raises(KitError, match=r"cannot read .*gone\.nii\.gz"):
            train_round(SPEC, gone, tmp_path)


def test_a_step_that_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(nnunet, "_TRAIN", ("train.network.parent_process", "no_such_entry"))
    write_json(asdict(SPEC), tmp_path / "spec.json")
    with pytest.raises(KitError, match=r"`no_such_entry 23 3d_fullres all .*exit code 1"):
        fit(tmp_path, "cpu")
