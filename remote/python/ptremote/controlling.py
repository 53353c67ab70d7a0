# SPDX-License-Identifier: Apache-2.0
"""The collector as pytest-xdist's controller: plugins here are told of the nodes that run the tests there.

The master asks by lines of JSON on a descriptor of its own (docs/protocol.md 7.5). What is asked while tests are
still collected is answered between two files.
"""
import io
import json
import os
import select
import traceback
import types
from pathlib import Path

import pytest

from ptremote import insides, xdist

HOOKS = ("pytest_configure_node", "pytest_testnodeready", "pytest_testnodedown")
LINE_MAX = 64 << 20


class Spec:
    """How a node is reached. As with execnet's, what it does not have is None."""

    def __init__(self, node, host):
        self.id = node
        self.ssh = host
        self._spec = "ssh=%s//id=%s" % (host, node)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return None

    def __str__(self):
        return self._spec


class Gateway:
    def __init__(self, node, host):
        self.id = node
        self.spec = Spec(node, host)
        self.info = dict(xdist.info(), version_info=(0, 0, 0, "", 0), platform="", executable="")

    def _rinfo(self, update=False):
        return types.SimpleNamespace(**self.info)

    def __repr__(self):
        return "<Gateway id=%s %s>" % (self.id, self.spec)


class Manager:
    """All nodes."""

    def __init__(self, config, roots, uid):
        self.config = config
        self.roots = roots
        self.testrunuid = uid
        self.specs = []


class Node:
    def __init__(self, manager, gateway, known):
        self.nodemanager = manager
        self.gateway = gateway
        self.config = manager.config
        self.workerinput = known
        self.shutting_down = False

    def __repr__(self):
        return "<Node %s>" % self.gateway.id


class Controlling:
    def __init__(self, config, say, fd, project, uid):
        self.config = config
        self.say = say
        self.fd = fd
        self.manager = Manager(config, [Path(project)], uid)
        self.nodes = {}  # id -> Node
        self.ready = set()
        self.buffer = b""
        self.over = False  # nothing more will be asked
        self.expected = 0  # exit status that the session has when no plugin wants another
        self.trouble = False
        os.set_inheritable(fd, False)

    @staticmethod
    def interested(config):
        """Names of the plugins that want to know of nodes."""
        found = []
        for name in HOOKS:
            for impl in insides.implementations(config, name):
                plugin, shown = impl.plugin, str(impl.plugin_name)
                silent = getattr(plugin, "__name__", None) == xdist.RERUNS
                if not silent and not getattr(plugin, "_disabled", False) and shown not in found:  # of pytest-cov
                    found.append(shown)
        return found

    # ---- what is asked ----

    def poll(self):
        """Answer what was asked already."""
        while not self.over and select.select([self.fd], [], [], 0)[0]:
            self._hear()

    def serve(self, session):
        """Until the run is over. Then the session ends as one that ran the tests here would."""
        while not self.over:
            self._hear()
        self.expected = 1 if session.testsfailed else 0 if session.testscollected else 5

    def _hear(self):
        data = os.read(self.fd, 1 << 16)
        if not data:
            os._exit(1)  # nobody is there to hear the answers
        self.buffer += data
        while b"\n" in self.buffer:
            line, _, self.buffer = self.buffer.partition(b"\n")
            self._answer(json.loads(line))
        if len(self.buffer) > LINE_MAX:
            raise ValueError("a line without end")

    def _answer(self, asked):
        kind = asked["t"]
        if kind == "node":
            self._configure(asked)
        elif kind == "ready":
            self._guarded(self._be_ready, asked["id"])
        elif kind == "down":
            self._guarded(self._take_down, asked)
        elif kind == "end":
            self.over = True
            self.session.testsfailed = int(asked.get("failed") or 0)
            self.session.testscollected = int(asked.get("collected") or 0)

    session = None

    def _guarded(self, step, *args):
        """What a plugin breaks here is told, and the run goes on."""
        try:
            step(*args)
        except Exception:
            self.trouble = True
            for line in traceback.format_exc().rstrip().split("\n"):
                self.say("text", line="INTERNALERROR> " + line)

    def _configure(self, asked):
        node = asked["id"]
        try:
            known = self._node(asked).workerinput
            self.say("node", id=node, input=xdist.pack(known, "workerinput", xdist.INPUT_MAX))
        except (xdist.Unsendable, RecursionError) as error:
            self.say("node", id=node, error="pytest_configure_node of %s: %s" % (node, error))
        except Exception:
            self.say("node", id=node, error="pytest_configure_node of %s:\n%s" % (node, traceback.format_exc().rstrip()))

    def _node(self, asked):
        node = asked["id"]
        if node not in self.nodes:
            manager = self.manager
            if asked.get("uid"):
                manager.testrunuid = asked["uid"]
            gateway = Gateway(node, asked.get("host") or "")
            known = {
                "workerid": node,
                "workercount": int(asked.get("count") or 1),
                "testrunuid": manager.testrunuid,
                "mainargv": list(self.argv),
            }
            self.nodes[node] = Node(manager, gateway, known)
            manager.specs.append(gateway.spec)
            self._call("pytest_configure_node", node=self.nodes[node])
        return self.nodes[node]

    argv = ()

    def _be_ready(self, node):
        if node in self.nodes and node not in self.ready:
            self.ready.add(node)
            self._call("pytest_testnodeready", node=self.nodes[node])

    def _take_down(self, asked):
        node = self.nodes.get(asked["id"])
        if node is None:
            return
        self._be_ready(asked["id"])
        if node.shutting_down:  # the session that a new process took up in the same slot
            node = Node(node.nodemanager, node.gateway, node.workerinput)
        node.shutting_down = True
        info = asked.get("info")
        if info:
            node.gateway.info = dict(info, version_info=tuple(info["version_info"]))
            self._map_coverage(info.get("workspace"))
        error = asked.get("error")
        if asked.get("output") is not None:
            node.workeroutput = xdist.unpack(asked["output"])
        elif not error:
            error = "Not properly terminated"
        self._call("pytest_testnodedown", node=node, error=error)

    def _map_coverage(self, workspace):
        """What was measured there is told of the files here. pytest-cov means to, and tells the wrong object."""
        controller = getattr(self.config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
        coverage = getattr(controller, "combining_cov", None)
        if coverage is not None and workspace:
            paths = coverage.config.paths.setdefault("ptremote", [str(self.manager.roots[0])])
            if workspace not in paths:
                paths.append(workspace)

    def _call(self, name, **values):
        module = insides.plugin_module(self.config, xdist.RERUNS)
        hook = self.config.pluginmanager.subset_hook_caller(name, remove_plugins=[module] if module else [])
        hook(**values)

    # ---- the end ----

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter):
        """What plugins print below a run; pytest's own part of it is the master's."""
        screen = io.StringIO()
        stats, terminalreporter.stats = terminalreporter.stats, {}
        insides.redirect_terminal(self.config, screen)
        yield
        insides.redirect_terminal(self.config)
        terminalreporter.stats = stats
        for line in screen.getvalue().rstrip("\n").split("\n") if screen.getvalue().strip() else ():
            self.say("text", line=line)

    def exit(self, status):
        """The exit status that plugins want, or None."""
        if self.trouble:
            return 3
        return status if status != self.expected else None
