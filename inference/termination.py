"""SIGTERM ends a run with one line, no half-written file and the usual exit code."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

EXIT_CODE = 128 + signal.SIGTERM
"""The exit code of a process that SIGTERM ended, as shells have it: 143."""


class _Ended(BaseException):
    """SIGTERM was received. Not an `Exception`: no handler may take it for a failed case."""


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the block: files under way are removed, then exit code 143.

    Without a handler it would do nothing at all to a container's first process, and anywhere else
    it would leave a half-written file behind. A second SIGTERM changes nothing.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Ended

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _Ended:
        click.echo("Error: ended by SIGTERM; the label maps that are there are whole", err=True)
        sys.exit(EXIT_CODE)
    finally:
        signal.signal(signal.SIGTERM, before)
