# SPDX-License-Identifier: Apache-2.0
"""What is done when, and to whom: all of it comes from the seed."""
from collections import namedtuple

# at: once that part of the tests has its outcome on disk; below 0: so many seconds after the last start of the master, begun by `after` starts.
# what: kill, stop, host-stop, cut, slow, power, master-kill, master-stop. nth: which of several processes. seconds: until it is undone.
Action = namedtuple("Action", "at after what host role nth seconds")

FATAL = ("agent", "keeper", "proxy", "mpirun", "worker", "sshd", "forkserver")  # whoever is killed, the host's workers start again
STOPPED = ("agent", "keeper", "proxy", "mpirun", "worker", "sshd", "forkserver", "runner")
FATAL_A_HOST = 3  # a host's workers are started again three times


def words(action):
    who = {"kill": "%s %d of" % (action.role, action.nth), "stop": "%s %d of" % (action.role, action.nth)}.get(action.what, "")
    host = "" if action.what.startswith("master") else "h%d" % (action.host + 1)
    when = "at %.1f %%" % (100 * action.at) if action.at >= 0 else "%.2f s after start %d" % (-action.at, action.after)
    undone = " for %.2f s" % action.seconds if action.seconds else ""
    return "%-22s %s" % (when, " ".join(filter(None, [action.what, who, host])) + undone)


class Maker:
    def __init__(self, random, hosts):
        self.random, self.hosts, self.plan, self.fatal = random, hosts, [], [0] * hosts

    def add(self, what, at=None, host=None, role="", seconds=0.0, after=0):
        host = self.random.randrange(self.hosts) if host is None else host
        at = self.random.uniform(0.01, 0.95) if at is None else at
        self.plan.append(Action(at, after, what, host, role, self.random.randrange(4), seconds))

    def add_fatal(self, what, **more):
        host = self.random.randrange(self.hosts)
        if self.fatal[host] < FATAL_A_HOST:
            self.fatal[host] += 1
            self.add(what, host=host, **more)


def while_tests_run(make, random):
    for role in random.sample(FATAL, 4):
        make.add_fatal("kill", role=role)
    make.add_fatal("power", seconds=random.uniform(0.1, 2))
    for _ in range(3):
        make.add("kill", role="runner")
    for role in random.sample(STOPPED, 4):
        make.add("stop", role=role, seconds=random.uniform(0.2, 3))
    make.add("host-stop", seconds=random.uniform(0.2, 3))
    make.add("cut", seconds=random.uniform(0.2, 3))
    make.add("slow", seconds=random.uniform(1, 4))
    make.add("master-stop", seconds=random.uniform(0.2, 3))
    for _ in range(random.choice((1, 1, 2))):
        make.add("master-kill", seconds=random.choice((0, random.uniform(0, 2))))


def while_it_starts(make, random):
    """Hosts are connected to, get their tree, start."""
    if random.random() < 0.5:
        make.add("master-kill", at=-random.uniform(0.1, 3), after=random.choice((1, 2)), seconds=random.uniform(0, 1))
    if random.random() < 0.5:
        make.add_fatal("kill", at=-random.uniform(0.1, 3), after=random.choice((1, 2)), role=random.choice(("agent", "keeper", "proxy", "sshd")))


def while_it_ends(make, random):
    if random.random() < 0.5:
        make.add_fatal("kill", at=random.uniform(0.98, 1), role=random.choice(FATAL[:-1]))
    if random.random() < 0.5:  # two hosts at once
        at = random.uniform(0.8, 1)
        for role in random.sample(FATAL[:-1], 2):
            make.add_fatal("kill", at=at, role=role)
    if random.random() < 0.2:
        make.add("master-kill", at=1.0)


def actions(random, hosts, long_seconds):
    """-> [Action], in order. long_seconds: silence that is certainly noticed, or 0: none so long."""
    make = Maker(random, hosts)
    while_tests_run(make, random)
    while_it_starts(make, random)
    while_it_ends(make, random)
    if long_seconds:
        make.add(random.choice(("host-stop", "cut")), seconds=long_seconds)
    return sorted(make.plan, key=lambda action: (action.at < 0, action.at))
