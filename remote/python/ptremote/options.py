# SPDX-License-Identifier: Apache-2.0
"""Options that a suite carries and that mean something else here: pytest-xdist's, pytest_parallel's, the master's."""
import sys

from ptremote import insides

# Flags of pytest-xdist and where they end up. Those that no plugin defines are added, so that they are accepted.
XDIST = [
    (("-n", "--numprocesses"), {"dest": "numprocesses"}),
    (("--maxprocesses",), {"dest": "maxprocesses"}),
    (("--max-worker-restart",), {"dest": "maxworkerrestart"}),
    (("--dist",), {"dest": "dist", "default": "no"}),
    (("--tx",), {"dest": "tx", "action": "append", "default": []}),
    (("--px",), {"dest": "px", "action": "append", "default": []}),
    (("-d",), {"dest": "distload", "action": "store_true", "default": False}),
    (("--rsyncdir",), {"dest": "rsyncdir", "action": "append", "default": []}),
    (("--rsyncignore",), {"dest": "rsyncignore", "action": "append", "default": []}),
    (("--testrunuid",), {"dest": "testrunuid"}),
    (("--maxschedchunk",), {"dest": "maxschedchunk"}),
    (("--ramp",), {"dest": "ramp"}),
    (("--loadgroup",), {"dest": "loadgroup", "action": "store_true", "default": False}),
    (("--loadscope-reorder",), {"dest": "loadscopereorder", "action": "store_true", "default": True}),
    (("--no-loadscope-reorder",), {"dest": "loadscopereorder", "action": "store_false", "default": True}),
    (("-f", "--looponfail"), {"dest": "looponfail", "action": "store_true", "default": False}),
]
# Flags of pytest_parallel, whose schedulers have nothing to do here.
PARALLEL = [
    (("--scheduler",), {"dest": "scheduler"}),
    (("--n-workers",), {"dest": "n_workers"}),
    (("--slurm-options",), {"dest": "slurm_options"}),
    (("--slurm-srun-options",), {"dest": "slurm_srun_options"}),
    (("--slurm-init-cmds",), {"dest": "slurm_init_cmds"}),
    (("--slurm-file",), {"dest": "slurm_file"}),
    (("--slurm-export-env",), {"dest": "slurm_export_env", "action": "store_true", "default": True}),
    (("--no-slurm-export-env",), {"dest": "slurm_export_env", "action": "store_false", "default": True}),
    (("--use-srun",), {"dest": "use_srun", "action": "store_true", "default": None}),
    (("--no-use-srun",), {"dest": "use_srun", "action": "store_false", "default": None}),
    (("--detach",), {"dest": "detach", "action": "store_true", "default": False}),
]
# Of that, what other plugins have too: known only where pytest_parallel would be loaded.
PARALLEL_ALONE = [(("--timeout",), {"dest": "timeout"})]
# What the master does itself; a runner is started as if they were not given.
MASTER_ONLY = {
    "maxfail": 0,
    "xmlpath": None,
    "lf": False,
    "failedfirst": False,
    "newfirst": False,
    "stepwise": False,
    "stepwise_skip": False,
    "stepwise_reset": False,
    "cacheclear": False,
    "cacheshow": None,
    "collectonly": False,
    "pastebin": None,
    "usepdb": False,
    "trace": False,
}


def _add(parser, options):
    insides.add_hidden_options(parser, [(flags, dict(settings, help="ignored")) for flags, settings in options])


def accept(parser):
    _add(parser, XDIST + PARALLEL)


def accept_parallel(parser):
    _add(parser, PARALLEL + PARALLEL_ALONE)


def ignore_xdist(config):
    """Set the options of pytest-xdist to what they are without it; the flags that were given."""
    given = []
    for flags, settings in XDIST:
        dest, default = settings["dest"], settings.get("default")
        value = getattr(config.option, dest, default)
        if value != default and value is not None and dest not in ("loadscopereorder", "testrunuid"):
            given.append(flags[0] if settings.get("action") else "%s %s" % (flags[0], value))
        setattr(config.option, dest, list(default) if isinstance(default, list) else default)
    return given


def act_as_controller(config):
    """After ignore_xdist: tests are run elsewhere, so is_xdist_controller() is true. The flags that were given to
    pytest-xdist start nothing; before its version 3 the option alone did."""
    module = sys.modules.get("xdist")
    if not config.pluginmanager.hasplugin("xdist") or not str(module.__version__).startswith(("1.", "2.")):
        config.option.dist = "load"


def act_as_runner(config, worker=None):
    """Leave out of the options what the master does, and what runners would do to each other."""
    ignore_xdist(config)
    for dest, value in MASTER_ONLY.items():
        if hasattr(config.option, dest):
            setattr(config.option, dest, value)
