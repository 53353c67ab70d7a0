# SPDX-License-Identifier: Apache-2.0
import random

import pytest_parallel

from spread.order import sort_together
from spread.share import bounds, part, whole


def test_parts_are_the_whole():
    ends = [bounds(11, 4, rank) for rank in range(4)]
    assert ends == [(0, 3), (3, 6), (6, 9), (9, 11)]


@pytest_parallel.mark.parallel(2)
def test_two_ranks_sort(comm):
    row = random.Random(1).choices(range(1000), k=101)
    assert whole(sort_together(part(row, comm), comm), comm) == sorted(row)
