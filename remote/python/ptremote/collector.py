# SPDX-License-Identifier: Apache-2.0
"""Finds the tests: one pytest session, started in a child, that collects and tells (docs/protocol.md 7.1).

Files are told as they are collected, as long as nothing can change the choice at the end; else all of them
after the end. A file that ends this process while it is imported was announced by an `importing` line; whoever
started us starts us again with it in `skip_files`.
"""
import faulthandler
import json
import os
import sys

REFUSED = {
    "usepdb": "--pdb needs a terminal; run that test with pytest itself",
    "trace": "--trace needs a terminal; run that test with pytest itself",
    "collectonly": "--collect-only: use --dry-run",
}


def main():
    """The last of argv is the number of the descriptor with the request."""
    number = int(sys.argv[-1])
    with os.fdopen(number, "rb") as source:
        request = json.loads(source.readline().decode("utf-8", "surrogateescape"))
    if request["out_fd"] < 0:
        request["out_fd"] = number + 1
    # As `python3 -m pytest` has it; our own folder is behind all others.
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = [os.getcwd()] + [entry for entry in sys.path if entry not in ("", folder)] + [folder]
    faulthandler.enable()
    sys.exit(_run(request))


def _run(request):
    speaker = Speaker(request["out_fd"])
    try:
        import pytest
    except ImportError as error:
        speaker.say("fail", text="%s has no pytest: %s" % (sys.executable, error), exit=4)
        return 4
    args = _arguments(request)
    sys.argv[:] = [os.path.join(os.path.dirname(pytest.__file__), "__main__.py")] + args
    from ptremote import mpi, spared, xdist
    from ptremote.collecting import Collecting

    for name in xdist.VARIABLES:  # whoever started the master may be a worker itself
        os.environ.pop(name, None)
    spared.read_names()
    xdist.stand_in()
    mpi.take_away()
    mpi.apart()
    mpi.stand_in()
    plugin = Collecting(request, args, speaker)
    words = Echo(sys.stderr)
    sys.stderr = words
    status, trouble = 3, None
    try:
        status = int(pytest.main(list(args), plugins=[mpi, plugin]))
    except BaseException as error:  # pytest.exit() outside of a session, a plugin's own mistake
        trouble = "%s: %s" % (type(error).__name__, error)
    finally:
        sys.stderr = words.original
    return plugin.close(status, trouble or words.text())


def _arguments(request):
    """What pytest is started with: paths, then what followed `--`, then what ptremote's own options stand for."""
    args = [str(arg) for key in ("paths", "args", "pytest_args") for arg in request.get(key) or ()]
    for flag in ("k", "m"):
        if request.get(flag):
            args += ["-" + flag, request[flag]]
    for key, flag in (("last_failed", "--lf"), ("failed_first", "--ff")):
        if request.get(key):
            args.append(flag)
    verbosity = int(request.get("verbosity") or 0)
    if verbosity:
        args.append("-" + ("v" if verbosity > 0 else "q") * min(abs(verbosity), 9))
    workspace = os.environ.get("PTREMOTE_WORKSPACE")
    if workspace:
        # This is a host: the master wrote its own paths.
        from ptremote import places

        mapping = places.Mapping([request.get("project")], workspace)
        args = [mapping.text(arg) for arg in args]
        request["failed"] = {mapping.there(root): ids for root, ids in (request.get("failed") or {}).items()}
        request["project"] = workspace
    return args


class Speaker:
    """Writes lines of JSON; a forked child of a test module stays silent."""

    def __init__(self, fd):
        self._fd = fd
        self._owner = os.getpid()
        os.set_inheritable(fd, False)

    def say(self, kind, **values):
        from ptremote import wire

        if os.getpid() != self._owner:
            return
        line = {"t": kind}
        line.update((key, value) for key, value in values.items() if value is not None)
        data = wire.dumps(line) + b"\n"
        while data:
            data = data[os.write(self._fd, data) :]


class Echo:
    """Passes on what is written to stderr and remembers it: pytest tells its usage errors there."""

    def __init__(self, original):
        self.original = original
        self._parts = []

    def write(self, text):
        self._parts.append(text)
        return self.original.write(text)

    def __getattr__(self, name):
        return getattr(self.original, name)

    def text(self):
        return "".join(self._parts)[-(1 << 20) :]
