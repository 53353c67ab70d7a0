# SPDX-License-Identifier: Apache-2.0
"""Runs bundles of tests in one live pytest session, in a forked process (docs/protocol.md 6).

The session is started as `python3 -m pytest ARGS` would start it. Instead of collecting everything and running it,
it waits in pytest_runtestloop for bundles, collects their files and runs the chosen items one by one.
"""
import json
import os
import sys

from ptremote import afterfork, collector, preload, wire
from ptremote.control import Control


# What pytest looks for in the folders above its arguments.
ROOT_FILES = (
    "pytest.toml .pytest.toml pytest.ini .pytest.ini pyproject.toml tox.ini setup.cfg setup.py".split()
)


def main(fd):
    """Run one session on this control socket; ends the process."""
    control = Control(fd)
    kind, fields = control.hear()
    if kind != wire.R_SESSION:
        raise wire.Malformed("message of type %d instead of the session" % kind)
    data = fields.bytes()
    fields.end()
    session = json.loads(data.decode("utf-8"))
    if preload.conflicts(_folders(session)):
        preload.start_afresh(control.fileno(), data)
    begin(control, session)


def begin(control, session):
    """Ends the process."""
    afterfork.reseed_numpy()
    sys.exit(run(control, session))


def _mapping(session):
    from ptremote import places

    return places.Mapping(session.get("homes") or [], os.environ.get("PTREMOTE_WORKSPACE") or os.getcwd())


def _folders(session):
    """Where the project's own modules may be."""
    mapping = _mapping(session)
    named = [*session.get("front", ()), *session.get("back", ()), session["root"]]
    return [os.getcwd(), mapping.workspace, *map(mapping.there, named)]


def run(control, session):
    import pytest

    from ptremote import mpi, xdist
    from ptremote.running import Running

    control.tell_place()
    mpi.apart()
    mapping = _mapping(session)
    addopts = os.environ.get("PYTEST_ADDOPTS")
    if addopts:
        os.environ["PYTEST_ADDOPTS"] = mapping.text(addopts)
    args = _root_args(session, mapping) + [mapping.text(arg) for arg in session["args"]]
    sys.argv[:] = [os.path.join(os.path.dirname(pytest.__file__), "__main__.py")] + args
    node = xdist.Node(session, _rank(), control)
    node.before()
    mpi.stand_in()
    plugin = Running(control, session, mapping, node)
    words = collector.Echo(sys.stderr)
    sys.stderr = words
    trouble = None
    try:
        status = int(pytest.main(list(args), plugins=[mpi, plugin, plugin.files, *node.plugins()]))
    except BaseException:  # pytest.exit() outside of a session, a plugin's own mistake
        import traceback

        status, trouble = 3, traceback.format_exc()
    finally:
        sys.stderr = words.original
    if not control.ours():
        os._exit(status)
    status = _tell_end(control, plugin, status, trouble, words)
    if plugin.group is not None:
        plugin.group.leave(status)
    return status


def _tell_end(control, plugin, status, trouble, words):
    if not plugin.up:
        text = plugin.trouble or trouble or words.text() or "pytest ended with status %d before it was ready" % status
        control.say(wire.R_BROKEN, wire.field(text.strip()[-wire.MAX_TEXT // 2 :]))
        return 1
    if not plugin.finished:
        sys.stderr.write(plugin.trouble or trouble or words.text())
        return 1
    failed = plugin.interrupt is None and bool(trouble or plugin.trouble)
    if plugin.group is not None:
        failed = plugin.group.tells_end(failed)
    if failed:
        plugin.tell_end_trouble(trouble or plugin.trouble)
    control.say(wire.R_ENDED)
    return 0


def _rank():
    """Which of its host's runners this is: what follows the dot of hN.R."""
    rank = os.environ.get("PTREMOTE_WORKER", "").rpartition(".")[2]
    return int(rank) if rank.isdigit() else 0


def _root_args(session, mapping):
    """What makes pytest find the rootdir and ini file of home where something above the workspace misleads it."""
    folder, found = os.path.dirname(mapping.workspace), False
    while not mapping.same and folder != os.path.dirname(folder):
        found = found or any(os.path.exists(os.path.join(folder, name)) for name in ROOT_FILES)
        folder = os.path.dirname(folder)
    root = mapping.there(session["root"])
    if not found or any(arg.startswith("--rootdir") for arg in session["args"]) or not os.path.isdir(root):
        return []
    ini = mapping.there(session["inipath"]) if session.get("inipath") else None
    if ini and os.path.exists(ini) and "-c" not in session["args"]:
        return ["--rootdir=" + root, "-c", ini]
    return ["--rootdir=" + root]
