"""Torch where a card fails, at its opening or in a case; the card is played by the CPU."""

import logging

import numpy as np
import pytest

from imaging.errors import EngineError
from inference.engines import EngineOptions, open_engine
from inference.pipeline import predict_folder
from inference.predictor import Progress
from inference.settings import Settings
from tests.inference.failing_cards import check_maps, check_the_cpu_went_on
from tests.inference.tiny_logits import PATCH, patches, worked_out

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

from inference.engines import torch_engine  # noqa: E402
from inference.engines.torch_network import TorchNetwork  # noqa: E402

FLOAT = onnx.TensorProto.FLOAT


@pytest.fixture
def one_card(monkeypatch):
    """A machine with one card, of which every tensor stays on the CPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "RTX A6000")
    monkeypatch.setattr(TorchNetwork, "to", lambda self, device: self)
    monkeypatch.setattr(torch_engine.TorchEngine, "__init__", _on_the_cpu)
    monkeypatch.setattr(torch_engine, "graph_of", lambda compute, device: Card.record(compute))


class Card:
    """What records computations there, while a test leaves it."""

    record = staticmethod(lambda compute: compute)


_init = torch_engine.TorchEngine.__init__


def _on_the_cpu(self, network, patch, classes, device, description, record):
    assert device == torch.device("cuda", 0)
    _init(self, network, patch, classes, torch.device("cpu"), description, record)


@pytest.mark.parametrize(("precision", "used"), [("auto", "f16"), ("f32", "f32")])
def test_a_card_computes_in_float16_unless_float32_is_requested(one_card, network, precision, used):
    with open_engine("torch", network(), EngineOptions(1, precision)) as engine:
        told = engine.description
        answer = engine.infer(patches(1)[0])
    assert (told["device"], told["precision"]) == ("RTX A6000", used)
    exact = bool((answer == worked_out(patches(1)[0])).all())
    assert exact == (used == "f32")


def test_a_card_that_cannot_run_a_patch_is_named_at_once(one_card, network, monkeypatch):
    def fails(self, patches):
        raise RuntimeError("no kernel image is available\nfor execution on the device")

    monkeypatch.setattr(TorchNetwork, "forward", fails)
    told = "torch cannot run a patch of shape .*: no kernel image is available for execution"
    with pytest.raises(EngineError, match=told), open_engine("torch", network(), EngineOptions()):
        pass


def test_nan_is_said_at_once(one_card, network, monkeypatch):
    monkeypatch.setattr(
        TorchNetwork, "forward", lambda self, given: given.expand(1, 3, *PATCH[2:]) * np.nan
    )
    told = "torch answers NaN or infinity; use --precision f32"
    with pytest.raises(EngineError, match=told), open_engine("torch", network(), EngineOptions()):
        pass


def test_a_card_that_is_not_there_is_said(one_card, network):
    told = "--device 1 was requested, but 1 GPUs can be used here"
    options = EngineOptions(device=1)
    with pytest.raises(EngineError, match=told), open_engine("torch", network(), options):
        pass


def fails(message):
    def broken(*_):
        raise RuntimeError(message)

    return broken


def out_of_memory(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n 2.00 GiB.")


def answers(shape, factor=1.0):
    return lambda self, given: torch.full(shape, factor, dtype=torch.float32)


def cannot_load(monkeypatch):
    monkeypatch.setattr(TorchNetwork, "to", fails("CUDA error: all\n devices are busy"))


def has_no_context(monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_name", fails("CUDA driver\n failed"))


def cannot_be_captured_nor_run(monkeypatch):
    """The recording fails, and so does what comes in its place."""
    cannot_be_captured(monkeypatch)
    monkeypatch.setattr(TorchNetwork, "forward", fails("CUDA error: operation\n failed"))


def cannot_be_captured(monkeypatch):
    monkeypatch.setattr(Card, "record", fails("not permitted\n when capturing"))


def ends_the_memory(monkeypatch):
    monkeypatch.setattr(TorchNetwork, "forward", out_of_memory)


def answers_nan(monkeypatch):
    monkeypatch.setattr(TorchNetwork, "forward", answers((1, 3, *PATCH[2:]), np.nan))


def answers_other_labels(monkeypatch):
    monkeypatch.setattr(TorchNetwork, "forward", answers((1, 4, *PATCH[2:])))


def answers_one_voxel(monkeypatch):
    """A shape that would be blended as any other, for numbers are repeated along axes of one."""
    monkeypatch.setattr(TorchNetwork, "forward", answers((1, 3, 1, 1, 1)))


SHAPE = r"torch cannot run a patch of shape \(1, 1, 4, 5, 6\): "
AT_OPENING = {
    cannot_load: "torch cannot load tiny.onnx: CUDA error: all devices are busy",
    has_no_context: r"torch cannot be used here \(RuntimeError: CUDA driver failed\)",
    cannot_be_captured_nor_run: SHAPE + "CUDA error: operation failed",
    ends_the_memory: SHAPE + "CUDA out of memory. Tried to allocate 2.00 GiB.",
    answers_nan: "torch answers NaN or infinity; use --precision f32",
    answers_other_labels: SHAPE + r"it answers \(1, 4, 4, 5, 6\), not \(1, 3, 4, 5, 6\)",
    answers_one_voxel: SHAPE + r"it answers \(1, 3, 1, 1, 1\), not \(1, 3, 4, 5, 6\)",
}


@pytest.fixture
def auto_takes_torch(monkeypatch):
    """--engine auto, with the torch engine in the place of a plan's."""
    monkeypatch.setattr("inference.engines._gpu_engines", lambda manifest: ["torch"])


