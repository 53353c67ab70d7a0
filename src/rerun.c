/* SPDX-License-Identifier: Apache-2.0 */
#include "rerun.h"

#include "common/message.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

struct pt_rerun {
    uint32_t times;
    size_t n;
    regex_t only[]; /* n compiled */
};

struct pt_rerun *pt_rerun_create(uint32_t times, char *const *only, size_t n, struct pt_err *err)
{
    char why[128];
    struct pt_rerun *r = calloc(1, sizeof(*r) + n * sizeof(r->only[0]));
    if (!r) {
        pt_err_set(err, "reruns: out of memory");
        return NULL;
    }
    r->times = times < PT_RERUN_MAX ? times : PT_RERUN_MAX;
    for (; r->n < n; r->n++) {
        int rc = regcomp(&r->only[r->n], only[r->n], REG_EXTENDED | REG_NOSUB | REG_NEWLINE);
        if (rc == 0)
            continue;
        regerror(rc, &r->only[r->n], why, sizeof(why));
        pt_err_set_kind(err, rc == REG_ESPACE ? PT_ERR_INTERNAL : PT_ERR_USAGE, "--only-rerun: '%s': %s",
                        only[r->n], rc == REG_ESPACE ? "out of memory" : why);
        pt_rerun_destroy(r);
        return NULL;
    }
    return r;
}

void pt_rerun_destroy(struct pt_rerun *r)
{
    if (!r)
        return;
    while (r->n)
        regfree(&r->only[--r->n]);
    free(r);
}

static bool found_in(const struct pt_rerun *r, const char *text)
{
    size_t n = text ? strlen(text) : 0;
    if (n > PT_RERUN_TEXTS)
        text += n - PT_RERUN_TEXTS;
    for (size_t i = 0; text && i < r->n; i++)
        if (regexec(&r->only[i], text, 0, NULL, 0) == 0)
            return true;
    return false;
}

/* In the message and traceback of any phase. */
static bool found(const struct pt_rerun *r, const struct pt_report *report)
{
    if (r->n == 0 || found_in(r, report->message) || found_in(r, report->longrepr))
        return true;
    for (size_t i = 0; i < report->nproblems; i++)
        if (found_in(r, report->problems[i].longrepr))
            return true;
    return false;
}

bool pt_rerun_wanted(const struct pt_rerun *r, uint32_t tries, const struct pt_report *report)
{
    static const unsigned wrong = 1u << PT_OUTCOME_ERROR | 1u << PT_OUTCOME_FAILED |
                                  1u << PT_OUTCOME_TIMEOUT | 1u << PT_OUTCOME_CRASHED;
    if (!r || tries > r->times || !(wrong >> report->outcome & 1) || report->phase == PT_PHASE_COLLECT ||
        report->stop)
        return false;
    return found(r, report);
}
