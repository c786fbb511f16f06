"""End a process when its parent is killed."""

import ctypes
import multiprocessing
import os
import signal
import sys

_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>


def end_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process once its parent is gone (Linux; elsewhere nothing).

    A stage that is killed cannot tell its children. Without this they would go on writing into the
    folder in which the next try already works.

    Args:
        parent: Its process id; by default that of the process that `multiprocessing` forked from.
    """
    forked_from = multiprocessing.parent_process()
    parent = parent or (forked_from.pid if forked_from else None)
    if sys.platform != "linux" or parent is None:
        return
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before it could be watched
        os.kill(os.getpid(), signal.SIGKILL)
