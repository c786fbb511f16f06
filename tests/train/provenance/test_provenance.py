"""A run as RO-Crate and weights with Croissant metadata, by the formats' own validators."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from imaging.digest import file_sha256
from train.cli import main
from train.rounds.records import Work, run_stage

rocrate = pytest.importorskip("rocrate")
ROOT = Path(__file__).parents[3]
VALIDATE = Path(__file__).with_name("validate_crate.py")
CONTEXT = Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld"
VALIDATOR = "roc-validator==0.13.0"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def writes(name, text):
    def make(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return make


@pytest.fixture
def run(tmp_path):
    """Stage data reads the release; stage train what data has written."""
    (tmp_path / "ct").write_text("abc")
    folder = tmp_path / "run"
    given = {"release/imagesTr/a_0000.nii.gz": tmp_path / "ct"}
    run_stage(Work("data", folder, {"seed": 3}, given), writes("cases.json", "abc"))
    inputs = {**given, "run/data/cases.json": folder / "data" / "cases.json"}
    facts = {"seed": 3, "device": "cpu"}
    run_stage(Work("teacher/train", folder, facts, inputs), writes("deep/a net.onnx", "x"))
    return folder


def command(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def entities(run):
    graph = json.loads((run / "ro-crate-metadata.json").read_text())["@graph"]
    found = {entity["@id"]: entity for entity in graph}
    assert len(found) == len(graph)
    return found


def ids(value):
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


def test_every_stage_is_an_action_with_its_files_and_its_software(run):
    done = command("crate", run, "--author", "A. Person")
    assert done.exit_code == 0, done.output
    assert done.output.split() == [f"{run}/ro-crate-metadata.json:", "2", "stages"]
    found = entities(run)
    assert ids(found["./"]["mentions"]) == ["#stage/data", "#stage/teacher/train"]
    first, second = found["#stage/data"], found["#stage/teacher/train"]
    assert ids(first["result"]) == ["data/", "data/cases.json"]
    assert set(ids(second["object"])) == {"data/cases.json", "#release/imagesTr/a_0000.nii.gz"}
    assert ids(second["result"]) == ["teacher/train/", "teacher/train/deep/a%20net.onnx"]
    assert found["data/cases.json"]["sha256"] == ABC
    assert found["data/cases.json"]["encodingFormat"] == "application/json"
    assert found["#release/imagesTr/a_0000.nii.gz"]["@type"] == "CreativeWork"  # not in the crate
    assert found[second["instrument"]["@id"]]["name"] == "flare23-kit"
    values = {found[i]["name"]: found[i]["value"] for i in ids(second["additionalProperty"])}
    assert (values["seed"], values["device"]) == (3, "cpu")
    assert found[second["agent"]["@id"]]["name"] == "A. Person"
    assert second["startTime"] <= second["endTime"]


def test_a_file_that_was_made_again_since_is_another_one(run):
    given = {"run/data/cases.json": run / "data" / "cases.json"}
    writes("cases.json", "another")(run / "data")
    run_stage(Work("student/train", run, {}, given), writes("net.onnx", "y"))
    assert command("crate", run).exit_code == 0
    (name,) = ids(entities(run)["#stage/student/train"]["object"])
    assert name.startswith("#run/data/cases.json@")
    assert entities(run)["data/cases.json"]["sha256"] == ABC


def test_a_licence_may_be_an_address(run):
    address = "https://creativecommons.org/licenses/by/4.0/"
    assert command("crate", run, "--license", address).exit_code == 0
    assert entities(run)["./"]["license"]["@id"] == address
    assert command("crate", run).exit_code == 0
    assert "No licence is stated" in entities(run)["#licence"]["description"]


def test_a_folder_that_is_no_run(tmp_path):
    done = command("crate", tmp_path)
    assert done.exit_code == 1
    assert "holds no stage.json; give the folder of a `train run`" in done.output
    (tmp_path / "stage.json").write_text('{"schema": 7}')
    done = command("crate", tmp_path)
    assert done.exit_code == 1
    assert "not a stage record of schema 1" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stage.json"]


@pytest.mark.long
def test_the_crate_validator_finds_nothing(run, tmp_path):
    """roc-validator wants an older `rich` than the kit, so it gets an environment of its own."""
    assert command("crate", run).exit_code == 0
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", VALIDATOR], check=True)
    validate = [python, VALIDATE, run, CONTEXT, "process-run-crate-0.5"]
    done = subprocess.run(validate, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("0 issues")
    metadata = run / "ro-crate-metadata.json"
    metadata.write_text(metadata.read_text().replace('"instrument"', '"tool"'))
    done = subprocess.run(validate, capture_output=True, text=True)
    assert done.returncode == 1 and "REQUIRED" in done.stdout


# mlcroissant's use of rdflib
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
class TestCroissant:
    def test_the_default_weights_by_mlcroissants_validator(self, tmp_path, caplog):
        mlc = pytest.importorskip("mlcroissant")
        target = tmp_path / "croissant.json"
        manifest = ROOT / "weights_manifest.json"
        done = command("croissant", manifest, "-o", target)
        assert done.exit_code == 0, done.output
        caplog.clear()
        dataset = mlc.Dataset(jsonld=target)  # what `mlcroissant validate` does
        assert "warning" not in caplog.text.lower()
        table = json.loads(manifest.read_text())
        labels = [dict(row) for row in dataset.records("labels")]
        assert {row["labels/organ"]: row["labels/value"] for row in labels} == table["labels"]
        files = {f["name"]: f for f in json.loads(target.read_text())["distribution"]}
        assert files["manifest"]["sha256"] == file_sha256(manifest)
        for kind, file in table["files"].items():
            assert (files[kind]["contentUrl"], files[kind]["sha256"]) == (
                file["path"],
                file["sha256"],
            )

    def test_by_default_it_lies_beside_the_manifest(self, network):
        pytest.importorskip("mlcroissant")
        folder = network().folder
        done = command("croissant", folder / "weights_manifest.json")
        assert done.exit_code == 0, done.output
        found = json.loads((folder / "croissant.json").read_text())
        assert (found["name"], found["license"]) == ("tiny", "not stated")
        assert "Origin: what: a network for tests." in found["description"]

    def test_a_manifest_that_is_none(self, tmp_path):
        pytest.importorskip("mlcroissant")
        (tmp_path / "m.json").write_text("{}")
        done = command("croissant", tmp_path / "m.json")
        assert done.exit_code == 1
        assert "schema: expected 1, found None" in done.output
        assert not (tmp_path / "croissant.json").exists()
