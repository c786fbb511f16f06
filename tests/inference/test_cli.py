import json

import click
import pytest
from click.testing import CliRunner

from benchmarks.cli import main as benchmark_main
from imaging.commands import OutputFile
from inference.cli import main


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_torch_engine_takes_an_onnx_file_of_ones_own(tmp_path, network, write_ct, boxes):
    pytest.importorskip("torch")
    manifest = network()
    own = manifest.weights("onnx").rename(tmp_path / "own.onnx")
    write_ct(tmp_path / "in" / "a_0000.nii.gz", boxes[0])
    words = ("predict", tmp_path / "in", tmp_path / "out", "--manifest")
    words += (manifest.folder / "weights_manifest.json", "--weights", own, "--engine", "torch")
    done = run(*words, "--device", "0")
    assert done.exit_code == 0, done.output
    table = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (table["engine"]["name"], table["settings"]["device"]) == ("torch", 0)
    assert table["cases"][0]["engine"] == "torch"
    refused = run(*words, "--device", "99")
    assert refused.exit_code == 1
    assert "--device 99 was requested, but " in refused.stderr


def test_a_report_goes_into_a_folder_that_was_not_there(tmp_path, network, write_ct, boxes):
    pytest.importorskip("openvino")
    network()
    write_ct(tmp_path / "in" / "a_0000.nii.gz", boxes[0])
    report = tmp_path / "not" / "yet" / "run.json"
    manifest = tmp_path / "network" / "weights_manifest.json"
    done = run("predict", tmp_path / "in", tmp_path / "out", "--manifest", manifest,
               "--report", report)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(report.read_text())["cases"][0]["status"] == "done"


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("file/run.json", 1, "Error: cannot make {}/file: "),
        ("/proc/run.json", 1, "Error: cannot "),
        ("folder", 2, "is a directory"),
    ],
)
def test_a_report_that_cannot_be_written_is_reported_before_anything_else(
    tmp_path, target, code, message
):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    done = run("predict", tmp_path / "none", tmp_path / "out", "--report", tmp_path / target)
    assert done.exit_code == code
    assert message.format(tmp_path) in done.output
    assert "none" not in done.output


def commands(group):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield from commands(command) if isinstance(command, click.Group) else [command]


@pytest.mark.parametrize("group", [main, benchmark_main])
def test_every_single_file_that_is_written_at_the_end_is_checked_first(group):
    helped = [
        option
        for command in commands(group)
        for option in command.params
        if isinstance(option, click.Option) and (option.help or "").startswith(("JSON", "PNG"))
    ]
    assert helped
    assert all(isinstance(option.type, OutputFile) for option in helped)
