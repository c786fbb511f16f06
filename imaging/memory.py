"""Give the memory of a part of an array back before the array itself is let go."""

import ctypes
import mmap
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

_libc = ctypes.CDLL(None)


def give_back(slices: NDArray[Any]) -> None:
    """Give the memory of an array's slices back to the system: nobody reads them again.

    Only whole pages are given back. What is read there afterwards is 0. Where the slices do not lie
    one after the other in memory, as in an array with its axes turned, nothing happens.

    Args:
        slices: [Z, Y, X], of an array that the caller alone holds; may be flipped or a box of it.
    """
    steps, counts = [abs(step) for step in slices.strides], slices.shape
    plane = sum(step * (n - 1) for step, n in zip(steps[1:], counts[1:], strict=True))
    if not slices.size or steps[0] < plane + slices.itemsize:
        return
    first, last = np.lib.array_utils.byte_bounds(slices)
    page = os.sysconf("SC_PAGE_SIZE")
    start, stop = -(-first // page) * page, last // page * page
    if start < stop:
        _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), mmap.MADV_DONTNEED)
