# SPDX-License-Identifier: Apache-2.0
"""Where lines of log_cli go: to the process's stdout, as it is the file that is brought back."""
import harness
import pytest

FILES = {
    "pytest.ini": "[pytest]\nlog_cli = true\nlog_cli_level = INFO\n",
    "test_a.py": "import logging\nlog = logging.getLogger('mine')\n"
    "def test_x():\n    print('captured')\n    log.info('one \u20ac')\n    log.debug('too low')\n    log.warning('two')\n"
    "def test_y():\n    assert 0\n",
}


@pytest.mark.usefixtures("isolate")
@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_live_log_and_nothing_else_of_the_terminal(tmp_path, tree, capture):
    result = harness.compare(tmp_path, FILES, "--capture=" + capture, tree=tree)
    lines = [line for line in result.output.splitlines() if line]
    assert [line for line in lines if "live log" in line] == ["-------- live log call --------"], lines
    assert [line.split()[0] for line in lines if "test_a.py:" in line] == ["INFO", "WARNING"], lines
    assert any("one \u20ac" in line for line in lines)
    assert ("captured" in lines) == (capture == "no")
    assert len(lines) == 3 + (capture == "no"), lines


def test_no_live_log_unless_it_is_asked_for(tmp_path, tree):
    files = dict(FILES, **{"pytest.ini": "[pytest]\n"})
    assert harness.compare(tmp_path, files, tree=tree).output.strip() == ""


def test_log_file(tmp_path, tree):
    files = dict(FILES, **{"pytest.ini": "[pytest]\nlog_file = out.log\nlog_file_level = INFO\n"})
    result = harness.compare(tmp_path, files, tree=tree)
    assert "two" in (tmp_path / "there" / "out.log").read_text(encoding="utf-8")
    assert result.output.strip() == ""
