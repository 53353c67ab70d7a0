# SPDX-License-Identifier: Apache-2.0
"""Programs that do what must not be, in place of the real ones: each has to be told, in such words."""
import os

import place
from cases import BIN, Case

CONTROLS = {
    "crashes": ("master", "kill -SEGV $$", "ended by signal 11"),
    "status": ("master", "echo 'ptremote: words enough'; exit 3", "exit status 3"),
    "hangs": ("master", "trap '' INT; exec sleep 100", "hangs"),
    "changes a file": ("master", "echo x >>/c/beside/file", "written outside: /c/beside/file"),
    "removes a file": ("master", "rm /c/home/.profile", "written outside: /c/home/.profile"),
    "makes a file": ("master", "echo x >/etc/ptremote-was-here", "written outside: /etc/ptremote-was-here"),
    "leaves a process": ("master", "setsid sleep 100 >/dev/null 2>&1 &", "left behind: process sleep"),
    "leaves a file": ("master", "echo x >/var/tmp/x", "left behind: /var/tmp/x"),
    "says nothing": ("master", "exit 6", "no line says why"),
    "says progress only": ("master", "echo 'local: connecting'; exit 6", "no line says why"),
    "escapes": ("master", "printf 'ptremote: \\033[2J words\\n'; exit 6", "control characters"),
    "says too much": ("master", "yes 'ptremote: words' | head -c 1200000; exit 6", "says more than"),
    "breaks inside": ("master", "echo 'ERROR: AddressSanitizer: words' >%s/sanitizer.1" % place.LOGS, "sanitizer: ERROR"),
    "agent crashes": ("agent", "echo PTREMOTE-AGENT 1; kill -ABRT $$", "ended by signal 6"),
    "agent hangs": ("agent", "echo PTREMOTE-AGENT 1; exec sleep 100", "hangs"),
    "agent says FAIL": ("agent", "printf 'PTREMOTE-AGENT 1\\n\\2\\0\\0\\0\\0\\0\\0\\0\\20\\0\\0\\0\\14I\\1\\0\\0\\0\\2a\\n\\0\\0\\0\\0'; cat >/dev/null", "FAIL is not one clear line"),
}


def had(lab, name, variant):
    """-> what is wrong with the check of that name."""
    target, script, words = CONTROLS[name]
    case = Case(1, lab.recorded, target, variant)
    case.plan, case.control, case.deadline, case.patience = None, BIN + "/control", 3, 1
    place.write(case.control, "#!/bin/sh\n%s\n" % script, 0o700)
    try:
        lab.have(case)
    finally:
        for path in ("/etc/ptremote-was-here", case.control):
            if os.path.exists(path):
                os.unlink(path)
        place.furnish()
    return [] if any(words in wrong for wrong in case.wrong) else ["%s: not told; but %s" % (name, case.wrong)]
