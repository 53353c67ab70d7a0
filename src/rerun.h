/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* RERUN: is a test that went wrong to run once more? Pure. */
#include "report.h"

struct pt_rerun;

#define PT_RERUN_MAX 1000 /* reruns of one test */
#define PT_RERUN_TEXTS                                                                                       \
    (256 << 10) /* bytes of a report that are looked through: its end, where errors stand */

/* times: reruns of one test at most. only: POSIX extended expressions, any of which must be found in what the
 * report says of the failure; n 0: every failure. -1 usage error for a bad expression. */
struct pt_rerun *pt_rerun_create(uint32_t times, char *const *only, size_t n, struct pt_err *err);
void pt_rerun_destroy(struct pt_rerun *r);
/* tries: how often it ran, this one counted. Failed, error, crashed and timeout are rerun, but not what went
 * wrong before any test ran (phase collect), nor a test that ended the session. r NULL: nothing is. */
bool pt_rerun_wanted(const struct pt_rerun *r, uint32_t tries, const struct pt_report *report);