@pytest.mark.parametrize("fault", AT_OPENING, ids=lambda fault: fault.__name__)
def test_a_card_that_fails_at_opening_is_passed_over_in_one_line(
    one_card, auto_takes_torch, network, monkeypatch, caplog, fault
):
    fault(monkeypatch)
    manifest, told = network(), AT_OPENING[fault]
    with pytest.raises(EngineError, match=told), open_engine("torch", manifest, EngineOptions(1)):
        pass
    caplog.clear()
    with caplog.at_level(logging.WARNING), open_engine("auto", manifest, EngineOptions(1)) as other:
        assert other.description["name"] == "openvino"
    assert "\n" not in "".join(caplog.messages)
    assert caplog.messages[-1].startswith("engine torch passed over: torch ")


IN_A_CASE = {
    cannot_be_captured_nor_run: "CUDA error: operation failed",
    ends_the_memory: "CUDA out of memory. Tried to allocate 2.00 GiB.",
    answers_nan: "the network answers NaN or infinity; try --precision f32",
    answers_other_labels: "it answers (1, 4, 4, 5, 6)",
    answers_one_voxel: "it answers (1, 3, 1, 1, 1)",
}
"""A card that is lost fails as one whose recording and running do."""


def breaking(fault, monkeypatch):
    """Let a fault begin when the second case reaches the network."""
    reached = []

    def case(name, windows):
        reached.append(name)
        if len(reached) == 2:
            fault(monkeypatch)

    return Progress(case=case)


@pytest.mark.parametrize("fault", IN_A_CASE, ids=lambda fault: fault.__name__)
def test_a_card_that_fails_in_a_case_leaves_it_and_the_others_to_the_cpu(
    one_card, auto_takes_torch, network, three_cases, tmp_path, monkeypatch, fault
):
    cases, labels = three_cases
    progress = breaking(fault, monkeypatch)
    report = predict_folder(cases, tmp_path / "out", network(), Settings(threads=1), progress)
    check_the_cpu_went_on(report, "torch", IN_A_CASE[fault], tmp_path / "out", labels)


def test_a_case_that_cannot_be_captured_any_more_runs_without_a_graph(
    one_card, auto_takes_torch, network, three_cases, tmp_path, monkeypatch, caplog
):
    cases, labels = three_cases
    progress = breaking(cannot_be_captured, monkeypatch)
    with caplog.at_level(logging.WARNING):
        settings = Settings(threads=1)
        report = predict_folder(cases, tmp_path / "out", network(), settings, progress)
    assert [case.engine for case in report.cases] == ["torch"] * 3
    assert caplog.messages == [
        "torch runs without a CUDA graph, a little slower: not permitted when capturing"
    ]
    check_maps(tmp_path / "out", labels)


def test_torch_that_was_chosen_by_name_is_not_exchanged(
    one_card, network, three_cases, tmp_path, monkeypatch
):
    progress = breaking(ends_the_memory, monkeypatch)
    settings = Settings(engine="torch", threads=1)
    report = predict_folder(three_cases[0], tmp_path / "out", network(), settings, progress)
    assert [case.status for case in report.cases] == ["done", "failed", "failed"]
    assert "CUDA out of memory. Tried to allocate 2.00 GiB." in report.cases[1].error
