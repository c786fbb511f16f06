"""What tests of every package share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the real CTs: FLARE23_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("FLARE23_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "ct").is_dir():
        pytest.skip(f"no real CTs in {folder}; set FLARE23_DATA")
    return folder
