# SPDX-License-Identifier: Apache-2.0
"""A place to have conversations in: namespaces of mounts and processes of their own, and a file system where whatever is written, anywhere, is seen.

The machine's / lies below an overlay whose upper folder has all that was written since, so nobody needs to guess where a program might write. The place
is made once, as a template; each job has a layer of its own above it."""
import contextlib
import ctypes
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

ROOT = "/c"  # all that a conversation uses
PROJECT, CACHE, LOGS, DOOR = ROOT + "/project", ROOT + "/cache", ROOT + "/logs", ROOT + "/door"
EMPTY = [ROOT + "/tmp", ROOT + "/run", "/tmp", "/var/tmp", "/dev/shm"]  # may be written to, and have to be empty at the end
OURS_HERE = ROOT + "/home/.cache/ptremote"  # the Python package, for the collector
WRITTEN = EMPTY + [PROJECT + "/.ptremote", PROJECT + "/.pytest_cache", OURS_HERE, CACHE, LOGS]
there = set()  # in the folders of EMPTY, from the start
SUITE = {"test_one.py": "def test_a():\n    pass\n\n\ndef test_b():\n    print('words')\n", "test_two.py": "import os\n\n\ndef test_c():\n    assert os.sep == '/'\n",
         "data/file.txt": "x" * 3000, "data/empty": "", "conftest.py": ""}
CANARIES = ["beside/file", "beside/.ssh/authorized_keys", "home/.profile", "home/.ssh/known_hosts", "home/.cache/other/file"]


def mount(*words):
    subprocess.run(("mount",) + words, check=True)


def write(path, content, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(content)
    os.chmod(path, mode)


def enter(scratch, name, visible):
    """This process, which is the first of its namespaces, sees the machine with a layer above; -> descriptor of what is written there. visible: folders
    that are there in any case, though they are mounts of their own."""
    base = "%s/%s" % (scratch, name)
    for folder in ("upper", "work", "root"):
        os.makedirs("%s/%s" % (base, folder))
    root, below = base + "/root", "/" if name == "made" else scratch + "/made/upper:/"
    try:
        mount("-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s/upper,workdir=%s/work" % (below, base, base), root)
    except subprocess.CalledProcessError:
        print("conversations: no overlay file system can be mounted here", file=sys.stderr)
        sys.exit(77)
    mount("--rbind", "/dev", root + "/dev")
    for folder in EMPTY[2:]:
        mount("-t", "tmpfs", "tmpfs", root + folder)
    mount("-t", "proc", "proc", root + "/proc")
    mount("--rbind", "/sys", root + "/sys")
    for folder in visible:
        os.makedirs(root + folder, exist_ok=True)
        mount("--bind", "-o", "ro", folder, root + folder)
    there.update("%s/%s" % (folder, name) for folder in EMPTY[2:] for name in os.listdir(root + folder))
    upper = os.open(base + "/upper", os.O_RDONLY | os.O_DIRECTORY)
    os.chroot(root)
    os.chdir("/")
    return upper


def furnish():
    for path, content in SUITE.items():
        write("%s/%s" % (PROJECT, path), content)
    for path in CANARIES:
        write("%s/%s" % (ROOT, path), "stays as it is\n", 0o600)
    for path in EMPTY[:2] + [LOGS, OURS_HERE, PROJECT + "/.pytest_cache"]:
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o700)


def environment():
    """Nothing of whoever starts this reaches the programs."""
    asan = "detect_leaks=1:allocator_may_return_null=1:handle_abort=1:max_allocation_size_mb=300:log_path=%s/sanitizer" % LOGS
    return {"HOME": ROOT + "/home", "TMPDIR": ROOT + "/tmp", "XDG_RUNTIME_DIR": ROOT + "/run", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "LC_ALL": "C.UTF-8", "USER": "root", "GIT_CONFIG_GLOBAL": "/dev/null", "PYTHONDONTWRITEBYTECODE": "1", "ASAN_OPTIONS": asan,
            "UBSAN_OPTIONS": "print_stacktrace=1:log_path=%s/sanitizer" % LOGS}


class Shot:
    """What was written so far."""

    def __init__(self, upper):
        self.found = {}
        self.look("/proc/self/fd/%d" % upper, "")

    def look(self, base, path):
        for entry in os.scandir(base + path):
            where = "%s/%s" % (path, entry.name)
            if where in WRITTEN:
                continue
            st = entry.stat(follow_symlinks=False)
            folder = stat.S_ISDIR(st.st_mode)
            if not folder or not any(other.startswith(where + "/") for other in WRITTEN):
                self.found[where] = (st.st_mode, st.st_uid, st.st_size, st.st_mtime_ns)
            if folder:
                self.look(base, where)

    def other_than(self, before):
        names = sorted(set(self.found) | set(before.found))
        return [name for name in names if self.found.get(name) != before.found.get(name)]


def processes():
    """-> {pid: words} of all others here that live."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            with open("/proc/%s/stat" % name) as f:
                if f.read().rpartition(")")[2].split()[0] == "Z":
                    continue
            with open("/proc/%s/cmdline" % name, "rb") as f:
                found[int(name)] = f.read().replace(b"\0", b" ").decode("utf-8", "replace")[:200]
    return found


def reap(but=()):
    """Whoever has nobody else; those in `but` are waited for elsewhere."""
    while True:
        try:
            got = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if not got or got.si_pid in but:
            return
        os.waitpid(got.si_pid, 0)


def left(patience):
    """Processes that stay; they are ended."""
    until = time.monotonic() + patience
    reap()
    while (found := processes()) and time.monotonic() < until:
        time.sleep(0.005)
        reap()
    while processes():
        for pid in processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        reap()
    return sorted(found.values())


def litter():
    """What is in the folders of EMPTY."""
    found = ["%s/%s" % (folder, name) for folder in EMPTY for name in os.listdir(folder) if name != "ptremote-share"]
    return [path for path in found if path not in there]


def clear(keep):
    """As before; of the cache, the folders in `keep` stay."""
    for path in litter():
        remove(path)
    for folder in [LOGS, ROOT + "/run", PROJECT + "/.ptremote"]:
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            remove("%s/%s" % (folder, name))
    for name in os.listdir(CACHE) if os.path.isdir(CACHE) else []:
        if name not in keep:
            remove("%s/%s" % (CACHE, name))


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
