# SPDX-License-Identifier: Apache-2.0
"""The trees that are sent, how they are edited, and whether what arrived is the same."""
import os
import random
import shutil
import stat
import subprocess

PACKAGES = "/usr/lib/python3/dist-packages"


class Wrong(Exception):
    """What arrived is not what was sent."""


def package(name, folder):
    """An installed package with its compiled files; these lie in pycache__, for nobody's rules leave that out."""
    path = f"{folder}/{name}"
    shutil.copytree(f"{PACKAGES}/{name}", path, symlinks=True)
    for at, folders, _ in os.walk(path, topdown=False):
        if "__pycache__" in folders:
            os.rename(f"{at}/__pycache__", f"{at}/pycache__")
    return Tree(path)


def many(folder, count):
    """Small files, a hundred a folder."""
    path = f"{folder}/many"
    for number in range(count):
        if number % 100 == 0:
            at = f"{path}/d{number // 10000:02}/e{number // 100 % 100:02}"
            os.makedirs(at)
        with open(f"{at}/test_{number:06}.py", "w") as f:
            f.write(f"def test_{number}():\n    assert {number} == {number}\n" * (1 + number % 5))
    return Tree(path)


def large(folder, size):
    """One file that nothing can be packed of."""
    path = f"{folder}/large"
    os.makedirs(path)
    rng = random.Random(size)
    with open(f"{path}/data.bin", "wb") as f:
        for _ in range(size >> 20):
            f.write(rng.randbytes(1 << 20))
    return Tree(path)


class Tree:
    def __init__(self, path):
        self.path = path
        files = [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]
        self.count, self.size = len(files), sum(os.lstat(name).st_size for name in files)
        source = sorted((name for name in files if name.endswith(".py")), key=lambda name: (-os.path.getsize(name), name))
        self.three = [source[len(source) * part // 100] for part in (5, 10, 20)] if len(source) >= 20 else files[:3]
        self.branch = source[:: max(1, len(source) // 300)][:300]
        self.kept = {name: open(name, "rb").read() for name in {*self.three, *self.branch}}
        self.edits = 0

    def describe(self):
        return f"{os.path.basename(self.path)}: {self.count} files, {self.size / 1e6:.1f} MB"

    def edit(self):
        """Three files differ from all they ever were, in size too: rsync sees no second edit within a second."""
        self.edits += 1
        for name in self.three:
            with open(name, "wb") as f:
                f.write(self.kept[name] + b"# edit %s%s\n" % (os.urandom(16).hex().encode(), b"#" * (self.edits % 64)))

    def switch(self, there):
        """As a checkout does: 300 files are removed and written, to another branch or back."""
        for name in self.branch:
            os.unlink(name)
            with open(name, "wb") as f:
                f.write(b"# another branch\n" + self.kept[name] if there else self.kept[name])

    def insert_byte(self):
        """One byte more at the front of every file."""
        for at, _, names in os.walk(self.path):
            for name in names:
                with open(f"{at}/{name}", "rb") as f, open(f"{at}/.new", "wb") as new:
                    new.write(b"+")
                    shutil.copyfileobj(f, new, 1 << 20)
                os.rename(f"{at}/.new", f"{at}/{name}")

    def packed_three(self):
        """Bytes of the three files through zstd -3, all in one."""
        data = b"".join(open(name, "rb").read() for name in self.three)
        return len(subprocess.run(["zstd", "-3", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout)

    def compare(self, other):
        """Paths, kinds, modes, links, contents; raises Wrong."""
        compare(self.path, other, "")


def compare(here, there, below):
    ours = {e.name: e for e in os.scandir(f"{here}/{below}")}
    theirs = {e.name: e for e in os.scandir(f"{there}/{below}")}
    ours.pop(".ptremote", None)
    if ours.keys() != theirs.keys():
        raise Wrong(f"{below or 'the top'}: {sorted(ours.keys() ^ theirs.keys())[:5]} are here or there only")
    for name, entry in ours.items():
        path = f"{below}/{name}" if below else name
        a, b = entry.stat(follow_symlinks=False), theirs[name].stat(follow_symlinks=False)
        if (a.st_mode, a.st_size if stat.S_ISREG(a.st_mode) else 0) != (b.st_mode, b.st_size if stat.S_ISREG(b.st_mode) else 0):
            raise Wrong(f"{path}: mode {a.st_mode:o} and {a.st_size} bytes here, {b.st_mode:o} and {b.st_size} there")
        if entry.is_symlink():
            if os.readlink(f"{here}/{path}") != os.readlink(f"{there}/{path}"):
                raise Wrong(f"{path}: another target")
        elif entry.is_dir():
            compare(here, there, path)
        elif not same_content(f"{here}/{path}", f"{there}/{path}"):
            raise Wrong(f"{path}: other content")


def same_content(a, b):
    with open(a, "rb") as f, open(b, "rb") as g:
        while True:
            data = f.read(1 << 20)
            if data != g.read(1 << 20):
                return False
            if not data:
                return True
