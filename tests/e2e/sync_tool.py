# SPDX-License-Identifier: Apache-2.0
"""What the tests of interrupted syncs need: trees that change wholly, kills at a number of bytes, exact comparison.

    edit TREE SEED FILES      FILES of its files get other bytes, some another mode; FILES 0 makes the tree
    same TREE WORKSPACE       byte for byte, mode for mode, link for link
    whole OLD NEW WORKSPACE   every file is one of OLD or one of NEW
    kill COUNTER BYTES HOST_PID VICTIM MASTER_PID
                              once COUNTER (a file) has grown by BYTES, or what lies in COUNTER (a folder) takes so many:
                              kill -9 VICTIM (receiver, agent, all, master)
"""
import json
import os
import random
import signal
import stat
import sys
import time

FILES = 120
LARGE = 9 << 20


def listed(root):
    out = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in (".ptremote", ".pytest_cache")]
        for name in folders + files:
            path = os.path.join(folder, name)
            out[os.path.relpath(path, root)] = os.lstat(path)
    return out


def content(path):
    with open(path, "rb") as file:
        return file.read()


def data_files(root):
    return sorted(os.path.join(root, path) for path, st in listed(os.path.join(root, "data")).items() if stat.S_ISREG(st.st_mode)
                  for path in ["data/" + path])


def write_sums(root):
    import hashlib
    sums = {os.path.relpath(path, root): hashlib.sha1(content(path)).hexdigest() for path in data_files(root)}
    with open(os.path.join(root, "sums.json"), "w") as file:
        json.dump(sums, file)


def make(root, chance):
    for n in range(FILES):
        folder = os.path.join(root, "data", "d%d" % (n % 7))
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "f%d" % n), "wb") as file:
            file.write(chance.randbytes(chance.randrange(60000)))
    os.symlink("d1/f1", os.path.join(root, "data", "link"))
    os.mkdir(os.path.join(root, "data", "empty"))


def edit(root, seed, files):
    chance = random.Random(int(seed))
    if files == "0":
        make(root, chance)
    everything = data_files(root)
    for path in chance.sample(everything, min(int(files), len(everything))):
        size = os.path.getsize(path) if chance.random() < 0.5 else chance.randrange(60000)
        with open(path, "wb") as file:
            file.write(chance.randbytes(size))
        os.chmod(path, chance.choice([0o644, 0o755, 0o600]))
    if int(files) > 10:
        gone = chance.choice(data_files(root))
        os.rename(gone, gone + ".moved")
        link = os.path.join(root, "data", "link")
        os.unlink(link)
        os.symlink("d%d" % chance.randrange(7), link)
    write_sums(root)


def same(tree, workspace):
    want, got = listed(tree), listed(workspace)
    bad = ["%s is missing" % path for path in want if path not in got]
    bad += ["%s should not be there" % path for path in got if path not in want]
    for path in set(want) & set(got):
        a, b = os.path.join(tree, path), os.path.join(workspace, path)
        if stat.S_ISLNK(want[path].st_mode):
            alike = stat.S_ISLNK(got[path].st_mode) and os.readlink(a) == os.readlink(b)
        else:
            alike = want[path].st_mode == got[path].st_mode
            if alike and stat.S_ISREG(want[path].st_mode):
                alike = content(a) == content(b)
        if not alike:
            bad.append("%s differs" % path)
    return bad


def whole(old, new, workspace):
    bad = []
    for path, st in listed(workspace).items():
        if not stat.S_ISREG(st.st_mode):
            continue
        now = content(os.path.join(workspace, path))
        versions = [os.path.join(root, path) for root in (old, new)]
        if not any(os.path.isfile(v) and content(v) == now for v in versions):
            bad.append("%s (%d bytes) is neither old nor new" % (path, len(now)))
    return bad


def host_processes(first):
    """[(pid, title)] of our programs on the host whose process 1 is `first`."""
    net = os.stat("/proc/%s/ns/net" % first).st_ino
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat("/proc/%s/ns/net" % pid).st_ino != net:
                continue
            words = content("/proc/%s/cmdline" % pid).replace(b"\0", b" ").split()  # its title is one word with a blank
        except OSError:
            continue
        if words and words[0].endswith(b"ptremote-agent"):
            out.append((int(pid), words[1] if len(words) > 1 else b""))
    return out


def victims(first, kind, master):
    if kind == "master":
        return [int(master)]
    ours = host_processes(first)
    titles = {"agent": b"agent", "receiver": b"tree"}
    return [pid for pid, title in ours if kind not in titles or title == titles[kind]]


def ended(pid):
    try:
        return content("/proc/%s/stat" % pid).rsplit(b")", 1)[1].split()[0] == b"Z"
    except OSError:
        return True


def count(counter):
    if not os.path.isdir(counter):
        return int(content(counter))
    taken = 0
    for entry in os.scandir(counter):
        try:
            taken += entry.stat().st_size
        except FileNotFoundError:
            pass
    return taken


def kill(counter, size, first, kind, master):
    """Prints how many bytes had come, and how many processes were killed; "late" when the master had ended by itself."""
    start = 0 if os.path.isdir(counter) else count(counter)
    while True:
        come = count(counter) - start
        if come >= int(size):
            break
        if ended(master):
            print("late")
            return []
        time.sleep(0.0005)
    doomed, killed = victims(first, kind, master), 0
    for number in (signal.SIGSTOP, signal.SIGKILL):  # all at once: who outlives another cleans up after it
        killed = 0
        for pid in doomed:
            try:
                os.kill(pid, number)
                killed += 1
            except ProcessLookupError:
                pass
    print(come, killed)
    return []


if __name__ == "__main__":
    trouble = globals()[sys.argv[1]](*sys.argv[2:])
    print("\n".join((trouble or [])[:10]), end="")
    sys.exit(bool(trouble))
