# SPDX-License-Identifier: Apache-2.0
"""`pytest_parallel.mark`. PYTEST_DONT_REWRITE"""
from ptremote.marks import MARKS

parallel = MARKS.parallel
parallel_from_context = MARKS.parallel_from_context
