# SPDX-License-Identifier: Apache-2.0
import json
import os
import sys

import pytest

from motion import units


def test_path_survives_a_file(tmp_path, year):
    file = tmp_path / "year.json"
    file.write_text(json.dumps([[z.real, z.imag] for z, _ in year[:10]]))
    assert [complex(*pair) for pair in json.loads(file.read_text())] == [z for z, _ in year[:10]]


def test_prints_units(capsys):
    print(units.show(units.parse("1500 m")))
    assert capsys.readouterr().out == "1.5 km\n"


def test_reads_the_environment(monkeypatch):
    monkeypatch.setenv("MOTION_STEP", "5 cm")
    assert units.parse(os.environ["MOTION_STEP"]) == pytest.approx(0.05)


@pytest.mark.skipif(sys.platform != "win32", reason="paths with a drive letter are Windows' own")
def test_drive_letters():
    assert os.path.splitdrive("C:\\year.json")[0] == "C:"
