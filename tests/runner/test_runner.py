# SPDX-License-Identifier: Apache-2.0
import harness


def test_first(tmp_path):
    files = {"test_a.py": "def test_1(): pass\ndef test_2(): assert 0\nimport pytest\n@pytest.fixture\ndef bad():\n    yield\n    assert 0\ndef test_3(bad): print('hi')\ndef test_4(bad): assert 0\n@pytest.mark.xfail\ndef test_5(): assert 0\n@pytest.mark.xfail\ndef test_6(): pass\ndef test_7(): pytest.skip('no')\n"}
    result = harness.compare(tmp_path, files)
    print(result.reports)
