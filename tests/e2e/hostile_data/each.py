# SPDX-License-Identifier: Apache-2.0
"""each.py STATUS,... CMD...: CMD once for each hostile string that can be an argument, in place of {}; where {all} stands, once with
all in one. Wants one of these exit statuses, and words that are safe to print."""
import subprocess
import sys

import table

wanted, command = [int(status) for status in sys.argv[1].split(",")], [part.encode() for part in sys.argv[2:]]
strings = {name: data for name, data in table.read().items() if b"\0" not in data}
everything = b"".join(strings.values())
bad = 0
for name, data in strings.items() if b"{}" in b"".join(command) else [("all", b"")]:
    args = [part.replace(b"{}", data).replace(b"{all}", everything) for part in command]
    done = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True)
    said = done.stdout + done.stderr
    try:
        raw = table.HIDDEN.findall(said.decode("utf-8"))
    except UnicodeDecodeError as error:
        raw = [str(error)]
    if done.returncode not in wanted or raw or not said:
        print("%s: exit status %d, raw %r, said %r" % (name, done.returncode, raw[:3], said[:300]))
        bad = 1
sys.exit(bad)
