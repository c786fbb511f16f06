"""TensorRT where a CUDA graph cannot be captured, and where the card fails in a case."""

import logging

import numpy as np
import pytest

from inference.engines import infer_many
from inference.pipeline import predict_folder
from inference.predictor import Progress
from inference.settings import Settings
from tests.inference.failing_cards import check_maps, check_the_cpu_went_on

real = pytest.importorskip("cuda.bindings.runtime")
pytest.importorskip("onnx")
from tests.inference.stand_in_gpu import OUT_OF_MEMORY, Context, opened  # noqa: E402
from tests.inference.tiny_logits import patches, worked_out  # noqa: E402

UNCAPTURABLE = real.cudaError_t.cudaErrorStreamCaptureUnsupported


def not_capturable(machine, monkeypatch):
    """The plan was built without the flag; to capture it all the same would be an error."""
    monkeypatch.setattr(Context, "capturable", False)
    machine.cudaStreamBeginCapture = lambda *_: (UNCAPTURABLE,)


def capture_fails_at_its_end(machine, _):
    def end(stream):
        machine.capturing = None
        return UNCAPTURABLE, None

    machine.cudaStreamEndCapture = end


def tensorrt_has_no_such_question(machine, monkeypatch):
    monkeypatch.delattr(Context, "is_stream_capturable")
    capture_fails_at_its_end(machine, monkeypatch)


@pytest.mark.parametrize(
    "broken", [not_capturable, capture_fails_at_its_end, tensorrt_has_no_such_question]
)
def test_a_plan_that_cannot_be_captured_runs_without_a_graph_and_says_so_once(
    trt, machine, planned, monkeypatch, caplog, broken
):
    broken(machine, monkeypatch)
    with caplog.at_level(logging.WARNING), opened(planned()) as engine:
        for _ in range(2):  # two cases: the GPU is left between them
            given = patches(3)
            for patch, answer in zip(given, infer_many(engine, iter(given)), strict=True):
                np.testing.assert_allclose(answer, worked_out(patch), atol=1e-5)
    assert [message[:40] for message in caplog.messages] == [
        "tensorrt-rtx runs without a CUDA graph, "
    ]


def test_a_plan_that_can_be_captured_is_replayed(trt, machine, planned):
    launched = []
    launch = machine.cudaGraphLaunch
    machine.cudaGraphLaunch = lambda *given: (launched.append(given), launch(*given))[1]
    with opened(planned()) as engine:
        del launched[:]  # those of the patch that tried it
        list(infer_many(engine, iter(patches(3))))
    assert len(launched) == 3


def refuses(monkeypatch, machine):
    monkeypatch.setattr(Context, "capturable", False)
    monkeypatch.setattr(Context, "execute_async_v3", lambda self, handle: False)


def raises(monkeypatch, machine):
    def gone(self, handle):
        raise RuntimeError("the driver\n  is gone")

    monkeypatch.setattr(Context, "capturable", False)
    monkeypatch.setattr(Context, "execute_async_v3", gone)


def has_no_context(monkeypatch, machine):
    monkeypatch.setattr(Context, "__init__", lambda *_: 1 / 0)


def has_no_memory_left(monkeypatch, machine):
    machine.cudaMalloc = lambda size: (OUT_OF_MEMORY, None)


def cannot_launch(monkeypatch, machine):
    code = real.cudaError_t.cudaErrorLaunchFailure
    machine.cudaGraphLaunch = lambda graph, stream: (code,)


def is_lost(monkeypatch, machine):
    """Every call fails from here on, those that free too."""
    code = real.cudaError_t.cudaErrorIllegalAddress
    machine.cudaEventSynchronize = lambda event: (code,)
    for name in ("cudaFree", "cudaFreeHost", "cudaStreamDestroy", "cudaGraphExecDestroy"):
        works = getattr(machine, name)
        setattr(machine, name, lambda thing, works=works: (works(thing), (code,))[1])


def answers_nan(monkeypatch, machine):
    whole = Context.execute_async_v3

    def execute(self, handle):
        self._network = lambda patch: np.nan * worked_out(patch)
        return whole(self, handle)

    monkeypatch.setattr(Context, "execute_async_v3", execute)


FAULTS = {
    refuses: (0, "tensorrt-rtx cannot run (tiny.plan): it does not say why"),
    raises: (0, "tensorrt-rtx cannot be used here (RuntimeError: the driver is gone)"),
    has_no_context: (0, "tensorrt-rtx cannot be used here (ZeroDivisionError: division by zero)"),
    has_no_memory_left: (0, "CUDA: out of memory (cudaErrorMemoryAllocation)"),
    answers_nan: (0, "the network answers NaN or infinity; try --precision f32"),
    cannot_launch: (3, "CUDA: unspecified launch failure (cudaErrorLaunchFailure)"),
    is_lost: (3, "CUDA: an illegal memory access was encountered (cudaErrorIllegalAddress)"),
}
"""Each with the window of the second case at which it begins (0: as the case reaches the network),
and what is said of it."""


def breaking(fault, monkeypatch, machine):
    """Let a fault begin in the second case."""
    reached = []

    def case(name, windows):
        reached.append(0)
        window(0)

    def window(one=1):
        reached[-1] += one
        if (len(reached), reached[-1]) == (2, FAULTS[fault][0]):
            fault(monkeypatch, machine)

    return Progress(case=case, window=window)


@pytest.mark.parametrize("limits", [{}, {"time_limit_s": 1e4}], ids=["free", "limited"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_gpu_that_fails_in_a_case_leaves_it_and_the_others_to_the_cpu(
    trt, machine, planned, three_cases, tmp_path, monkeypatch, caplog, fault, limits
):
    cases, labels = three_cases
    progress = breaking(fault, monkeypatch, machine)
    with caplog.at_level(logging.WARNING):
        settings = Settings(threads=1, **limits)
        report = predict_folder(cases, tmp_path / "out", planned(), settings, progress)
    assert report.engine["name"] == "tensorrt-rtx"
    reason = f"({FAULTS[fault][1]}); openvino "
    check_the_cpu_went_on(report, "tensorrt-rtx", reason, tmp_path / "out", labels)


def test_a_case_that_cannot_be_captured_any_more_runs_without_a_graph(
    trt, machine, planned, three_cases, tmp_path, monkeypatch, caplog
):
    cases, labels = three_cases
    begun = []

    def case(name, windows):
        begun.append(name)
        if len(begun) == 2:
            capture_fails_at_its_end(machine, monkeypatch)

    with caplog.at_level(logging.WARNING):
        settings, out = Settings(threads=1), tmp_path / "out"
        report = predict_folder(cases, out, planned(), settings, Progress(case=case))
    assert [case.engine for case in report.cases] == ["tensorrt-rtx"] * 3
    (message,) = caplog.messages
    assert message.startswith("tensorrt-rtx runs without a CUDA graph, a little slower: ")
    check_maps(out, labels)


def test_an_engine_that_was_chosen_by_name_is_not_exchanged(
    trt, machine, planned, three_cases, tmp_path, monkeypatch
):
    progress = breaking(cannot_launch, monkeypatch, machine)
    settings = Settings(engine="tensorrt-rtx")
    report = predict_folder(three_cases[0], tmp_path / "out", planned(), settings, progress)
    assert [case.status for case in report.cases] == ["done", "failed", "failed"]
    assert report.cases[1].error == FAULTS[cannot_launch][1]
