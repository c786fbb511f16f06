"""Fixtures that several tests of the inference share."""

import pytest
from click.testing import CliRunner

from inference.cli import main


@pytest.fixture
def three_cases(boxes, write_ct, tmp_path):
    """Three cases, and what their label maps shall be."""
    hu, labels = boxes
    places = {name: tmp_path / "in" / f"{name}_0000.nii.gz" for name in "abc"}
    return {name: write_ct(path, hu) for name, path in places.items()}, labels


@pytest.fixture
def machine(monkeypatch):
    """A machine with a card, made of host memory; all that it lent must come back."""
    from tests.inference.stand_in_gpu import Machine

    made = Machine()
    monkeypatch.setattr("inference.engines.cuda.cudart", made)
    yield made
    assert not any(made.held.values())


@pytest.fixture
def trt(machine, monkeypatch):
    """TensorRT-RTX's Python module on that machine."""
    from tests.inference.stand_in_gpu import runtime

    made = runtime(machine)
    monkeypatch.setattr("inference.engines.tensorrt_engine.runtime_module", lambda name: made)
    return made


@pytest.fixture
def planned(network):
    """The manifest of the tiny network with a plan; call it with what shall be different."""
    from tests.inference.stand_in_gpu import write_plan

    def make(**changes):
        manifest = network()
        write_plan(manifest, **changes)
        return manifest

    return make


@pytest.fixture
def predict(manifest_path):
    """Run `predict` as the command line does; a traceback fails the test."""

    def run(inputs, outputs, *options):
        words = ["predict", inputs, outputs, "--manifest", manifest_path, "--threads", 1, *options]
        done = CliRunner(env={"COLUMNS": "80"}).invoke(main, [str(word) for word in words])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run
