# SPDX-License-Identifier: Apache-2.0
"""The rows of the table: what is measured against what, and the goals."""
import json
import os
import subprocess
import sys

import sync_trees
import table
from sync_lab import Lab
from sync_works import TUNED, Connect, Once, Open, Rsync, SshTrue, Tar
from table import Broken, median, show_size, show_time

FAR_MS = 20
SLOW = "20mbit"
EIGHT = 8
MANY = 100000
LARGE = 1 << 30
ROWS = {}


def row(name, title, memory=1, disk=0, trees=("pandas",)):
    """Registers a row; it needs so many hosts of each kind."""

    def register(function):
        for tree in trees:
            key = name if tree == trees[0] else f"{tree}-{name}"
            ROWS[key] = (function, title if tree == trees[0] else f"{tree}: {title}", memory, disk, tree)
        return function

    return register


BOTH = ("pandas", "sympy")


class Bench(table.Bench):
    def __init__(self, options):
        super().__init__(options)
        self.driver, self.large, self.many = options.driver, options.large << 20, options.many
        self.trees, self.known = {}, {}
        wanted = [ROWS[name] for name in options.rows]
        self.lab = Lab(options.lab, f"{self.folder}/lab", max(row[2] for row in wanted), max(row[3] for row in wanted))
        os.makedirs(f"{self.folder}/trees", exist_ok=True)

    def tree(self, name):
        if name not in self.trees:
            folder = f"{self.folder}/trees"
            if name == "many":
                self.trees[name] = sync_trees.many(folder, self.many)
            elif name == "large":
                self.trees[name] = sync_trees.large(folder, self.large)
            else:
                self.trees[name] = sync_trees.package(name, folder)
        return self.trees[name]

    def run(self, name):
        function, self.title, _, _, tree = ROWS[name]
        self.row = name
        print(f"== {name}: {self.title}", file=sys.stderr, flush=True)
        function(self, self.tree(tree))

    def finish(self, *works):
        for work in works:
            work.stop()

    def bytes(self, what, count, limit, of=None):
        """At most `limit` bytes, or at most that share of `of` bytes."""
        if of is None:
            self.line(what, show_size(count), "", show_size(limit), count / limit, 1)
        else:
            self.line(what, show_size(count), "of", show_size(of), count / of, limit)


def wire(sample):
    return sample.out + sample.back


# ---- one host ----
def unchanged_on(b, tree, host):
    works = Open(b, tree, [host]), Rsync(b, tree, [host]), Rsync(b, tree, [host], multiplexed=True)
    ours, rsync, mux = b.measure(*works)
    b.finish(*works)
    b.known["unchanged"] = median(ours)
    b.against(ours, works[1], rsync, 0.03)
    b.against(ours, works[2], mux, 0.15)
    b.bytes("  bytes of TCP, both ways", median(ours, wire), 1024)
    b.line("  bytes on the cable, with headers", show_size(median(ours, lambda s: s.cable)), works[2].name,
           show_size(median(mux, lambda s: s.cable)))


@row("unchanged", "unchanged, connection open", trees=BOTH)
def unchanged(b, tree):
    unchanged_on(b, tree, b.lab.memory[0])


@row("unchanged-disk", "unchanged, connection open, disk", disk=1)
def unchanged_disk(b, tree):
    unchanged_on(b, tree, b.lab.disk[0])


@row("unchanged-new", "unchanged, new connection, whole command", trees=BOTH)
def unchanged_new(b, tree):
    works = Once(b, tree, b.lab.memory[:1]), Rsync(b, tree, b.lab.memory[:1])
    ours, rsync = b.measure(*works)
    b.finish(*works)
    b.against(ours, works[1], rsync, 0.15)


def edits_on(b, tree, host):
    works = (Open(b, tree, [host], tree.edit), Rsync(b, tree, [host], before=tree.edit),
             Rsync(b, tree, [host], multiplexed=True, before=tree.edit))
    ours, rsync, mux = b.measure(*works)
    b.finish(*works)
    b.known["edits"] = median(ours)
    b.against(ours, works[1], rsync, 0.06)
    b.against(ours, works[2], mux, 0.25)
    b.bytes("  bytes sent, of those of zstd -3", median(ours, lambda s: s.out), 1.1, tree.packed_three())


@row("edits", "three files edited, connection open", trees=BOTH)
def edits(b, tree):
    edits_on(b, tree, b.lab.memory[0])


