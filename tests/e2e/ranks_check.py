# SPDX-License-Identifier: Apache-2.0
"""ranks_check.py JSON: a run's own record proves that no host ever ran more ranks than it has slots. Prints, for each host, its slots,
the most ranks at a time, and which share of its slots idled until the last test that waited had begun."""
import json
import sys

CLOCK = 2e-5  # seconds: times are told to the microsecond, and a test's phases are added up


def share(one, ranks, name):
    """How many of a test's ranks that host had, in that try."""
    if "hosts" not in one:
        return ranks if one.get("host") == name else 0
    if sum(one["shares"]) != ranks:
        sys.exit("%d ranks, but %s" % (ranks, one["shares"]))
    return dict(zip(one["hosts"], one["shares"])).get(name, 0)


def hosts(run):
    """For each host its name, its slots, and (begin, end, ranks, node id) of each try of a test that ran there."""
    for host in run["hosts"]:
        spans = []
        for test in run["tests"]:
            for one in [test, *test.get("tries", [])]:
                here = share(one, test.get("ranks", 1), host["name"])
                if here and one.get("duration") is not None:
                    known = one.get("started") is not None
                    fell = test.get("ranks", 1) > 1 and one["duration"] > 0 and one.get("phase") != "collect"
                    if not known and (fell or one["outcome"] == "passed"):
                        sys.exit("%s: nobody knows when it began" % test["nodeid"])
                    if not known:
                        continue
                    spans.append((one["started"], one["started"] + one["duration"], here, test["nodeid"]))
        yield host["name"], host["slots"], spans


def moments(spans):
    """(time, ranks more or less, node id), an end before what begins at that time."""
    events = [(begin + CLOCK, ranks, nodeid) for begin, end, ranks, nodeid in spans if end - begin > 2 * CLOCK]
    events += [(end - CLOCK, -ranks, nodeid) for begin, end, ranks, nodeid in spans if end - begin > 2 * CLOCK]
    return sorted(events)


def look(spans):
    """(most ranks at a time, what ran then, rank-seconds used until the last test began, seconds until then)."""
    if not spans:
        return 0, [], 0.0, 0.0
    begun, last = min(span[0] for span in spans), max(span[0] for span in spans)
    used, most, then, running, before = 0.0, 0, [], {}, begun
    for at, ranks, nodeid in moments(spans):
        used += sum(running.values()) * max(0.0, min(at, last) - min(before, last))
        before = at
        running[nodeid] = running.get(nodeid, 0) + ranks
        if not running[nodeid]:
            del running[nodeid]
        if sum(running.values()) > most:
            most, then = sum(running.values()), sorted(running.items())
    return most, then, used, last - begun


def idle_share(slots, used, seconds):
    return 1 - used / (slots * seconds) if seconds > 0 else 0.0


def main():
    with open(sys.argv[1]) as file:
        run = json.load(file)
    bad = False
    for name, slots, spans in hosts(run):
        most, then, used, seconds = look(spans)
        print("%s: %d slots, at most %d ranks, %.1f %% idle for %.3f s" % (name, slots, most, 100 * idle_share(slots, used, seconds), seconds))
        if most > slots:
            bad = True
            print("  more than slots: " + ", ".join("%s (%d)" % pair for pair in then))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
