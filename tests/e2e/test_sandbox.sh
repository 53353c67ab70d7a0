#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --sandbox: tests have no network but a loopback, and a tree that is read-only; their ranks reach each other; a host that cannot do it
# is not used. As root and as an ordinary user, on real hosts.
. "$(dirname "$0")/lib.sh"
unshare -U -m -n true 2>/dev/null || skip "user namespaces are not allowed here: $(unshare -U -m -n true 2>&1)"
lab_up 2
chmod 755 "$work"

remote() { pt --ssh-config "$LAB_SSH_CONFIG" --json "$work/got.json" "$@"; }

suite() { # looks.py tells what a test can do
    project suite
    cat >looks.py <<PY
import errno, os, socket

def other_host():
    try:
        socket.create_connection(("$LAB_NET.1", 22), 5).close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "reached"

def interfaces():
    return [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line]

def write(path):
    try:
        open(path, "w").close()
        os.unlink(path)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "written"

def tree():
    return [write("made"), write(os.path.join(os.environ["PTREMOTE_WORKSPACE"], "below", "made"))]
PY
    mkdir below
    touch below/file
    cat >test_inside.py <<'PY'
import os
import pwd
import socket
import subprocess
import looks

def test_network():
    assert looks.interfaces() == ["lo"] and looks.other_host() == "ENETUNREACH"

def test_loopback():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    client.sendall(b"x")
    assert server.accept()[0].recv(1) == b"x"

def test_tree():
    assert looks.tree() == ["EROFS", "EROFS"]

def test_tree_of_children():
    assert subprocess.run(["touch", "made"], capture_output=True).returncode != 0

def test_no_way_back():
    again = "mount -o remount,bind,rw $PTREMOTE_WORKSPACE; umount $PTREMOTE_WORKSPACE; ip link set lo down; "
    subprocess.run(again + "unshare -U -r -m sh -c '%s'" % again, shell=True, capture_output=True)
    assert looks.tree() == ["EROFS", "EROFS"] and test_loopback() is None

def test_temporary(tmp_path):
    assert looks.write(str(tmp_path / "made")) == "written"

def test_user():
    assert pwd.getpwuid(os.getuid()).pw_name == os.environ["WHO"] and os.stat("looks.py").st_uid == os.getuid()
PY
}

test_tests_are_held() {
    suite
    local user
    for user in root ada; do
        remote --sandbox --env WHO=$user --hosts "$user@h1:2"
        want_rc 0
        want_summary "$work/got.json" "passed=7"
        ! says -i warning || fail "it warns"
    done
    nothing_left h1
}

test_without_it_they_are_not() {
    suite
    cat >test_inside.py <<'PY'
import looks

def test_all():
    assert looks.interfaces() != ["lo"] and looks.other_host() != "ENETUNREACH" and looks.tree() == ["written", "written"]
PY
    remote --hosts ada@h1:1
    want_rc 0
}

test_what_goes_wrong_is_told_as_ever() {
    suite
    cat >test_inside.py <<'PY'
import os, time

def test_crashes():
    os.abort()

def test_hangs():
    time.sleep(100)

def test_fat():
    held = b"x" * (200 << 20)
    time.sleep(100)

def test_after():
    pass
PY
    remote --sandbox --hosts ada@h1:1 --timeout 10 --memory-per-slot 150m
    want_rc 1
    want_outcomes "$work/got.json" "test_inside.py::test_crashes crashed" "test_inside.py::test_hangs timeout" \
        "test_inside.py::test_fat crashed" "test_inside.py::test_after passed"
    nothing_left h1
}

test_ranks_have_a_network_of_their_own() {
    suite
    cat >test_inside.py <<'PY'
import os
import ptremote
import looks

@ptremote.mark.parallel(2)
def test_ranks(comm, mpi_tmpdir):
    open(os.path.join(str(mpi_tmpdir), str(comm.rank)), "w").close()
    comm.barrier()
    assert sorted(os.listdir(str(mpi_tmpdir))) == ["0", "1"] and comm.allreduce(1) == 2
    assert looks.interfaces() == ["lo"] and looks.other_host() == "ENETUNREACH" and looks.tree() == ["EROFS", "EROFS"]

def waits_for_the_other(comm):
    comm.barrier()

@ptremote.mark.parallel(2)
def test_one_waits(comm):
    if comm.rank == 0:
        raise RuntimeError("not with me")
    waits_for_the_other(comm)

@ptremote.mark.parallel(4)
def test_wide(comm):
    pass
PY
    remote --sandbox --hosts ada@h1:2,root@h2:2
    want_rc 1
    want_outcomes "$work/got.json" "test_inside.py::test_ranks[2] passed" "test_inside.py::test_one_waits[2] failed" \
        "test_inside.py::test_wide[4] skipped"
    want_words 'not with me' 'in waits_for_the_other' # native frames are told within seconds or not at all
    remote --sandbox --dry-run --hosts ada@h1:2,root@h2:2
    want_words 'bundle 0 -> ada@h1: . tests\? of 2 ranks'
    ! says '[+]root@h2' || fail "a test is spread"
    nothing_left h1 h2
}

# forbidden COMMAND...: where no namespaces can be made.
forbidden() {
    local unshare=272
    [ "$(uname -m)" != aarch64 ] || unshare=97
    refusing $unshare 1 "$@"
}

test_a_host_that_cannot_is_not_used() {
    suite
    sed -i '/^def test_user/,$d' test_inside.py
    out=$work/out err=$work/err
    forbidden "$ptremote" --python "$python" --sandbox --hosts local:2 >"$out" 2>"$err" </dev/null
    rc=$?
    want_rc 6
    want_line 'local: .*--sandbox cannot be kept there: user namespaces: Operation not permitted; next: '
    ! says 'passed' || fail "tests ran"
    forbidden "$ptremote" --python "$python" --sandbox --hosts local:2,h1:2 --ssh-config "$LAB_SSH_CONFIG" --json "$work/got.json" \
        >"$out" 2>"$err" </dev/null
    rc=$?
    want_rc 0
    want_line 'local: .*--sandbox cannot be kept there'
    want_summary "$work/got.json" "passed=6"
    [ "$(grep -o '"host": *"[a-z0-9]*"' "$work/got.json" | sort -u | grep -c local)" = 0 ] || fail "tests ran on local"
    pt --sandbox --mpi-across --hosts local
    want_rc 4
    want_line 'mpi-across needs a network'
    nothing_left h1
}

run_tests
