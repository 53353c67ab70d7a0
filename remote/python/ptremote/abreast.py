# SPDX-License-Identifier: Apache-2.0
"""How far each rank of a group has come, for ranks of one host: a byte of each in a file that all of them have mapped.

Cheaper than words through FIFOs where all have nearly always come before anybody asks: then nobody wakes anybody.
"""
import mmap
import os
import select

YIELDS = 100  # looks that give the core away, before the first sleep: what is waited for mostly comes sooner than one would wake
SHORT, LONG, SLOWER = 1, 5, 20  # ms of a sleep, and after how many more looks each gets a ms longer


class Abreast:
    """Between two calls of come() all ranks meet, so that none is ahead of one that waits: each byte is its number or the one before."""

    def __init__(self, path, rank, size):
        """The file is made() by one of them."""
        self._rank, self._size = rank, size
        self._wanted = bytes(size)
        with open(path, "r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), size)
        # Bound here, so that tests may replace them.
        self._yield, self._sleep = os.sched_yield, select.poll().poll

    @staticmethod
    def made(path, size):
        with open(path, "xb") as file:
            file.write(bytes(size))  # a full disk is told here, and not by a signal where a byte is set

    def come(self):
        """This rank is as far as that. Those that share its core are let there at once, if they are not."""
        number = (self._wanted[0] + 1) & 0xFF
        self._wanted = bytes((number,)) * self._size
        self._bytes[self._rank] = number
        if self._bytes[:] != self._wanted:
            self._yield()

    def wait(self):
        """Until all ranks are as far as this one."""
        looks = 0
        while self._bytes[:] != self._wanted:
            looks += 1
            if looks <= YIELDS:
                self._yield()
            else:
                self._sleep(min(LONG, SHORT + (looks - YIELDS) // SLOWER))