@row("edits-disk", "three files edited, connection open, disk", disk=1)
def edits_disk(b, tree):
    edits_on(b, tree, b.lab.disk[0])


@row("cold", "cold, memory target", trees=BOTH)
def cold(b, tree):
    hosts = b.lab.memory[:1]
    works = Once(b, tree, hosts, cold="host"), Tar(b, tree, hosts), Tar(b, tree, hosts, options=TUNED), Once(b, tree, hosts, cold="hashes")
    ours, tar, tuned, unhashed = b.measure(*works)
    b.finish(*works)
    b.against(ours, works[1], tar, 0.80)
    b.against(ours, works[2], tuned, 1.15)
    b.against(unhashed, works[1], tar, what="  and nothing is hashed here either")


@row("cold-disk", "cold, disk target", disk=1, trees=BOTH)
def cold_disk(b, tree):
    works = Once(b, tree, b.lab.disk[:1], cold="host"), Tar(b, tree, b.lab.disk[:1])
    ours, tar = b.measure(*works)
    b.finish(*works)
    b.against(ours, works[1], tar, 1.10)


@row("branch", "branch switched back, 300 files differ", memory=2, trees=BOTH)
def branch(b, tree):
    opened, once, tar = Open(b, tree, b.lab.memory[:1]), Once(b, tree, b.lab.memory[1:2]), Tar(b, tree, b.lab.memory[:1])

    def there_and_back(work):
        tree.switch(True)
        work.run()
        b.lab.wait_empty(once.hosts)
        tree.switch(False)

    opened.before, once.before = (lambda: there_and_back(opened)), (lambda: there_and_back(once))
    ours, whole, theirs = b.measure(opened, once, tar)
    b.finish(opened, once, tar)
    b.against(ours, tar, theirs, 0.15, what="branch switched back, connection open")
    b.against(whole, tar, theirs, 0.15, what="branch switched back, whole command")
    files = max(host.get("files_received", 300) for sample in ours for host in sample.told["hosts"])
    b.line("  files that were sent, at most", str(files), ratio=files, goal=0)
    b.line("  bytes of TCP sent", show_size(median(ours, lambda s: s.out)))


# ---- eight hosts ----
def eight_warm(b, tree, before):
    hosts = b.lab.memory[:EIGHT]
    works = Once(b, tree, hosts, before), Rsync(b, tree, hosts, before=before)
    ours, rsync = b.measure(*works)
    b.finish(*works)
    b.against(ours, works[1], rsync, 0.25)
    works = Open(b, tree, hosts, before), Rsync(b, tree, hosts, before=before)
    ours, rsync = b.measure(*works)
    b.finish(*works)
    b.against(ours, works[1], rsync, 0.25, what="  connections open")


@row("eight-unchanged", "eight hosts unchanged, whole command", memory=EIGHT)
def eight_unchanged(b, tree):
    eight_warm(b, tree, None)


@row("eight-edits", "eight hosts, three files edited, whole command", memory=EIGHT)
def eight_edits(b, tree):
    eight_warm(b, tree, tree.edit)


@row("eight-cold", "eight hosts cold", memory=EIGHT)
def eight_cold(b, tree):
    hosts = b.lab.memory[:EIGHT]
    works = Once(b, tree, hosts, cold="host"), Tar(b, tree, hosts), Rsync(b, tree, hosts, cold=True)
    ours, tar, rsync = b.measure(*works)
    b.finish(*works)
    b.against(ours, works[1], tar, 0.85)
    b.against(ours, works[2], rsync, 0.70)
    for work, theirs in (works[1], tar), (works[2], rsync):
        b.against(ours, work, theirs, 0.35, what="  CPU of the master", value=lambda s: s.cpu)


# ---- far and slow ----
def far(b, tree, before, goal, known):
    hosts = [b.lab.memory[0] + "-far"]
    b.lab.call("far", b.lab.memory[0], str(FAR_MS))
    works = Open(b, tree, hosts, before), Rsync(b, tree, hosts, multiplexed=True, before=before)
    ours, mux = b.measure(*works)
    b.finish(*works)
    b.lab.call("far", b.lab.memory[0], "0")
    b.against(ours, works[1], mux, goal)
    if known in b.known:
        trips = (median(ours) - b.known[known]) * 1000 / FAR_MS
        b.line("  round trips", f"{trips:.2f}")


@row("far-unchanged", f"{FAR_MS} ms round trip, unchanged")
def far_unchanged(b, tree):
    far(b, tree, None, 0.15, "unchanged")


