/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a rank still owes of its bundle, and what its runner is busy with: which test or file a death takes
 * down, and what the next runner gets. Pure. */
#include "common/message.h"

struct pt_work {
    struct pt_bundle bundle; /* as it came */
    uint32_t *first;         /* by file: index of its first test */
    uint32_t *file_of;       /* by test */
    bool *told;              /* by test: reported, died, or given up with its file */
    uint32_t *given;         /* by file of the runner's bundle: index in ours */
    uint32_t ngiven, ntests, left, hint;
    uint32_t test, file; /* what runs now, or what is imported now; NONE */
    uint8_t phase;
    bool active; /* there is a bundle */
    bool failed; /* the test that runs has failed a phase already */
};

/* Takes the bundle's memory over, on failure too. */
int pt_work_init(struct pt_work *work, struct pt_bundle *bundle, struct pt_err *err);
void pt_work_fini(struct pt_work *work);

/* Append PT_R_BUNDLE with the tests that are left (work->left of them); -1 when memory ends. */
int pt_work_rest(struct pt_work *work, struct pt_buf *out);

/* What the runner announces. -1 when it cannot be true. */
int pt_work_importing(struct pt_work *work, uint32_t file);
/* 1 when that test was told already: it runs again at the suite's own wish. */
int pt_work_started(struct pt_work *work, uint32_t test, uint8_t phase);
/* Of that test another phase runs now. False when it is not the one that runs, or that is no phase. */
bool pt_work_moved(struct pt_work *work, uint32_t test, uint32_t phase);
/* That phase of the test that runs failed: 1, or 0 when that test was told already. -1 when it cannot be. */
int pt_work_failed(struct pt_work *work, uint32_t test, uint8_t phase);
/* Whether that test runs, has come no further than that phase, and has not failed. */
bool pt_work_hung(const struct pt_work *work, uint32_t test, uint8_t phase);
/* 0 to pass the report on; 1 when the test was told already. */
int pt_work_reported(struct pt_work *work, uint32_t test);

/* Take off what is asked for and has not begun; `given` has room for n. How many that were. */
uint32_t pt_work_take(struct pt_work *work, const uint32_t *asked, uint32_t n, uint32_t *given);

/* The runner is gone: fill in what was going on and take it off the rest. True when there was something to
 * take off. death->path borrows from the bundle. */
bool pt_work_died(struct pt_work *work, struct pt_death *death);
