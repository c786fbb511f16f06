"""An exported network gets 8-bit weights that draw the same labels, or none at all."""

import numpy as np
import pytest

from imaging.errors import KitError
from imaging.machine import cpu_flags
from imaging.volumes import write_volume
from inference.engines import EngineOptions, open_engine
from inference.manifest import INT8, load_manifest, verify_files
from inference.pipeline import find_cases, predict_folder
from inference.settings import Settings

pytest.importorskip("nncf")
pytest.importorskip("openvino")

from inference.engines.openvino_engine import _INSTRUCTIONS
from train.export import int8

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A small random network, exported, and a CT that it labels."""
    import torch

    from inference.manifest import Intensity, Manifest, WeightsFile, WindowSpec

    folder = tmp_path_factory.mktemp("bundle")
    (folder / "weights").mkdir()
    torch.manual_seed(0)

    def stage(before, **how):
        norm = torch.nn.InstanceNorm3d(16, affine=True)
        return torch.nn.Sequential(torch.nn.Conv3d(before, 16, **how), norm, torch.nn.LeakyReLU())

    class SmallUNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = stage(1, kernel_size=3, padding=1)
            self.down = stage(16, kernel_size=2, stride=2)
            self.up = torch.nn.ConvTranspose3d(16, 4, 2, stride=2)
            self.last = torch.nn.Conv3d(20, 3, 3, padding=1)

        def forward(self, patch):
            skip = self.first(patch)
            return self.last(torch.cat([self.up(self.down(skip)), skip], dim=1))

    network = SmallUNet().eval()
    onnx = folder / "weights" / "small.onnx"
    example = torch.zeros(1, 1, 16, 16, 16)
    torch.onnx.export(network, (example,), onnx, dynamo=True, external_data=False, verbose=False)
    Manifest(
        name="small",
        files={"onnx": WeightsFile.of(onnx, "weights/small.onnx")},
        orientation=None,
        spacing_mm=(2.0, 2.0, 2.0),
        crop="none",
        intensity=Intensity((-200.0, 300.0), 50.0, 80.0),
        window=WindowSpec((16, 16, 16), 0.5, "gaussian", "none", ()),
        labels={"liver": 1, "tumour": 2},
        postprocess=(),
        provenance={"made": "by a test"},
    ).write(folder / "weights_manifest.json")
    rng = np.random.default_rng(1)
    hu = np.kron(rng.normal(50, 120, (3, 4, 4)), np.ones((8, 8, 8))).astype(np.int16)
    for kind in ("images", "truth"):
        (folder / kind).mkdir()
    write_volume(hu, (2.0, 2.0, 2.0), folder / "images" / "a_0000.nii.gz")
    manifest = load_manifest(folder / "weights_manifest.json")
    exact = Settings(precision="f32", threads=1)
    done = predict_folder(find_cases(folder / "images"), folder / "truth", manifest, exact)
    assert not done.failed
    assert min(done.cases[0].volumes_ml.values()) > 1  # both labels are there to be lost
    return folder


def quantized(folder):
    images = folder / "images"
    path = folder / "weights_manifest.json"
    return int8.add_int8(path, [images / "a_0000.nii.gz"], images, folder / "truth", 1)


def test_a_loss_that_is_too_large_leaves_the_bundle_as_it_was(bundle, monkeypatch):
    monkeypatch.setattr(int8, "MOST_LOST", -0.5)
    before = {p.name: p.read_bytes() for p in bundle.rglob("*") if p.is_file()}
    with pytest.raises(KitError, match=r"int8 loses .* of a mean DSC of 1\.0000, -0\.5 is allowed"):
        quantized(bundle)
    assert {p.name: p.read_bytes() for p in bundle.rglob("*") if p.is_file()} == before


def test_a_ct_without_its_labels_is_named(bundle):
    with pytest.raises(KitError, match=r"b_0000\.nii\.gz is missing"):
        int8._cases(bundle / "images", _with(bundle / "truth", "b"))


def _with(folder, name):
    other = folder.parent / "truth_of_two"
    other.mkdir()
    for case in ("a", name):
        (other / f"{case}.nii.gz").write_bytes(b"")
    return other


def test_the_same_labels_and_twice_the_same_bytes(bundle, monkeypatch):
    monkeypatch.setattr(int8, "MOST_LOST", 0.05)  # of random weights
    gate = quantized(bundle)
    assert gate.f32_dsc == 1.0  # the truth is what f32 draws
    assert gate.int8_dsc > 0.95
    manifest = load_manifest(bundle / "weights_manifest.json")
    verify_files(manifest)
    assert manifest.files["int8"].path == "weights/small_int8.xml"
    assert manifest.provenance["int8"]["mean_dsc"]["int8"] == gate.int8_dsc
    assert not [p for p in bundle.iterdir() if p.name.startswith(".")]
    quantized(bundle)
    assert load_manifest(bundle / "weights_manifest.json").files == manifest.files


def test_cut_off_in_the_middle_it_leaves_a_bundle_without_integers(bundle, monkeypatch):
    """After the test above the bundle has integers already; these would be other ones."""
    monkeypatch.setattr(int8, "MOST_LOST", 0.05)
    before = (bundle / "weights_manifest.json").read_bytes()

    def cut_off(source, place):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(int8.shutil, "move", cut_off)
        quantized(bundle)
    manifest = load_manifest(bundle / "weights_manifest.json")
    assert sorted(manifest.files) == ["onnx"]
    verify_files(manifest)
    quantized(bundle)
    assert (bundle / "weights_manifest.json").read_bytes() == before


def test_the_engine_opens_integers_where_it_is_requested(bundle):
    manifest = load_manifest(bundle / "weights_manifest.json")
    if not cpu_flags() & _INSTRUCTIONS["int8"]:
        pytest.skip("this CPU has no instructions for 8-bit integers")
    patch = np.random.default_rng(2).normal(size=(1, 1, 16, 16, 16)).astype(np.float32)
    logits = {}
    for precision in ("f32", "int8"):
        with open_engine("openvino", manifest, EngineOptions(1, precision)) as engine:
            assert engine.description["precision"] == precision
            logits[precision] = engine.infer(patch).copy()
    error = logits["int8"] - logits["f32"]
    relative = float(np.sqrt((error**2).mean() / (logits["f32"] ** 2).mean()))
    assert 0 < relative < 0.2  # integers, and the same network: random weights on noise


def test_a_transposed_convolution_is_computed_with_integers(bundle):
    """OpenVINO does so if the integers of its input are symmetric about 0."""
    import openvino as ov

    manifest = load_manifest(bundle / "weights_manifest.json")
    model = ov.Core().read_model(*(manifest.weights(kind) for kind in INT8))
    (step,) = (op for op in model.get_ops() if op.get_type_name() == "ConvolutionBackpropData")
    rounding = step.input_value(0).get_node()
    ends = (rounding.input_value(end).get_node() for end in range(1, 5))
    low, high, *out = (end.get_data().item() for end in ends)
    assert low < 0 < high
    assert high == pytest.approx(-low * 127 / 128)
    assert out == [low, high]
    if not cpu_flags() & _INSTRUCTIONS["int8"]:
        pytest.skip("this CPU has no instructions for 8-bit integers")
    compiled = ov.Core().compile_model(model, "CPU")
    (run,) = (
        info
        for info in (op.get_rt_info() for op in compiled.get_runtime_model().get_ops())
        if info["layerType"].astype(str) == "Deconvolution"
    )
    assert run["runtimePrecision"].astype(str) in {"i8", "u8"}
