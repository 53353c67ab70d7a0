/* SPDX-License-Identifier: Apache-2.0 */
/* `ptremote report`: the files of a run, as the run itself writes them. */
#include "common/err.h"
#include "output/json_file.h"
#include "output/junit.h"
#include "recorded.h"
#include "records_inside.h"
#include "verdict.h"

#include <stdlib.h>

static int write_files(struct pt_ledger *l, const struct pt_recorded *r, const struct pt_record_options *o,
                       struct pt_err *err)
{
    double seconds = r->state == PT_RECORDED_ENDED ? r->finished - r->started : -1;
    struct pt_junit_options junit = {.path = o->junitxml,
                                     .family = r->family,
                                     .suite_name = r->suite_name,
                                     .prefix = r->prefix,
                                     .started = r->started,
                                     .seconds = seconds < 0 ? 0 : seconds};
    struct pt_json_file json = {.path = o->json,
                                .run_name = r->name,
                                .exitcode = r->state == PT_RECORDED_ENDED ? r->exitcode : PT_EXIT_INTERRUPTED,
                                .started = r->started,
                                .seconds = seconds};
    if (o->junitxml && pt_junit_write(&junit, l, r->run, err) < 0)
        return -1;
    return o->json ? pt_json_file_write(&json, l, r->run, r->verdict, err) : 0;
}

int pt_record_report(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err)
{
    struct pt_recorded r;
    int64_t run = pt_ledger_find_run(l, o->word, err);
    if (!run)
        return -1;
    int rc = pt_recorded_init(&r, l, run, err);
    if (rc == 0 && r.state != PT_RECORDED_ENDED)
        fprintf(stderr, "ptremote: run %s has not ended: %u of %u tests are written\n", r.name,
                pt_verdict_done(r.verdict), pt_verdict_tests(r.verdict));
    if (rc == 0)
        rc = write_files(l, &r, o, err);
    pt_recorded_fini(&r);
    return rc;
}
