/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pytest's own memory of failed tests, CACHE_DIR/v/cache/lastfailed, so that --lf and --ff here know what
 * failed on the hosts, and a plain `pytest --lf` as well. */
#include "suite.h"
#include "verdict.h"

/* Tests that failed are added, those that passed or were skipped removed, all others left as they are. Does
 * nothing when pytest has no cache folder there. */
int pt_lastfailed_update(const char *cache_dir, const struct pt_suite *suite,
                         const struct pt_verdict *verdict, struct pt_err *err);
