"""Processes that share the work: their order, and one that is killed."""

import os
import signal

import pytest

from imaging.errors import KitError
from imaging.processes import in_processes


def process_of(number):
    return number, os.getpid()


def killed_at_seven(number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_the_order_of_the_items():
    numbers, processes = zip(*in_processes(process_of, range(12), 2), strict=True)
    assert numbers == tuple(range(12))
    assert os.getpid() not in processes


def test_a_process_that_the_system_ends_is_one_clear_error():
    with pytest.raises(KitError, match=r"the system ended one .*; use fewer --jobs$"):
        list(in_processes(killed_at_seven, range(12), 2))
