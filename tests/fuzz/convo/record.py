# SPDX-License-Identifier: Apache-2.0
"""Recordings: each variant is run once for real, with somebody between master and agent who writes down what passes."""
import glob
import os
import pickle
import shutil
import sqlite3
import subprocess

import place
import words as w
from cases import BIN, MPIRUN, PYTHON, STATE, STUB, VARIANTS, Case
from sides import MILESTONES

FILE = place.ROOT + "/recorded"


def messages(record, to, stream):
    """-> (index in the record of its last frame, type, body)"""
    frames, found = w.Frames(), []
    for i, (whom, kind, number, _, data) in enumerate(record):
        if whom == to and kind == w.DATA and number == stream:
            found += [(i, *message) for message in frames.feed(data)]
    return found


def host_of(record, reports):
    answers, collector = {}, []
    for _, kind, body in messages(record, "master", w.CONTROL):
        answers.setdefault(kind, []).append(body)
    opened = {number for to, kind, number, value, _ in record if to == "master" and kind == w.OPEN and value == w.COLLECT_STREAM}
    for to, kind, number, _, data in record:
        if to == "master" and kind == w.DATA and number in opened:
            collector.append(data)
    return {"answers": answers, "collector": collector, "reports": reports}


def stubbed(body):
    """SETUP, with programs that start at once."""
    setup = w.Setup(body)
    setup.python, setup.mpirun, setup.silence_ms = STUB.encode(), (BIN + "/mpirun").encode(), 5000
    setup.linger_ms = min(setup.linger_ms, 2000)
    return setup.body()


def master_of(record):
    """What a master says, and what it waits for before it does."""
    said = {}
    for to, stream in (("agent", w.CONTROL), ("agent", w.BULK), ("master", w.CONTROL)):
        for i, kind, body in messages(record, to, stream):
            said.setdefault(i, []).append((to, stream, kind, body))
    script, pinged = [], False
    for i, (to, kind, stream, value, data) in enumerate(record):
        for whom, number, what, body in said.get(i, []):
            if whom == "master":
                script += [("wait", what)] if what in MILESTONES else []
            elif what != w.PING or number != w.CONTROL or not pinged:
                pinged |= what == w.PING and number == w.CONTROL
                script.append(("say", number, what, stubbed(body) if what == w.SETUP and number == w.CONTROL else body))
        if to == "master" and kind == w.OPEN:
            script.append(("wait", "open"))
        if to == "agent" and kind in (w.DATA, w.CLOSE) and stream >= w.FIRST:
            script.append(("frame", kind, stream, value, data))
    return script


def reports_here():
    db = sqlite3.connect("file:%s/ledger.sqlite?mode=ro" % STATE, uri=True)
    rows = db.execute("SELECT nodeid, outcome, json FROM tests JOIN reports ON tests.run=reports.run AND number=test WHERE tests.run=(SELECT MAX(id) FROM runs)").fetchall()
    db.close()
    return {nodeid: (outcome, json if isinstance(json, bytes) else json.encode()) for nodeid, outcome, json in rows}


