"""Plans that do not fit the card or the network, and plans that are published."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from imaging.errors import EngineError
from inference.builders.tensorrt_build import Request, build_plans
from inference.builders.tensorrt_parity import plan_agreement
from inference.engines import plan_folder
from inference.engines.tensorrt_index import plans_of

pytest.importorskip("cuda.bindings.runtime")
pytest.importorskip("onnx")
from tests.inference.stand_in_gpu import CARD, LOGITS, Context, opened, runtime
from tests.inference.tiny_logits import PATCH, patches, worked_out


def test_auto_takes_the_second_plan_where_the_first_does_not_fit(trt, planned, caplog):
    planned(file="old.plan", engine="tensorrt", gpu="RTX A4000")
    with opened(planned(), "auto") as engine:
        assert engine.description["name"] == "tensorrt-rtx"
    assert [message[:28] for message in caplog.messages] == ["engine tensorrt passed over:"]


TENSORS = {"patches": ("in", "f32", PATCH), "logits": ("out", "f32", LOGITS)}


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"third": ("in", "f32", PATCH)}, "does not map one float32 patch to logits, but has"),
        ({"logits": ("in", "f32", LOGITS)}, "does not map one float32 patch to logits"),
        ({"patches": ("in", "f16", PATCH)}, "does not map one float32 patch to logits"),
        ({"patches": ("in", "f32", (1, 1, 4, 5, -1))}, r"patches \[1, 1, 4, 5, -1\], logits"),
        ({"logits": ("out", "f32", (1, 3, 4, 5, 5))}, r"logits \[1, 3, 4, 5, 5\]"),
        (
            {"patches": ("in", "f32", (1, 1, 4, 4, 4)), "logits": ("out", "f32", (1, 3, 4, 4, 4))},
            r"cannot run a patch of shape \(1, 1, 4, 5, 6\): the plan takes \(1, 1, 4, 4, 4\)",
        ),
    ],
)
def test_a_plan_for_other_inputs_and_outputs_is_passed_over(
    trt, planned, monkeypatch, caplog, tensors, reason
):
    monkeypatch.setattr(trt.Engine, "tensors", {**TENSORS, **tensors})
    manifest = planned()
    with pytest.raises(EngineError, match=reason), opened(manifest):
        pass
    with caplog.at_level(logging.WARNING), opened(manifest, "auto") as engine:
        assert engine.description["name"] == "openvino"
    assert [message[:32] for message in caplog.messages] == ["engine tensorrt-rtx passed over:"]


def test_a_plan_with_other_labels_than_the_manifest_is_passed_over(trt, planned, monkeypatch):
    logits = (1, 4, *PATCH[2:])
    monkeypatch.setattr(trt.Engine, "tensors", {**TENSORS, "logits": ("out", "f32", logits)})
    monkeypatch.setattr(Context, "execute_async_v3", lambda self, handle: True)
    reason = r"answers \(1, 4, 4, 5, 6\), the manifest says \(1, 3, 4, 5, 6\)"
    with pytest.raises(EngineError, match=reason), opened(planned()):
        pass


def test_tensors_are_taken_by_what_the_plan_says_of_them_not_by_their_order(trt, planned):
    for tensors in (TENSORS, dict(reversed(TENSORS.items()))):
        trt.Engine.tensors = tensors
        with opened(planned()) as engine:
            np.testing.assert_allclose(
                engine.infer(patches(1)[0]), worked_out(patches(1)[0]), atol=1e-5
            )


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (worked_out, None),
        (lambda patch: 0 * worked_out(patch), "answers background where float32 has organs"),
        (lambda patch: np.nan * patch, "answers NaN or infinity"),
        (lambda patch: worked_out(patch + 0.1), "relative RMS"),
    ],
    ids=["good", "background", "nan", "off"],
)
def test_a_plan_for_the_gpu_that_is_here_is_published_only_if_it_is_the_network(
    machine, network, boxes, write_ct, tmp_path, monkeypatch, answer, complaint
):
    rtx = pytest.importorskip("tensorrt_rtx_bindings")
    replaced = ("Runtime", "ExecutionContextAllocationStrategy", "TensorIOMode", "DataType")
    made = {name: getattr(runtime(machine, answer), name) for name in replaced}
    module = SimpleNamespace(**{**vars(rtx), **made})
    monkeypatch.setattr("inference.builders.tensorrt_build.runtime_module", lambda name: module)
    manifest, case = network(), write_ct(tmp_path / "boxes_0000.nii.gz", boxes[0])
    folder = plan_folder(manifest)
    request = Request(manifest, "tensorrt-rtx", ("sm75", "sm86"), folder, parity_case=case)
    if complaint is None:
        build_plans(request, lambda plan: None)
    else:
        with pytest.raises(EngineError, match=complaint):
            build_plans(request, lambda plan: None)
    found = {plan.target: plan.parity for plan in plans_of(manifest)}
    assert found.pop("sm75") == "not checked: the GPU here is sm86"
    if complaint is None:
        assert (found["sm86"]["label_agreement"], found["sm86"]["gpu"]) == (1.0, CARD)
        assert [path.read_bytes() for path in folder.glob("*sm86*-RTX_A6000.cache")] == [b"kernels"]
    else:
        assert found == {}
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


LIVER = np.float32([[[[[1]]], [[[2]]]]])


@pytest.mark.parametrize(
    ("reference", "logits", "complaint"),
    [
        (LIVER, LIVER * np.nan, "NaN or infinity"),
        (LIVER, LIVER * np.inf, "NaN or infinity"),
        (LIVER, LIVER[:, ::-1], "background where float32 has organs"),
        (LIVER, LIVER * np.float32(1.02), "relative RMS 2.0e-02"),  # 2 % off everywhere
        (LIVER[:, ::-1], LIVER, "finds no organ in this patch"),
    ],
)
def test_a_plan_that_is_not_the_network_is_refused(reference, logits, complaint):
    with pytest.raises(EngineError, match=complaint):
        plan_agreement(reference, logits)


def test_a_plan_whose_labels_differ_too_often_is_refused():
    reference = np.zeros((1, 2, 1, 1, 100), dtype=np.float32)
    reference[:, 0], reference[0, 0, 0, 0, 0] = 1e-4, 100.0
    reference[0, 1, 0, 0, 1] = 1.0
    logits = reference.copy()
    logits[0, 1, 0, 0, 2] = 2e-4  # one voxel of a hundred
    with pytest.raises(EngineError, match=r"label agreement 0\.99000"):
        plan_agreement(reference, logits)
    assert plan_agreement(reference, reference) == {
        "relative_rms": 0.0, "max_abs": 0.0, "label_agreement": 1.0
    }  # fmt: skip
