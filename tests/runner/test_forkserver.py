# SPDX-License-Identifier: Apache-2.0
"""The fork server: processes that are killed for real, and messages that are none."""
import array
import os
import random
import signal
import socket
import struct

import harness
import pytest
from harness import wire

SUITE = {
    "test_a.py": "import os, subprocess, sys, time\n"
    "def test_pids():\n"
    "    child = subprocess.Popen(['sleep', '1000'])\n"
    "    print('child', child.pid)\n"
    "    print('pid', os.getpid(), flush=True)\n"
    "def test_waits():\n"
    "    os.mkfifo('waiting.new'); os.rename('waiting.new', 'waiting')\n"
    "    open('waiting')\n"
}


@pytest.fixture
def host(tmp_path):
    with harness.Host(tmp_path) as host:
        yield host


@pytest.fixture
def project(tmp_path):
    return harness.write(tmp_path / "project", SUITE)


def started(host, project):
    """A runner in its second test, and the pids of it and of the child of its first."""
    found = harness.collect(project)
    runner = harness.Runner(host, project, PTREMOTE_WORKSPACE=project)
    assert runner.start(found.session)
    body = struct.pack(">IIIIIIII", 1, 1, 0, wire.NONE, 1, 0, 0, 1) + wire.field("test_a.py") + struct.pack(">I", 2)
    for number, name in enumerate(("test_pids", "test_waits")):
        body += struct.pack(">II", number, 0) + wire.field("test_a.py::" + name)
    runner.control.send(wire.R_BUNDLE, body)
    while ("start", 1, "setup") not in runner.events:
        runner.events.append(runner._event(*runner.control.next()))
    harness.wait_for(lambda: os.path.exists(os.path.join(project, "waiting")))
    words = runner.reports()[0]["stdout"].split()
    return runner, runner.pid, int(words[1])


def test_the_first_line(tmp_path):
    with harness.Host(tmp_path) as host:
        kind, _, rest = host.hello.rstrip("\n").partition(" ")
        version, pytest_version, program = rest.split("\t")
        assert kind == "READY" and version.count(".") == 2 and pytest_version == pytest.__version__
        assert os.path.isabs(program)
        with open("/proc/%d/status" % host.process.pid) as file:
            assert "Threads:\t1\n" in file.read()


def test_without_pytest(tmp_path):
    harness.write(tmp_path / "site", {"pytest.py": "raise ImportError('hidden')\n"})
    host = harness.Host(tmp_path, str(tmp_path / "site"))
    assert host.hello.startswith("MISSING pytest ") and host.process.wait(harness.DEADLINE) == 3
    host.process.stdout.close()


def test_a_closed_connection_kills_the_group(host, project):
    runner, pid, child = started(host, project)
    runner.fork.close()
    assert harness.gone(pid) and harness.gone(child)


def test_kill_is_for_the_group(host, project):
    runner, pid, child = started(host, project)
    runner.fork.send(wire.F_KILL, struct.pack(">I", signal.SIGTERM))
    assert os.WTERMSIG(runner.exit()) == signal.SIGTERM
    assert harness.gone(child)
    assert runner.fork.next() is None
    runner.close()


def test_a_runner_that_dies_takes_its_group_along(host, project):
    runner, pid, child = started(host, project)
    os.kill(pid, signal.SIGKILL)
    assert os.WTERMSIG(runner.exit()) == signal.SIGKILL
    assert harness.gone(child)
    runner.close()


def test_the_stack_at_an_abort(host, project):
    """How the supervisor ends a test that takes too long."""
    runner, pid, _ = started(host, project)
    os.kill(pid, signal.SIGABRT)
    assert os.WTERMSIG(runner.exit()) == signal.SIGABRT
    assert "Current thread" in runner.text() and "in test_waits" in runner.text()
    runner.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_server(tmp_path, project, number):
    host = harness.Host(tmp_path)
    runner, pid, child = started(host, project)
    host.process.send_signal(number)
    host.process.wait(harness.DEADLINE)
    host.process.stdout.close()
    assert harness.gone(pid)
    if number == signal.SIGTERM:
        assert harness.gone(child)
    else:
        harness.kill_quietly(child)  # the agent's part
    runner.close()


def test_many_at_once(host, project):
    found = harness.collect(project)
    runners = [harness.Runner(host, project, PTREMOTE_WORKSPACE=project) for _ in range(6)]
    assert len({runner.pid for runner in runners}) == 6
    for runner in runners:
        assert runner.start(found.session)
    for runner in runners[::-1]:
        assert runner.quit() and runner.exit() == 0
        runner.close()


