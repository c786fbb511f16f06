"""What the tests of small trainings share."""

import pytest


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """Two abdomens to train on."""
    from tests.train.training import write_cases

    return write_cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def first(cases, tmp_path_factory, request):
    """A work folder in which the module's SPEC is trained, by nnU-Net's own processes."""
    from train.network.nnunet import train_round

    work = tmp_path_factory.mktemp("work") / "first"
    annotated = getattr(request.module, "ANNOTATED", None)
    train_round(request.module.SPEC, cases, work, annotated=annotated)
    return work


@pytest.fixture
def work(first, tmp_path):
    """A work folder in which the data are prepared and nothing is trained."""
    from tests.train.training import copied

    return copied(first, tmp_path / "work")
