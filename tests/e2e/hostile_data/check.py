# SPDX-License-Identifier: Apache-2.0
"""What was told, read by other parsers than ours, against what plain pytest tells.
check.py results PLAIN.json GOT.json [FILE...]: ids, outcomes, output and messages; of these files, or of all.
check.py junit PLAIN.json GOT.xml: element by element.
check.py ledger LEDGER GOT.json: the newest run."""
import json
import os
import re
import sqlite3
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree

from table import visible

ILLEGAL = re.compile("[^\t\n\r\x20-\x7e\x80-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LEFT_OUT = re.compile(r"\[\.\.\. \d+ characters left out by ptremote \.\.\.\]")
wrong = []


def same(what, nodeid, want, got):
    """A text of 1 MiB may have lost its middle, and says so."""
    if want == got:
        return
    if LEFT_OUT.search(got) and len(want) > 1 << 20:
        head, tail = LEFT_OUT.split(got)
        if want.startswith(head.rstrip("\n")) and (not tail.strip() or want.endswith(tail.lstrip("\n"))):
            return
    wrong.append("%s of %.200s: want %.300s, got %.300s" % (what, ascii(nodeid), ascii(want), ascii(got)))


def reason_of(entry):
    text = entry["reason"]
    for front in ("reason: ", "Skipped: "):
        text = text[len(front) :] if text.startswith(front) else text
    return visible(text).strip().partition("\n")[0]


def results(plain_path, got_path, *files):
    plain = {visible(entry["nodeid"]): entry for entry in json.load(open(plain_path, encoding="utf-8"))}
    told = json.load(open(got_path, encoding="utf-8"))
    got = {test["nodeid"]: test for test in told["tests"]}
    if files:
        plain = {nodeid: entry for nodeid, entry in plain.items() if nodeid.partition("::")[0] in files}
        got = {nodeid: test for nodeid, test in got.items() if test["file"] in files}
    if len(got) != len(plain):
        wrong.append("%d tests told, not %d" % (len(got), len(plain)))
    for nodeid in plain.keys() ^ got.keys():
        wrong.append("only %s knows %.300s" % ("pytest" if nodeid in plain else "ptremote", ascii(nodeid)))
    for nodeid in plain.keys() & got.keys():
        want, test = plain[nodeid], got[nodeid]
        same("outcome", nodeid, want["outcome"], test["outcome"])
        for key in ("stdout", "stderr"):
            same(key, nodeid, visible(want[key]), test.get(key, ""))
        if "longrepr" in want:
            same("longrepr", nodeid, visible(want["longrepr"]).strip(), test["longrepr"].strip())
        if "reason" in want:
            same("reason", nodeid, reason_of(want), test.get("message", ""))
    print("%d tests compared" % len(plain))


def legal(text):
    """With what XML cannot hold as pytest shows it: #x1B."""
    return ILLEGAL.sub(lambda found: ("#x%02X" if ord(found[0]) < 256 else "#x%04X") % ord(found[0]), visible(text))


def name_of(text):
    """As it can be the name of an attribute."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", visible(text).encode("utf-8").decode("latin-1"))
    return name if re.match("[A-Za-z_]", name) else "_" + name


def is_place(element):
    """The property that names the host, or properties with no other."""
    if element.tag == "properties" and len(element) == 1:
        element = element[0]
    return element.tag == "property" and element.get("name") == "host"


def relative(text):
    """Where a skipped test is: its file is elsewhere on a host."""
    return re.sub(r"^/.*?/(?=test_\w+\.py:\d+: )", "", text, flags=re.S)


def compare(where, want, got):
    tag, attributes, text, children = want
    named, given = {}, dict(got.attrib)
    for name, value in attributes.items():
        named.setdefault(name_of(name), legal(value))
    for name in ("time", "timestamp", "hostname"):
        for one in (named, given):
            one.pop(name, None)
    same("tag", where, tag, got.tag)
    for name in named.keys() | given.keys():
        same("attribute " + name, where, named.get(name, ""), given.get(name, ""))
    same(tag, where, relative(legal(text or "")), relative(got.text or ""))
    kept = [child for child in got if not is_place(child)]
    tags = [child[0] for child in children], [child.tag for child in kept]
    if tags[0] != tags[1]:
        wrong.append("children of %s: want %s, got %s" % (ascii(where)[:200], *tags))
    for child, other in zip(children, kept):
        compare(where, child, other)


def junit(plain_path, got_path):
    """Case by case, in order; pytest's is a dump of its elements."""
    plain = json.load(open(plain_path, encoding="utf-8"))[3][0]
    got = ElementTree.parse(got_path).getroot()[0]
    told = {(case.get("classname"), case.get("name")): case for case in got.iter("testcase")}
    wanted = [child for child in plain[3] if child[0] == "testcase"]
    if len(told) != len(wanted):
        wrong.append("%d testcases told, not %d" % (len(told), len(wanted)))
    for case in wanted:
        key = legal(case[1]["classname"]), legal(case[1]["name"])
        if key in told:
            compare(key, case, told[key])
        else:
            wrong.append("no testcase %.300s" % ascii(key))
    print("%d testcases compared" % len(wanted))


def ledger(path, got_path):
    told = json.load(open(got_path, encoding="utf-8"))
    db = sqlite3.connect("file:%s?mode=ro" % urllib.parse.quote_from_bytes(os.fsencode(os.path.abspath(path))), uri=True)
    if db.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
        wrong.append("the ledger is damaged")
    run = db.execute("SELECT id FROM runs WHERE name = ?", (told["run"],)).fetchone()[0]
    rows = db.execute("SELECT nodeid, file FROM tests WHERE run = ?", (run,)).fetchall()
    same("ids", "ledger", sorted((test["nodeid"], test["file"]) for test in told["tests"]), sorted(rows))
    hosts = [row[0] for row in db.execute("SELECT name FROM hosts WHERE run = ?", (run,))]
    hosts = [visible(os.fsdecode(name)) if isinstance(name, bytes) else name for name in hosts]
    same("hosts", "ledger", sorted(host["name"] for host in told["hosts"]), sorted(hosts))
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        db.execute("SELECT * FROM %s" % table).fetchall()  # what is text is UTF-8
    (cwd,) = db.execute("SELECT cwd FROM runs WHERE id = ?", (run,)).fetchone()
    same("folder", "ledger", os.getcwdb(), os.fsencode(cwd))
    for (data,) in db.execute("SELECT json FROM reports WHERE run = ? AND json IS NOT NULL", (run,)):
        json.loads(data)
    for (data,) in db.execute("SELECT json FROM notes WHERE run = ?", (run,)):
        json.loads(data)


{"results": results, "junit": junit, "ledger": ledger}[sys.argv[1]](*sys.argv[2:])
for line in wrong[:20]:
    print(line)
sys.exit(bool(wrong))
