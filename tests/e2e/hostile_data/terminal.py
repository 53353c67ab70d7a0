# SPDX-License-Identifier: Apache-2.0
"""terminal.py run FILE CMD...: CMD at a terminal of its own, and what came there into FILE.
terminal.py check FILE...: nothing in them that a terminal obeys, but for our own colours and the line that is drawn anew."""
import fcntl
import os
import pty
import re
import struct
import sys
import termios

import table

OURS = re.compile(r"\x1b\[[0-9]{1,2}m|\r\x1b\[K|\r\n")


def run(path, command):
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        os.execvp(command[0], command)
    with open(path, "wb") as out:
        while True:
            try:
                data = os.read(master, 1 << 16)
            except OSError:  # nobody has the other end any more
                break
            if not data:
                break
            out.write(data)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def check(path):
    with open(path, "rb") as said:
        data = said.read()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        print("%s: %s: %r" % (path, error, data[max(0, error.start - 60) : error.end + 20]))
        return False
    bare = OURS.sub("", text)
    found = table.HIDDEN.search(bare)
    if found:
        at = found.start()
        print("%s: a raw U+%04X: %r" % (path, ord(bare[at]), bare[max(0, at - 60) : at + 20]))
        return False
    if not bare:
        print("%s: nothing was said" % path)
    return bool(bare)


if sys.argv[1] == "run":
    sys.exit(run(sys.argv[2], sys.argv[3:]))
sys.exit(not all([check(path) for path in sys.argv[2:]]))
