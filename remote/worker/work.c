/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/work.h"

#include "common/err.h"

#include <stdlib.h>

int pt_work_init(struct pt_work *work, struct pt_bundle *bundle, struct pt_err *err)
{
    *work = (struct pt_work){.bundle = *bundle, .test = PT_NONE, .file = PT_NONE, .active = true};
    *bundle = (struct pt_bundle){0};
    for (uint32_t i = 0; i < work->bundle.nfiles; i++)
        work->ntests += work->bundle.files[i].ntests;
    work->left = work->ntests;
    work->first = calloc(work->bundle.nfiles + 1, sizeof(*work->first));
    work->given = calloc(work->bundle.nfiles + 1, sizeof(*work->given));
    work->told = calloc(work->ntests + 1, sizeof(*work->told));
    work->file_of = calloc(work->ntests + 1, sizeof(*work->file_of));
    if (!work->first || !work->given || !work->told || !work->file_of) {
        pt_work_fini(work);
        return pt_err_set(err, "bundle: out of memory");
    }
    for (uint32_t i = 0; i < work->bundle.nfiles; i++) {
        work->first[i + 1] = work->first[i] + work->bundle.files[i].ntests;
        for (uint32_t k = work->first[i]; k < work->first[i + 1]; k++)
            work->file_of[k] = i;
    }
    return 0;
}

void pt_work_fini(struct pt_work *work)
{
    pt_bundle_fini(&work->bundle);
    free(work->first);
    free(work->given);
    free(work->told);
    free(work->file_of);
    *work = (struct pt_work){.test = PT_NONE, .file = PT_NONE};
}

static const struct pt_bundle_test *get_test(const struct pt_work *work, uint32_t i)
{
    uint32_t file = work->file_of[i];
    return &work->bundle.files[file].tests[i - work->first[file]];
}

/* The untold tests of one file, borrowed; false when there are none. */
static bool copy_rest(const struct pt_work *work, uint32_t file, struct pt_bundle_test *tests,
                      struct pt_bundle_file *out)
{
    *out = (struct pt_bundle_file){.path = work->bundle.files[file].path, .tests = tests};
    for (uint32_t i = work->first[file]; i < work->first[file + 1]; i++)
        if (!work->told[i])
            tests[out->ntests++] = *get_test(work, i);
    return out->ntests > 0;
}

int pt_work_rest(struct pt_work *work, struct pt_buf *out)
{
    struct pt_bundle rest = work->bundle;
    struct pt_bundle_test *tests = calloc(work->ntests + 1, sizeof(*tests));
    rest.files = calloc(work->bundle.nfiles + 1, sizeof(*rest.files));
    rest.nfiles = 0;
    if (!tests || !rest.files)
        out->bad = true;
    uint32_t used = 0;
    for (uint32_t i = 0; !out->bad && i < work->bundle.nfiles; i++) {
        if (!copy_rest(work, i, tests + used, &rest.files[rest.nfiles]))
            continue;
        work->given[rest.nfiles] = i;
        used += rest.files[rest.nfiles++].ntests;
    }
    work->ngiven = rest.nfiles;
    work->test = work->file = PT_NONE;
    if (!out->bad)
        pt_bundle_encode(&rest, PT_R_BUNDLE, out);
    free(rest.files);
    free(tests);
    return out->bad ? -1 : 0;
}

/* Index of a test; they come in order, so looking starts at the last one found. PT_NONE: not in the bundle.
 */
static uint32_t find(struct pt_work *work, uint32_t test)
{
    for (uint32_t n = 0; work->active && n < work->ntests; n++) {
        uint32_t i = (work->hint + n) % work->ntests;
        if (get_test(work, i)->test == test)
            return work->hint = i;
    }
    return PT_NONE;
}

int pt_work_importing(struct pt_work *work, uint32_t file)
{
    if (!work->active || file >= work->ngiven)
        return -1;
    work->file = work->given[file];
    work->test = PT_NONE;
    work->phase = PT_PHASE_COLLECT;
    return 0;
}

int pt_work_started(struct pt_work *work, uint32_t test, uint8_t phase)
{
    uint32_t i = find(work, test);
    if (i == PT_NONE || phase < PT_PHASE_SETUP || phase > PT_PHASE_TEARDOWN)
        return -1;
    work->file = PT_NONE;
    if (work->told[i])
        return 1;
    if (test != work->test || phase == PT_PHASE_SETUP)
        work->failed = false;
    work->test = test;
    work->phase = phase;
    return 0;
}

bool pt_work_moved(struct pt_work *work, uint32_t test, uint32_t phase)
{
    if (!work->active || test == PT_NONE || test != work->test || phase < PT_PHASE_SETUP ||
        phase > PT_PHASE_TEARDOWN)
        return false;
    work->phase = (uint8_t)phase;
    return true;
}

int pt_work_failed(struct pt_work *work, uint32_t test, uint8_t phase)
{
    uint32_t i = find(work, test);
    if (i == PT_NONE || phase < PT_PHASE_SETUP || phase > PT_PHASE_TEARDOWN)
        return -1;
    if (test != work->test)
        return work->told[i] ? 0 : -1;
    work->failed = true;
    return 1;
}

bool pt_work_hung(const struct pt_work *work, uint32_t test, uint8_t phase)
{
    return test != PT_NONE && test == work->test && work->phase <= phase && !work->failed;
}

static void tell(struct pt_work *work, uint32_t i)
{
    work->left -= !work->told[i];
    work->told[i] = true;
}

int pt_work_reported(struct pt_work *work, uint32_t test)
{
    uint32_t i = find(work, test);
    if (i == PT_NONE)
        return -1;
    work->test = work->file = PT_NONE;
    if (work->told[i])
        return 1;
    tell(work, i);
    return 0;
}

uint32_t pt_work_take(struct pt_work *work, const uint32_t *asked, uint32_t n, uint32_t *given)
{
    uint32_t taken = 0;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t i = find(work, asked[k]);
        if (i == PT_NONE || work->told[i] || asked[k] == work->test)
            continue;
        tell(work, i);
        given[taken++] = asked[k];
    }
    return taken;
}

bool pt_work_died(struct pt_work *work, struct pt_death *death)
{
    uint32_t file = work->file, before = work->left;
    death->bundle = work->active ? work->bundle.bundle : PT_NONE;
    death->attempt = work->active ? work->bundle.attempt : 0;
    death->test = work->test;
    death->file = PT_NONE;
    death->phase = work->phase;
    if (work->test != PT_NONE) {
        tell(work, find(work, work->test));
    } else if (file != PT_NONE) {
        death->file = file;
        death->path = work->bundle.files[file].path;
        for (uint32_t i = work->first[file]; i < work->first[file + 1]; i++)
            tell(work, i);
    } else {
        death->phase = PT_PHASE_SESSION;
    }
    work->test = work->file = PT_NONE;
    return work->left < before;
}
