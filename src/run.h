/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One run from the options to the exit code. */
#include "options.h"

struct pt_detach;
struct pt_err;

/* opts complete; root is the project's top folder, or NULL: pytest's rootdir will be it; command is
 * the command line, for the record, for people and as a JSON array of its words; detach: somebody waits until
 * it is under way, or NULL. Gives the exit code (verdict.h); -1 with err when the run could not be started at
 * all. */
int pt_run(const struct pt_options *opts, const char *root, const char *command, const char *argv,
           struct pt_detach *detach, struct pt_err *err);
