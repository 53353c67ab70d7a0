# SPDX-License-Identifier: Apache-2.0
import os
import time

from hostile import TABLE


def test_waits():
    os.write(1, b"\n".join(TABLE.values()) + b"\n")
    end = time.monotonic() + 100
    while not os.path.exists(os.environ["HOSTILE_GO"]) and time.monotonic() < end:
        time.sleep(0.02)
