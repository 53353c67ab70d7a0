/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which tests failed when they last ran, by the ledger. */
#include "json.h"
#include "ledger.h"

struct pt_err;

/* {pytest's rootdir: [node ids]}: the tests whose newest outcome is lost, error, failed, timeout or crashed,
 * and the files that could not be collected, in runs begun before `before` (0: all). root: where the project
 * is now, if all runs are of one project; NULL: where it was. Owned; NULL with err. */
struct pt_json *pt_failures_load(struct pt_ledger *l, int64_t before, const char *root, struct pt_err *err);
/* The run that began what run `id` went on with by --resume; id itself when it resumed none. -1 with err. */
int64_t pt_failures_before(struct pt_ledger *l, int64_t id, struct pt_err *err);
