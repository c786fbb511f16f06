"""The small real CT that comes with the kit: samples/, for a first try."""

import shutil
from pathlib import Path

from imaging.errors import KitError
from imaging.files import make_folder, replacing
from inference.shipped import SAMPLE_CT


def sample_ct() -> Path:
    """Return the path of the sample CT.

    Raises:
        KitError: There is none here, as in the challenge image.
    """
    if not SAMPLE_CT.is_file():
        raise KitError(f"no sample CT here ({SAMPLE_CT}); give a CT of your own")
    return SAMPLE_CT


def write_sample(folder: Path) -> Path:
    """Copy the sample CT into `folder`, which is made if missing, and return its path.

    Raises:
        KitError: There is no sample CT here, or it cannot be written there.
    """
    source = sample_ct()
    make_folder(folder)
    target = folder / source.name
    with replacing(target) as partial:
        shutil.copyfile(source, partial)
    return target
