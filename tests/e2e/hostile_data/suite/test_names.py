# SPDX-License-Identifier: Apache-2.0
"""Names of which plain pytest makes no XML."""
import pytest
from hostile import TEXTS


@pytest.mark.parametrize("name", TEXTS)
def test_property(name, record_property, record_testsuite_property):
    record_property(TEXTS[name], name)
    record_testsuite_property(TEXTS[name], TEXTS[name])


@pytest.mark.filterwarnings("ignore::pytest.PytestExperimentalApiWarning")
@pytest.mark.parametrize("name", TEXTS)
def test_attribute(name, record_xml_attribute):
    record_xml_attribute(TEXTS[name], TEXTS[name])
