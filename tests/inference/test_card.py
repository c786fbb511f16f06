"""The model card says what the manifest says; the one in docs is that of the default weights."""

import json
from pathlib import Path

from click.testing import CliRunner

from inference.cli import main

ROOT = Path(__file__).parents[2]


def test_the_card_in_docs_is_of_the_default_weights(tmp_path):
    done = CliRunner().invoke(main, ["card", "-o", str(tmp_path / "card.md")])
    assert done.exit_code == 0
    shown = (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8")
    made = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert shown == made, "write it anew: python -m inference card -o docs/model_card.md"


def test_every_line_comes_from_the_manifest(network, tmp_path):
    path = network().folder / "weights_manifest.json"
    table = json.loads(path.read_text())
    table["postprocess"] = [
        {"label": "liver", "keep": "largest"},
        {"label": "tumour", "min_ml": 0.2},
    ]
    table["labels"] = {"liver": 1, "tumour": 2}
    table["provenance"] = {
        "data": [{"what": "one", "license": "CC0"}, {"what": "two"}],
        "training": {"epochs": 3, "checkpoint": {"name": "best"}},
        "not_trained_on": ["CHAOS_3", "TS_example"],
        "start": "nothing",
    }
    path.write_text(json.dumps(table))
    done = CliRunner().invoke(main, ["card", str(path), "-o", str(tmp_path / "card.md")])
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "card.md").read_text().splitlines()
    for line in (
        f"# Model card: {table['name']}",
        "| 1 | liver | the largest component |",
        "| 2 | tumour | components of 0.2 ml or more |",
        "| what | license |",
        "| one | CC0 |",
        "| two |  |",
        "- epochs: 3",
        "  - name: best",
        "CHAOS_3, TS_example",
        "nothing",
        f"| onnx | {table['files']['onnx']['path']} | {table['files']['onnx']['bytes']:,} | "
        f"`{table['files']['onnx']['sha256']}` |",
    ):
        assert line in lines
    assert any("Not a medical device" in line for line in lines)