def first_run(lab):
    """Brings the programs into the cache, and tells where the agent is."""
    with open(place.LOGS + "/said", "wb") as said:
        rc = subprocess.call([lab.real] + VARIANTS["sync"], env=place.environment(), cwd=place.PROJECT, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    if rc != 0:
        with open(place.LOGS + "/said") as said:
            raise SystemExit("cannot record: status %d\n%s" % (rc, said.read()))
    found = glob.glob(place.CACHE + "/bin/*/ptremote-agent")
    shutil.copy2(found[0], lab.agent)
    lab.recorded["agent"] = lab.agent_there = found[0]
    place.left(10)


def keep_collected(host):
    """For the collector that is a recording: the same, of the tree here."""
    workspace = w.ready_of(host["answers"][w.READY][0])["workspace"]
    with open(BIN + "/collected", "wb") as f:
        f.write(b"".join(host["collector"]).replace(workspace, place.PROJECT.encode()))


def linger(script):
    """The connection breaks once the workers run; a second one takes over, and ends the run."""
    launch = next(body for what, *more in script if what == "say" for stream, kind, body in [more] if kind == w.LAUNCH and stream == w.CONTROL)
    setup = w.Setup(next(more[2] for what, *more in script if what == "say" and more[1] == w.SETUP))
    at = max(i for i, what in enumerate(script) if what in (("wait", w.LAUNCHED), ("wait", w.SYNCED)))
    first = [what for what in script[:at + 1] if what[0] != "say" or what[2] != w.LINGER] + [("say", w.CONTROL, w.LINGER, b"")]
    attach = w.u32(w.PROTOCOL) + w.text(setup.run) + w.u32(setup.host)
    second = [("attach", attach), ("wait", w.ATTACHED), ("say", w.CONTROL, w.RELINK, launch), ("say", w.CONTROL, w.END_WORKERS, w.u32(0)), ("wait", w.EXITED),
              ("say", w.CONTROL, w.STOP, w.u32(0)), ("wait", w.STOPPED)]
    return [first + [("pause", 0.2), ("hang up",)], second]


def record(lab, variants):
    """Everything is had once for real, then once unchanged with one side a recording, which also counts what can be changed."""
    os.makedirs(BIN, exist_ok=True)
    for path, script in ((STUB, PYTHON), (BIN + "/mpirun", MPIRUN)):
        lab.put(script, path)
    first_run(lab)
    pool = {"message": [], "frame": []}
    order = sorted(variants, key=lambda v: (v != "run", v != "collect"))
    for variant in dict.fromkeys(["run", "collect"] + order):
        case, taken = Case("0", lab.recorded, "both", variant), []
        case.plan = None
        lab.have(case, taken)
        if case.wrong:
            raise SystemExit("cannot record %s: %s\n%s" % (variant, case.wrong, case.words.decode("utf-8", "replace")))
        reports = reports_here() if variant not in ("sync", "clean") else {}
        lab.recorded["host"][variant] = host_of(taken, reports)
        script = master_of(taken)
        lab.recorded["master"][variant] = linger(script) if variant == "linger" else [script]
        side = case.sides[0]
        for to in side.ways:
            lab.recorded["counts"]["both", variant, to] = dict(side.ways[to].n)
        keep(pool, variant, taken)
        if variant == "collect":
            keep_collected(lab.recorded["host"][variant])
    pool["message"] += others()
    for variant in variants:
        for target in ("master", "agent"):
            case = Case("0", lab.recorded, target, variant)
            case.plan = None
            lab.have(case)
            if case.wrong:
                raise SystemExit("an unchanged conversation (%s, %s) goes wrong: %s\n%s" % (target, variant, case.wrong, case.words.decode("utf-8", "replace")))
            n = [way.n for way in case.ways]
            lab.recorded["counts"][target, variant, target] = {name: n[0][name] for name in n[0]}
    lab.recorded["pool"] = pool
    place.clear(("bin", "python"))
    if os.path.exists(lab.agent_there):
        os.unlink(lab.agent_there)
    with open(FILE, "wb") as f:
        pickle.dump(lab.recorded, f)


def keep(pool, variant, record):
    """What may come in from another conversation: of each kind the first, so that the same seed takes the same."""
    for to in ("agent", "master"):
        for stream in (w.CONTROL, w.BULK):
            first = {}
            for _, kind, body in messages(record, to, stream):
                if len(body) < 1 << 16:
                    first.setdefault(kind, w.frame(kind, body))
            pool["message"] += [first[kind] for kind in sorted(first)]
    first = {}
    for to, kind, stream, value, data in record:
        first.setdefault((to, kind, stream, data[4] if kind == w.DATA and stream < w.FIRST and len(data) > 4 else 0), w.mux(kind, stream, value, data))
    pool["frame"] += [first[key] for key in sorted(first) if key[1] != w.CREDIT] + [w.mux(w.CREDIT, 0, 1)]


def load(lab):
    with open(FILE, "rb") as f:
        lab.recorded = pickle.load(f)
    lab.found()


def others():
    """Messages that no recording has: each kind of the link, and some of several hosts, well-formed."""
    death = w.u32(0, 0, 1, 0, w.NONE) + w.text("") + bytes([1, 1]) + w.u32(9) + w.u64(0, 0, 0) + w.text("stack") + w.text("output")
    notes = ('{"kind":"warning","message":"m","category":"UserWarning","filename":"f.py","lineno":1,"when":"runtest","nodeid":"","text":"t"}',
             '{"kind":"missing","path":"test_one.py","test":0,"nodeid":"x","found":[]}', '{"kind":"suite","properties":[["a","b"]]}',
             '{"kind":"stop","reason":"enough","exit":3}', '{"kind":"file","path":"test_one.py","seconds":0.1,"modules":["json"]}', '{"kind":"unsafe","reason":"threads"}',
             '{"kind":"workeroutput","output":"{}"}')
    said = [(w.DEATH, death), (w.BROKEN, w.u32(0) + w.text("no pytest")), (w.STOLEN, w.u32(0, 0, 1, 1, 0)), (w.RECALLED, w.u32(0) + b"\x01"),
            (w.BYE, w.u32(w.NONE)), (w.DONE, w.u32(0, 0, 1)), (w.OUTPUT, w.u32(0, 0, 0) + w.text("o" * 100)), (w.GOT, b""),
            (w.REPORT, w.u32(0, 0, 1, 0) + bytes([8]) + w.text('{"nodeid":"test_one.py::test_a","outcome":"failed","phase":"call","message":"m","longrepr":"l"}'))]
    said += [(w.NOTE, w.u32(0, w.NONE) + w.text(note)) for note in notes]
    found = [w.frame(kind, w.u64(seq) + body) for kind, body in said for seq in (1, 2, 5)]
    found += [w.frame(w.WAITS, w.text("20261121-181530-0a1b2c") + w.text("ada@h1") + w.u32(1, 2)), w.frame(w.FAIL, b"\x01" + w.text("no room") + w.text("make room")),
              w.frame(w.RESEND, w.text("a file changed")), w.frame(w.TREE, b"\x01"), w.frame(w.EXITED, bytes([1]) + w.u32(0x100) + w.text("mpirun: words")),
              w.frame(w.EXITED, bytes([2]) + w.u32(9) + w.text("")), w.frame(w.LOG, b"\x01" + w.text("words")), w.frame(w.MISSING, w.u32(3, 0, 1, 2)),
              w.frame(w.LISTEN), w.frame(w.COLLECT, w.text("{}")), w.frame(w.END_WORKERS, w.u32(100)), w.frame(w.STOP, w.u32(100)),
              w.frame(w.BOUND, w.u64(1 << 20)), w.frame(w.CLEAN, b"\0"), w.frame(w.LINGER), w.frame(w.SURVEY)]
    return found
