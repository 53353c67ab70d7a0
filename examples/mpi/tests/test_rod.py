# SPDX-License-Identifier: Apache-2.0
import ptremote
import pytest

from spread.rod import warm, warm_together
from spread.share import part, whole

ROD = [0.0] * 20 + [1.0] + [0.0] * 11


def test_heat_stays_in_the_rod():
    assert sum(warm(ROD, 100)) == pytest.approx(1.0)


@ptremote.mark.parallel(3)
def test_three_ranks_warm_as_one(comm):
    mine = warm_together(part(ROD, comm), 100, comm)
    assert whole(mine, comm) == warm(ROD, 100)
