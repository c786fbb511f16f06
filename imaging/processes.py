"""Work shared out between processes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from imaging.errors import KitError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_TOGETHER = 4
"""Items that a process is given at once."""


def in_processes(
    function: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int
) -> Iterator[_Result]:
    """Yield what `function` returns of each item, in their order, computed by `jobs` processes.

    Raises:
        KitError: The system ended one of the processes.
    """
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(function, items, chunksize=_TOGETHER)
        except BrokenProcessPool as error:
            raise KitError(
                "the system ended one of the processes, perhaps for its memory; use fewer --jobs"
            ) from error
