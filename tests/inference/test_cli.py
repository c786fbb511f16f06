from click.testing import CliRunner

from inference.cli import main


def test_an_onnx_file_for_the_torch_engine_is_wrong_usage(tmp_path):
    arguments = [
        "predict",
        str(tmp_path),
        str(tmp_path),
        "--weights",
        "a.onnx",
        "--engine",
        "torch",
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "--weights is an ONNX file" in result.output
