# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced after mpi_lib.sh by the tests that have more ranks than one host has slots.
# on_hosts LIST ARGS...: a run there.
on_hosts() { pt --ssh-config "$LAB_SSH_CONFIG" --hosts "$1" --json "$work/got.json" "${@:2}"; }
start_on() { pt_start --ssh-config "$LAB_SSH_CONFIG" --hosts "$1" --json "$work/got.json" "${@:2}"; }

# want_of NAME PYTHON: outcome, ranks and sorted hosts.
want_of() { want_told "$work/got.json" "(lambda t: (t['outcome'], t['ranks'], sorted(t.get('hosts', []))))(of('$1'))" "$2"; }

# wide: a project of neighbours with tests of 6 ranks that are good, before and after what stdin has; each writes down where its ranks were.
wide() {
    project "$1"
    neighbours
    cat >conftest.py <<'PY'
import socket

import pytest
from mpi4py import MPI

@pytest.fixture
def places(comm):
    """The host of each rank."""
    assert comm.size == MPI.COMM_WORLD.size == 6
    return comm.allgather(socket.gethostname())
PY
    cat >test_wide.py <<'PY'
import ctypes, os, signal, sys, time
import ptremote
import pytest
from mpi4py import MPI

@ptremote.mark.parallel(6)
def test_before(comm, places):
    assert len(set(places)) == 2
    assert places == sorted(places, key=places.index), "the ranks of a host are not side by side"
    assert comm.allreduce(comm.rank) == 15
    far = comm.size - 1 - comm.rank  # more than a word between the hosts
    assert comm.sendrecv(bytes(300000 + comm.rank), far, source=far) == bytes(300000 + far)
PY
    cat - >>test_wide.py
    cat >>test_wide.py <<'PY'

@ptremote.mark.parallel(6)
def test_zz_after(comm, places):
    assert comm.allreduce(1) == 6
PY
}
# shellcheck disable=SC2034
wide_passed=$((neighbours_passed + 2))
