# SPDX-License-Identifier: Apache-2.0
"""Bodies that fall, swing and orbit: a small package with a suite to run elsewhere."""
