# SPDX-License-Identifier: Apache-2.0
import pytest
from hostile import TEXTS


def pytest_configure():
    raise pytest.UsageError(*TEXTS.values())
