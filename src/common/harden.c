/* SPDX-License-Identifier: Apache-2.0 */
#include "common/harden.h"

#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static struct rlimit before;
static bool kept;

void pt_harden(void)
{
    if (kept || getrlimit(RLIMIT_CORE, &before) < 0)
        return;
    kept = true;
    setrlimit(RLIMIT_CORE, &(struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max});
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a core_pattern with a pipe does not ask for the limit */
}

void pt_harden_not(void)
{
    if (kept)
        setrlimit(RLIMIT_CORE, &before);
}
