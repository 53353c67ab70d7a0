/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One group of ranks that has a bundle, and what its ranks say. */
#include "remote/worker/group.c"
#include "remote/worker/tell.c"
#include "remote/worker/work.c"

#include "common/auto.h"
#include "common/err.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two files: tests 10, 11, 12 and 20, 21. */
static inline struct pt_bundle make_bundle(uint32_t ranks)
{
    static const uint32_t counts[] = {3, 2};
    struct pt_bundle bundle = {.bundle = 7, .attempt = 2, .rank = PT_NONE, .ranks = ranks, .nfiles = 2};
    bundle.files = calloc(2, sizeof(*bundle.files));
    for (uint32_t i = 0; i < 2; i++) {
        struct pt_bundle_file *file = &bundle.files[i];
        *file = (struct pt_bundle_file){.path = strdup(i ? "b.py" : "a.py"), .ntests = counts[i]};
        file->tests = calloc(file->ntests, sizeof(*file->tests));
        for (uint32_t k = 0; k < file->ntests; k++)
            file->tests[k] = (struct pt_bundle_test){.test = 10 * (i + 1) + k, .nodeid = strdup("x::t")};
    }
    return bundle;
}

static inline struct pt_reader body_of(const struct pt_buf *frame, uint8_t want)
{
    struct pt_reader r;
    uint8_t type;
    size_t total;
    cr_assert_eq(pt_frame_next(frame->data, frame->len, PT_MAX_FRAME, &type, &r, &total), 1);
    cr_assert(type == want && total == frame->len, "message %u", type);
    return r;
}

static inline void open_group(struct pt_group *group, uint32_t ranks, bool one)
{
    struct pt_buf frame = {0};
    struct pt_bundle bundle = make_bundle(ranks), got;
    cr_assert_eq(pt_group_init(group, 5, 1, ranks, NULL), 0);
    for (uint32_t i = 0; i < ranks; i++)
        cr_assert_eq(pt_group_join(group, i), 0);
    for (uint32_t i = 0; i < ranks; i++)
        cr_assert_eq(pt_group_ready(group, i), i + 1 == ranks);
    cr_assert_eq(group->state, PT_GROUP_IDLE);
    cr_assert_eq(pt_group_take(group, &bundle, one, &frame, NULL), 0);
    struct pt_reader r = body_of(&frame, PT_L_BUNDLE);
    cr_assert_eq(pt_bundle_decode(&r, &got, NULL), 0);
    cr_assert(got.bundle == 7 && got.attempt == 2 && got.ranks == ranks);
    cr_assert_eq(got.nfiles, one ? 1 : 2);
    cr_assert_eq(got.files[0].ntests, one ? 1 : 3);
    pt_bundle_fini(&got);
    pt_buf_fini(&frame);
    cr_assert_eq(group->state, PT_GROUP_BUSY);
}

static inline int report(struct pt_group *group, uint32_t rank, uint32_t test, size_t len)
{
    struct pt_buf msg = {0};
    uint32_t told = PT_NONE;
    pt_auto_free char *json = calloc(1, len + 1);
    memset(json, ' ', len);
    pt_tell_report(&msg, rank, &(struct pt_bundle){.bundle = 7, .attempt = 2}, test, PT_OUTCOME_PASSED, json,
                   len);
    int rc = pt_group_reported(group, rank, msg.data, msg.len, &told);
    cr_assert(rc < 0 || told == test);
    pt_buf_fini(&msg);
    return rc;
}

static inline void die_as(struct pt_group *group, uint32_t rank, struct pt_death death)
{
    static char none[] = "", stack[] = "where it was";
    struct pt_buf msg = {0};
    death.rank = rank;
    death.bundle = death.bundle ? death.bundle : 7;
    death.attempt = 2;
    if (!death.path)
        death.path = none;
    death.stack = stack;
    death.output = none;
    death.status = SIGKILL;
    pt_death_encode(&death, 0, &msg);
    cr_assert_eq(pt_group_died(group, rank, msg.data, msg.len), 0);
    pt_buf_fini(&msg);
}

static inline void die(struct pt_group *group, uint32_t rank, uint32_t test, uint8_t cause)
{
    uint8_t phase = test == PT_NONE ? PT_PHASE_SESSION : PT_PHASE_CALL;
    die_as(group, rank, (struct pt_death){.test = test, .file = PT_NONE, .cause = cause, .phase = phase});
}

/* The words of it stay in `frame`. */
static inline uint32_t fall(struct pt_group *group, struct pt_buf *frame, struct pt_fall *out)
{
    uint32_t told = pt_group_tell_fall(group, 0x0100, "mpirun said", frame);
    struct pt_reader r = body_of(frame, PT_L_FALL);
    cr_assert_eq(pt_get_u64(&r), 0);
    cr_assert_eq(pt_fall_decode(&r, out, NULL), 0);
    cr_assert(out->group == 1 && out->of == group->ranks);
    return told;
}

static inline uint32_t tests_left(struct pt_group *group)
{
    struct pt_bundle rest;
    uint32_t n = 0;
    cr_assert_eq(pt_group_rest(group, &rest), 0);
    for (uint32_t i = 0; i < rest.nfiles; i++)
        n += rest.files[i].ntests;
    pt_bundle_fini(&rest);
    return n;
}
