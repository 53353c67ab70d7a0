# SPDX-License-Identifier: Apache-2.0
"""Ranks wait until all of them have come as far."""
import multiprocessing
import threading

import harness
import pytest

from ptremote.abreast import Abreast

SIZE, STEPS = 3, 600


@pytest.fixture
def path(tmp_path):
    made = str(tmp_path / "looked")
    Abreast.made(made, SIZE)
    return made


def test_who_is_first_waits(path):
    ranks = [Abreast(path, rank, SIZE) for rank in range(SIZE)]
    waited, slept = threading.Event(), threading.Event()
    ranks[0]._sleep = lambda ms, sleep=ranks[0]._sleep: (slept.set(), sleep(ms))
    ranks[0].come()
    ranks[1].come()
    waits = threading.Thread(target=lambda: (ranks[0].wait(), waited.set()), daemon=True)
    waits.start()
    assert slept.wait(harness.DEADLINE) and not waited.is_set()
    ranks[2].come()
    assert waited.wait(harness.DEADLINE)
    ranks[1].wait()
    ranks[2].wait()


def walk(path, rank, steps, meeting):
    mine = Abreast(path, rank, SIZE)
    for step in range(1, STEPS + 1):
        steps[rank] = step
        mine.come()
        mine.wait()
        assert steps[:] == [step] * SIZE
        meeting.wait(harness.DEADLINE)


def test_nobody_is_left_behind(path):
    """By processes that share cores, more steps than a byte counts."""
    made = multiprocessing.get_context("fork")
    steps, meeting = made.Array("i", SIZE), made.Barrier(SIZE)
    ranks = [made.Process(target=walk, args=(path, rank, steps, meeting)) for rank in range(SIZE)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(harness.DEADLINE)
        rank.kill()
    assert [rank.exitcode for rank in ranks] == [0] * SIZE
