# SPDX-License-Identifier: Apache-2.0
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "hostile.json"), encoding="ascii") as found:
    TABLE = {name: bytes.fromhex(data) for name, data in json.load(found).items()}
TEXTS = {name: data.decode("utf-8", "surrogateescape") for name, data in TABLE.items()}
NAMES = {name: data.replace(b"/", b"|").replace(b"\0", b"") for name, data in TABLE.items()}
LONG = "long " + "x" * (1 << 20)
