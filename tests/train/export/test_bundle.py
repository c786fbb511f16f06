"""The bundle: files, manifest and parity report appear together or not at all."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from imaging.errors import KitError
from inference.manifest import load_manifest, verify_files

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


@pytest.fixture
def ct(tmp_path):
    """A CT of soft tissue with noise, 5 x 2 x 1.5 mm, a bit larger than the patch (8, 16, 24)."""
    hu = np.random.default_rng(0).normal(50, 60, (9, 20, 30)).astype(np.int16)
    hu[:, :, :5] = -1000
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((1.5, 2.0, 5.0))
    path = tmp_path / "noise_0000.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def export(tmp_path, ct):
    from train.export.bundle import ExportRequest, export_bundle

    def run(folder, **options):
        request = ExportRequest(
            folder.write(), tmp_path / "bundle", parity_cases=(ct,), threads=1, **options
        )
        return export_bundle(request)

    return run


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_bundle_is_what_inference_reads(model_folder, export, tmp_path, network):
    done = export(model_folder(network), name="made", step=0.8)
    manifest = load_manifest(done.manifest)
    verify_files(manifest)
    expected = ["parity.json", "weights/made.onnx", "weights_manifest.json"]
    assert files_in(tmp_path / "bundle") == expected
    assert manifest.labels == {"liver": 1, "tumour": 2}
    assert manifest.spacing_mm == (5.0, 2.0, 1.5)
    assert (manifest.window.patch, manifest.window.step) == ((8, 16, 24), 0.8)
    assert manifest.window.mirror_axes == (1, 2)
    assert manifest.intensity.clip_hu == (-150.0, 250.0)
    training = manifest.provenance["training"]
    assert (training["network"], training["trainer"]) == (network, "SomebodysTrainer")
    assert str(tmp_path) not in done.manifest.read_text()


def test_parity_report_holds_every_engine(model_folder, export, tmp_path):
    done = export(model_folder())
    report = json.loads((tmp_path / "bundle/parity.json").read_text())
    assert [row["engine"] for row in report["engines"]] == [
        "torch",
        "onnxruntime",
        "openvino",
        "openvino",
    ]
    assert [row["held_to_tolerance"] for row in report["engines"]] == [True, True, True, False]
    assert report["onnx_sha256"] == load_manifest(done.manifest).files["onnx"].sha256
    assert set(report["patches"]) == {"noise_0000.nii.gz"}
    torch_row = done.agreements[0]
    assert (torch_row.relative_rms, torch_row.label_agreement) == (pytest.approx(0, abs=1e-6), 1)


def test_f16_storage_is_compared_with_the_rounded_network(model_folder, export, tmp_path):
    done = export(model_folder(), storage="f16")
    # Rounding itself moves logits by about 1e-3; against the rounded network nothing of it shows.
    assert done.agreements[0].relative_rms < 1e-5


def test_transposed_training_is_exported_in_image_axes(model_folder, export):
    folder = model_folder()
    folder.plans["transpose_forward"] = [2, 0, 1]
    folder.checkpoint["inference_allowed_mirroring_axes"] = (0, 1)
    manifest = load_manifest(export(folder).manifest)
    assert manifest.window.patch == (16, 24, 8)
    assert manifest.window.mirror_axes == (0, 2)  # the network's axes 0 and 1 are X and Z


def test_warnings_and_given_provenance_reach_the_manifest(model_folder, export, tmp_path):
    folder = model_folder()
    folder.fullres["resampling_fn_data_kwargs"]["order"] = 3
    given = tmp_path / "given.json"
    given.write_text('{"license": "CC0-1.0"}')
    provenance = load_manifest(export(folder, provenance=given).manifest).provenance
    assert provenance["license"] == "CC0-1.0"
    assert "order 3" in provenance["export"]["warnings"][0]


def test_what_verify_would_refuse_is_not_let_out(model_folder, export, tmp_path):
    folder = model_folder()
    folder.fullres["spacing"] = [5.0, 0.0, 1.5]
    with pytest.raises(KitError, match=r"spacing_mm\[1\]: expected float > 0.0, found 0.0"):
        export(folder)
    assert not (tmp_path / "bundle").exists()


def test_a_network_that_answers_no_numbers_is_blamed_itself(model_folder, export, tmp_path):
    folder = model_folder()
    for weight in folder.checkpoint["network_weights"].values():
        weight.fill_(1e30)  # numbers, but not their products
    with pytest.raises(KitError, match="the network itself answers NaN or infinity"):
        export(folder)
    assert not (tmp_path / "bundle").exists()


def test_disagreement_leaves_no_bundle(model_folder, export, tmp_path, monkeypatch):
    monkeypatch.setattr("train.export.parity.MOST_RELATIVE_RMS", 0.0)
    with pytest.raises(KitError, match="disagrees with torch"):
        export(model_folder())
    assert not (tmp_path / "bundle").exists()


def test_disagreement_leaves_an_older_bundle_as_it_was(model_folder, export, tmp_path, monkeypatch):
    export(model_folder())
    bundle = tmp_path / "bundle"
    before = {name: (bundle / name).read_bytes() for name in files_in(bundle)}
    monkeypatch.setattr("train.export.parity.MOST_RELATIVE_RMS", 0.0)
    with pytest.raises(KitError):
        export(model_folder(), storage="f16")
    assert {name: (bundle / name).read_bytes() for name in files_in(bundle)} == before


def test_same_export_gives_the_same_bytes(model_folder, export, tmp_path):
    bundle = tmp_path / "bundle"
    export(model_folder())
    before = {name: (bundle / name).read_bytes() for name in files_in(bundle)}
    export(model_folder())
    # parity.json holds measurements, which threads of an engine may move in the last digits
    del before["parity.json"]
    assert {name: (bundle / name).read_bytes() for name in before} == before


def test_without_a_ct_a_phantom_is_compared(model_folder, export, tmp_path):
    pytest.importorskip("train.synthesis.phantom")
    from train.export.patches import PATCHES_A_CASE, parity_patches

    manifest = load_manifest(export(model_folder()).manifest)
    patches, names = parity_patches(manifest, [])
    assert patches.shape == (PATCHES_A_CASE, 1, 8, 16, 24)
    assert patches.dtype == np.float32
    assert len(names) == PATCHES_A_CASE
    # Soft tissue lies well inside the clip, so a good patch has few voxels at its ends.
    low, high = (-150 - 80) / 100, (250 - 80) / 100
    assert np.mean((patches[0] > low) & (patches[0] < high)) > 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fold": "3"}, "no fold '3'; it has fold_all"),
        ({"checkpoint": "checkpoint_best.pth"}, "checkpoint_best.pth is missing"),
        ({"name": "../x"}, "letters, digits"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(model_folder, export, options, words):
    with pytest.raises(KitError, match=words) as refusal:
        export(model_folder(), **options)
    assert "\n" not in str(refusal.value)


def test_folder_that_is_no_result_folder(tmp_path):
    from train.export.bundle import ExportRequest, export_bundle

    with pytest.raises(KitError, match="is it an nnU-Net result folder"):
        export_bundle(ExportRequest(tmp_path, tmp_path / "bundle"))


def test_errors_worked_out_by_hand():
    from inference.builders.tensorrt_parity import logit_errors

    # Two voxels, two classes: [0, 2] and [4, 0]; the second voxel's winner changes.
    reference = np.array([[[0, 4], [2, 0]]], np.float32)
    logits = np.array([[[0, 1], [2, 4]]], np.float32)
    relative_rms, largest, agreement = logit_errors(reference, logits)
    # differences 0, 3, 0, 4: rms 5 / 2; logits 0, 4, 2, 0: rms sqrt(20) / 2
    assert relative_rms == pytest.approx(5 / np.sqrt(20))
    assert (largest, agreement) == (4.0, 0.5)


def test_nan_is_never_within_tolerance():
    from train.export.parity import LogitAgreement, refuse_disagreement

    row = LogitAgreement("onnxruntime", "1", "f32", True, float("nan"), float("nan"), 1.0)
    with pytest.raises(KitError, match="nan"):
        refuse_disagreement([row])


def test_reported_precision_is_not_held_to_the_tolerance():
    from train.export.parity import LogitAgreement, refuse_disagreement

    refuse_disagreement([LogitAgreement("openvino", "1", "auto: bf16", False, 0.1, 9.0, 0.9)])


def test_command_reports_json_and_a_table(model_folder, ct, tmp_path):
    from train.cli import main

    folder = str(model_folder().write())
    bundle = tmp_path / "bundle"
    arguments = ["export", folder, "-o", str(bundle), "--parity-case", str(ct), "--threads", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["manifest"] == str(bundle / "weights_manifest.json")
    assert "Agreement with torch" in result.stderr


def test_command_refuses_in_one_line_with_exit_code_1(model_folder, tmp_path):
    from train.cli import main

    folder = model_folder()
    folder.fullres["patch_size"] = [16, 16]
    result = CliRunner().invoke(main, ["export", str(folder.write()), "-o", str(tmp_path / "b")])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: configuration '3d_fullres' is 2-D")
    assert not (tmp_path / "b").exists()


def test_component_rules_reach_the_manifest(model_folder, export, tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text('{"components": [{"label": "liver", "keep": "largest"}]}')
    manifest = load_manifest(export(model_folder(), components=rules).manifest)
    assert [(rule.label, rule.keep) for rule in manifest.postprocess] == [("liver", "largest")]


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [('{"label": "lver"}', "no such label in this network: lver"), ('{"lable": "liver"}', "lable")],
)
def test_a_misspelt_component_rule_is_refused(model_folder, export, tmp_path, rule, complaint):
    rules = tmp_path / "rules.json"
    rules.write_text(f'{{"components": [{rule}]}}')
    with pytest.raises(KitError, match=complaint):
        export(model_folder(), components=rules)
    assert not (tmp_path / "bundle").exists()
