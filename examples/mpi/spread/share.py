# SPDX-License-Identifier: Apache-2.0
"""Who has what of a row that is spread over ranks."""


def bounds(n, size, rank):
    """Where rank's part of n things begins and ends; parts differ by one at most."""
    least, more = divmod(n, size)
    first = rank * least + min(rank, more)
    return first, first + least + (rank < more)


def part(row, comm):
    first, end = bounds(len(row), comm.size, comm.rank)
    return row[first:end]


def whole(mine, comm):
    """The row again, on every rank."""
    return [x for theirs in comm.allgather(mine) for x in theirs]