def test_a_folder_that_is_not_there(host, project):
    runner = harness.Runner(host, project + "/nowhere")
    assert runner.until("up", "broken") is False and "working directory cannot be used" in runner.broken
    assert os.WEXITSTATUS(runner.exit()) == 1
    runner.close()


def test_the_environment(tmp_path, host):
    project = harness.write(
        tmp_path / "project",
        {
            "test_a.py": "import os, sys, time, locale\n"
            "def test_env():\n"
            "    import ours\n"
            "    assert os.environ['EMPTY'] == '' and os.environ['MANY'] == 'a=b\\n\\xe9' and 'HOME' in os.environ\n"
            "    assert time.tzname[0] == 'XYZ' and sys.pycache_prefix == '/nowhere/cache'\n"
            "    import subprocess\n"
            "    code = 'import ours, os; print(os.environ[\"EMPTY\"], ours.X)'\n"
            "    assert subprocess.run([sys.executable, '-c', code], stdout=-1, cwd='/').stdout == b' 1\\n'\n",
            "lib/ours.py": "X = 1\n",
        },
    )
    found = harness.collect(project)
    env = {"EMPTY": "", "MANY": "a=b\né", "TZ": "XYZ-3", "PYTHONPATH": project + "/lib", "PYTHONPYCACHEPREFIX": "/nowhere/cache"}
    result = harness.run(host, found, project, env=env)
    assert result.counts() == {"passed": 1}, result.reports


def refused(host, data, fds=()):
    """The reason that the server gives, or None when it only closes."""
    connection = host.connect()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        connection.sock.sendmsg([data], rights)
        message = connection.next()
    except (BrokenPipeError, ConnectionResetError):
        message = None
    reason = None
    if message is not None:
        assert message[0] == wire.F_FAIL, message
        reason = message[1].bytes().decode()
        assert connection.next() is None
    connection.close()
    return reason


RUN = wire.frame(wire.F_RUN, wire.field("/") + struct.pack(">I", 1) + wire.field("NAME") + wire.field("value"))
GARBAGE = {
    "an empty frame": b"\0\0\0\0",
    "a frame that is too long": b"\xff\xff\xff\xff",
    "an unknown type": wire.frame(99),
    "KILL without a process": wire.frame(wire.F_KILL, struct.pack(">I", 9)),
    "RUN without descriptors": RUN,
    "RUN with too many variables": wire.frame(wire.F_RUN, wire.field("/") + struct.pack(">I", 1 << 31)),
    "RUN with a NUL": wire.frame(wire.F_RUN, struct.pack(">I", 2) + b"/\0" + struct.pack(">I", 0)),
    "RUN with more than it says": RUN[:3] + bytes([RUN[3] + 1]) + RUN[4:] + b"!",
    "text": b"GET / HTTP/1.0\r\n\r\n",
}


@pytest.mark.parametrize("what", sorted(GARBAGE))
def test_garbage_is_refused(host, project, what):
    assert refused(host, GARBAGE[what])
    assert_alive(host, project)


def test_every_truncation_is_refused(host, project):
    body = RUN[5:]
    for size in range(len(body)):
        assert refused(host, wire.frame(wire.F_RUN, body[:size])), size
    for size in range(1, len(RUN)):
        connection = host.connect()
        connection.sock.sendall(RUN[:size])
        connection.close()
    assert_alive(host, project)


def test_descriptors_do_not_pile_up(host, project):
    def count():
        return len(os.listdir("/proc/%d/fd" % host.process.pid))

    before = count()
    null = os.open(os.devnull, os.O_RDONLY)
    for number in (1, 3, 4, 9):
        for _ in range(20):
            refused(host, wire.frame(99), [null] * number)
            refused(host, RUN, [null] * number)
    os.close(null)
    assert_alive(host, project)
    assert count() <= before + 1


def test_noise(host, project):
    source = random.Random(1)
    for _ in range(100):
        connection = host.connect()
        try:
            connection.sock.sendall(bytes(source.randrange(256) for _ in range(source.randrange(1, 200))))
        except (BrokenPipeError, ConnectionResetError):
            pass
        connection.close()
    assert_alive(host, project)


def test_a_second_run_on_one_connection(host, project):
    runner, pid, _ = started(host, project)
    runner.fork.sock.sendall(RUN)
    kind, fields = runner.fork.next()
    assert kind == wire.F_FAIL and "out of place" in fields.bytes().decode()
    assert harness.gone(pid)
    runner.close()


def assert_alive(host, project):
    runner = harness.Runner(host, project, PTREMOTE_WORKSPACE=project)
    runner.control.close()
    assert os.WIFEXITED(runner.exit())
    runner.fork.close()
