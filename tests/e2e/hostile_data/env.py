# SPDX-License-Identifier: Apache-2.0
"""env.py PTREMOTE ARGS...: ptremote with an --env for each hostile string. env.py -- CMD...: CMD with them in its environment."""
import os
import sys

import table

given = {b"HOSTILE_" + name.encode(): data for name, data in table.read().items() if b"\0" not in data}
program, *args = map(os.fsencode, sys.argv[1:])
if program == b"--":
    os.environb.update(given)
    os.execvp(args[0], args)
os.execvp(program, [program] + [b"--env=%s=%s" % pair for pair in given.items()] + args)