@row("far-edits", f"{FAR_MS} ms round trip, three files edited")
def far_edits(b, tree):
    far(b, tree, tree.edit, 0.20, "edits")


@row("slow-cold", f"{SLOW[:-4]} Mbit/s link, cold")
def slow_cold(b, tree):
    hosts = b.lab.memory[:1]
    works = Once(b, tree, hosts, cold="host"), Tar(b, tree, hosts, packed=True)
    for work in works:  # programs travel before the link is slow
        work.start()
    b.lab.call("slow", hosts[0], SLOW)
    ours, packed = b.measure(*works, started=True)
    b.lab.call("mend", hosts[0])
    b.finish(*works)
    b.against(ours, works[1], packed, 1.03)
    b.line("  bytes on the cable, with headers", show_size(median(ours, lambda s: s.cable)), works[1].name,
           show_size(median(packed, lambda s: s.cable)), median(ours, lambda s: s.cable) / median(packed, lambda s: s.cable))


@row("connect", "connect, authenticate, agent ready")
def connect(b, tree):
    works = Connect(b, tree, b.lab.memory[:1]), SshTrue(b, tree, b.lab.memory[:1])
    ours, ssh = b.measure(*works)
    b.finish(*works)
    b.against(ours, works[1], ssh, 0.30)


# ---- large trees ----
@row("many", f"{MANY} files unchanged", trees=("many",))
def many(b, tree):
    host = b.lab.memory[0]
    works = Once(b, tree, [host]), Rsync(b, tree, [host])
    ours, rsync = b.measure(*works)
    b.finish(*works)
    b.against(ours, works[1], rsync, 0.5, what=f"{tree.count} files unchanged, whole command")
    works = Open(b, tree, [host]), Rsync(b, tree, [host], multiplexed=True)
    ours, rsync = b.measure(*works, rounds=max(1, b.rounds // 2))
    b.finish(*works)
    b.against(ours, works[1], rsync, 0.5, what=f"{tree.count} files unchanged, connection open")
    for what in "unchanged", "cold":
        fresh = Open(b, tree, [host])
        if what == "cold":
            fresh.forget(True)
        fresh.start(syncs=1)
        memory(b, what, host, fresh.told["peak_kib"])
        b.finish(fresh)


def memory(b, what, host, master_kib):
    peaks = [kib * 1024 for _, kib in b.lab.peaks_kib(host)]
    b.line(f"  peak memory of the master, {what}", show_size(master_kib * 1024))
    b.line(f"  of the largest of an agent's processes, {what}", show_size(max(peaks)), f"all {len(peaks)} together", show_size(sum(peaks)))


@row("large", "one byte inserted at the front of a large file", trees=("large",))
def large(b, tree):
    host = b.lab.memory[0]
    work, rsync = Open(b, tree, [host]), Rsync(b, tree, [host], multiplexed=True)
    work.forget(True)
    work.start()
    rsync.start()
    tree.insert_byte()
    ours = b.gate.sample(work, once=True)
    work.check()
    theirs = b.gate.sample(rsync, once=True)
    memory(b, "large file", host, ours.peak_kib)
    b.finish(work, rsync)
    b.against([ours], rsync, [theirs], what=f"{show_size(tree.size)} in one file, one byte inserted")
    b.bytes("  bytes sent, of the file's", ours.out, 0.02, tree.size)


# ---- the table ----
def versions():
    first = lambda *words: subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.splitlines()[0]
    return ", ".join([" ".join(first("rsync", "--version").split()[:3]), first("ssh", "-V").split(",")[0], " ".join(first("tar", "--version").split()[:4])])


def file_system(path):
    return subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", path], stdout=subprocess.PIPE, text=True).stdout.strip()


def report(b):
    print(f"{versions()}; disk: {file_system(b.folder)}; medians of {b.rounds} rounds, ratios are medians of the rounds' ratios")
    print("; ".join(tree.describe() for tree in b.trees.values()))
    print("whole command: `ptremote --sync-only` from its start to its end, over new connections, in cold and slow rows too; open: from "
          "the word to the last host's answer")
    print(b.account())
    print(b.table())


def main(options):
    b = Bench(options)
    broken = None
    try:
        for name in options.rows:
            b.run(name)
    except (Broken, sync_trees.Wrong, subprocess.CalledProcessError) as error:
        broken = f"sync: {b.row}: {error}"
    report(b)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(b.samples, f, indent=1)
    sys.exit(broken)
