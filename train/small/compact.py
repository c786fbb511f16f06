"""Read and write prepared cases: all that a training needs, a few MB each."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.errors import KitError
from imaging.files import replacing

ORIENTATION = "LPS"
"""Of every case and sample: X grows to the patient's Left, Y to Posterior, Z to Superior."""
UNKNOWN = 255
"""As a voxel's best class: nobody knows, and nothing is taught."""
_HU = (-1024.0, -200.0, 300.0, 1524.0)
_CODES = (0.0, 52.0, 219.0, 255.0)
"""Three HU a step in soft tissue, 16 in lungs, 34 in bone: one byte a voxel."""
_CERTAIN = 251
"""From this share on the second class is not kept: the files become much smaller."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class SoftLabels:
    """The two most probable classes of every voxel, all uint8 [Z, Y, X]."""

    first: Bytes
    """A class, or `UNKNOWN`."""
    second: Bytes
    share: Bytes
    """Probability of `first` among the two, in 255ths: 128 to 255."""

    def __getitem__(self, box: tuple[slice, slice, slice]) -> "SoftLabels":
        """Return the labels in `box`."""
        return SoftLabels(self.first[box], self.second[box], self.share[box])

    def rounded(self) -> "SoftLabels":
        """Return the labels with every nearly certain voxel made certain."""
        sure = self.share >= _CERTAIN
        return SoftLabels(
            self.first,
            np.where(sure, self.first, self.second),
            np.where(sure, np.uint8(255), self.share & np.uint8(0xFC)),
        )


@dataclass(frozen=True)
class PreparedCase:
    """A CT on the stored grid, axes (Z, Y, X) to Superior, Posterior, Left, and its labels."""

    name: str
    hu: NDArray[np.float32]
    labels: SoftLabels


def write_case(case: PreparedCase, folder: Path) -> None:
    """Write a case as `folder`/<name>.npz.

    Raises:
        KitError: The file cannot be written.
    """
    codes = np.rint(np.interp(case.hu, _HU, _CODES)).astype(np.uint8)
    labels = case.labels.rounded()
    write_arrays(
        folder / f"{case.name}.npz",
        hu=codes,
        first=labels.first,
        second=labels.second,
        share=labels.share,
    )


def read_case(path: Path) -> PreparedCase:
    """Read what `write_case` wrote.

    Raises:
        KitError: The file is not there or no such case.
    """
    codes, first, second, share = read_arrays(path, "prepare", "hu", "first", "second", "share")
    table = np.interp(np.arange(256), _CODES, _HU).astype(np.float32)
    return PreparedCase(path.stem, table[codes], SoftLabels(first, second, share))


def write_arrays(path: Path, **arrays: Bytes) -> None:
    """Write arrays as one compressed file, whole or not at all.

    Raises:
        KitError: The file cannot be written.
    """
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read_arrays(path: Path, command: str, *names: str) -> list[Bytes]:
    """Read the arrays `names` of what `write_arrays` wrote.

    Args:
        path: The file.
        command: The command of `train small` that writes it, for the message.
        names: The arrays, in the order of the result.

    Raises:
        KitError: The file is missing, damaged, or holds other arrays.
    """
    try:
        with path.open("rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as stored:
            arrays = [stored[name] for name in names]
    except FileNotFoundError as error:
        raise KitError(f"{path} is missing; run `train small {command}` first") from error
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise KitError(
            f"{path}: damaged or another file ({error}); delete it, run `train small {command}`"
        ) from error
    if any(array.dtype != np.uint8 or array.shape != arrays[0].shape for array in arrays):
        raise KitError(
            f"{path}: not uint8 arrays of one shape; delete it, run `train small {command}`"
        )
    return arrays
