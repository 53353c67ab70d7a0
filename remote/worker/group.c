/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/group.h"

#include "common/auto.h"
#include "common/err.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_ROOM (256u << 10) /* in a frame, for all but its words */

struct pt_group_test {
    struct pt_group_test *next;
    uint32_t test, said;
    struct pt_buf words[]; /* REPORT frames, by rank */
};

int pt_group_init(struct pt_group *group, uint32_t id, uint32_t index, uint32_t ranks, struct pt_err *err)
{
    *group = (struct pt_group){.id = id, .index = index, .ranks = ranks, .only = PT_NONE};
    pt_work_fini(&group->work);
    group->failed.test = group->fall.test = group->fall.file = group->fall.culprit = PT_NONE;
    group->members = calloc(ranks + 1, sizeof(*group->members));
    if (!group->members)
        return pt_err_set(err, "a group of %u ranks: out of memory", ranks);
    for (uint32_t i = 0; i < ranks; i++)
        group->members[i].at = PT_NONE;
    return 0;
}

static void free_test(const struct pt_group *group, struct pt_group_test *test)
{
    for (uint32_t i = 0; test && i < group->ranks; i++)
        pt_buf_fini(&test->words[i]);
    free(test);
}

static void forget_tests(struct pt_group *group)
{
    while (group->tests) {
        struct pt_group_test *next = group->tests->next;
        free_test(group, group->tests);
        group->tests = next;
    }
}

void pt_group_fini(struct pt_group *group)
{
    forget_tests(group);
    for (uint32_t i = 0; group->members && i < group->ranks; i++)
        pt_buf_fini(&group->members[i].death);
    free(group->members);
    group->members = NULL;
    pt_work_fini(&group->work);
}

int pt_group_join(struct pt_group *group, uint32_t rank)
{
    if (group->state != PT_GROUP_STARTING || rank >= group->ranks || group->members[rank].joined)
        return -1;
    group->members[rank].joined = true;
    return 0;
}

bool pt_group_ready(struct pt_group *group, uint32_t rank)
{
    group->members[rank].ready = true;
    for (uint32_t i = 0; i < group->ranks; i++)
        if (!group->members[i].ready)
            return false;
    if (group->state == PT_GROUP_STARTING)
        group->state = PT_GROUP_IDLE;
    return true;
}

/* --- a bundle --- */

/* Keep only the first test of a bundle. */
static void keep_first(struct pt_bundle *bundle)
{
    for (uint32_t i = 0; i < bundle->nfiles; i++) {
        struct pt_bundle_file *file = &bundle->files[i];
        for (uint32_t k = i == 0; k < file->ntests; k++)
            free(file->tests[k].nodeid);
        file->ntests = i == 0;
        if (i == 0)
            continue;
        free(file->path);
        free(file->tests);
    }
    bundle->nfiles = 1;
}

int pt_group_rest(struct pt_group *group, struct pt_bundle *out)
{
    struct pt_buf frame = {0};
    int rc = pt_work_rest(&group->work, &frame);
    if (rc == 0) {
        struct pt_reader body = {.p = frame.data + PT_FRAME_HEAD, .left = frame.len - PT_FRAME_HEAD};
        rc = pt_bundle_decode(&body, out, NULL);
    }
    pt_buf_fini(&frame);
    return rc;
}

static int encode_one(struct pt_group *group, struct pt_buf *frame)
{
    struct pt_bundle one;
    if (pt_group_rest(group, &one) < 0)
        return -1;
    if (one.nfiles && one.files[0].ntests) {
        keep_first(&one);
        group->only = one.files[0].tests[0].test;
    }
    pt_bundle_encode(&one, PT_L_BUNDLE, frame);
    pt_bundle_fini(&one);
    return frame->bad ? -1 : 0;
}

int pt_group_take(struct pt_group *group, struct pt_bundle *bundle, bool one, struct pt_buf *frame,
                  struct pt_err *err)
{
    size_t mark = frame->len;
    group->only = PT_NONE;
    if (pt_work_init(&group->work, bundle, err) < 0)
        return -1;
    if ((one ? encode_one(group, frame) : pt_work_rest(&group->work, frame)) < 0) {
        pt_work_fini(&group->work);
        group->only = PT_NONE;
        return pt_err_set(err, "a bundle: out of memory");
    }
    frame->data[mark + PT_FRAME_HEAD - 1] = PT_L_BUNDLE;
    for (uint32_t i = 0; i < group->ranks; i++) {
        group->members[i].ready = group->members[i].done = false;
        group->members[i].at = PT_NONE;
    }
    group->state = PT_GROUP_BUSY;
    return 0;
}

/* 0 when the bundle has that test and it is not told; 1 when it is; -1. */
static int look_up(struct pt_group *group, uint32_t test)
{
    return group->work.active ? pt_work_started(&group->work, test, PT_PHASE_SETUP) : -1;
}

int pt_group_started(struct pt_group *group, uint32_t rank, uint32_t test)
{
    int rc = look_up(group, test);
    if (rc == 0)
        group->members[rank].at = test;
    return rc < 0 ? -1 : 0;
}

static struct pt_group_test **find_open(struct pt_group *group, uint32_t test)
{
    struct pt_group_test **at = &group->tests;
    while (*at && (*at)->test != test)
        at = &(*at)->next;
    return at;
}

static struct pt_group_test *open_test(struct pt_group *group, uint32_t test)
{
    struct pt_group_test **at = find_open(group, test);
    if (!*at && (*at = calloc(1, sizeof(**at) + group->ranks * sizeof((*at)->words[0]))))
        (*at)->test = test;
    return *at;
}

int pt_group_reported(struct pt_group *group, uint32_t rank, const void *frame, size_t n, uint32_t *test)
{
    struct pt_rank_word word = {.kind = PT_WORD_REPORT, .frame = frame, .n = n};
    struct pt_reader r = {.p = (const unsigned char *)frame + PT_FRAME_HEAD, .left = n - PT_FRAME_HEAD};
    uint8_t outcome;
    const void *json;
    size_t len;
    if (!pt_word_report(&word, &outcome, &json, &len))
        return -1;
    pt_get_u64(&r);
    pt_get_u32(&r);
    uint32_t bundle = pt_get_u32(&r);
    pt_get_u32(&r);
    *test = pt_get_u32(&r);
    int rc = bundle == group->work.bundle.bundle ? look_up(group, *test) : -1;
    if (rc != 0 || group->members[rank].answered)
        return rc < 0 ? -1 : 0;
    struct pt_group_test *t = open_test(group, *test);
    if (!t)
        return -1;
    if (group->members[rank].at == *test)
        group->members[rank].at = PT_NONE;
    if (t->words[rank].len)
        return 0;
    pt_buf_append(&t->words[rank], frame, n);
    if (t->words[rank].bad) {
        pt_buf_fini(&t->words[rank]);
        return -1;
    }
    return ++t->said == group->ranks;
}

/* Leave words out, the longest first, until they fit. */
static void fit(struct pt_rank_word *words, uint32_t of)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < of; i++)
        sum += words[i].n + 5;
    while (sum > PT_MAX_FRAME - HEAD_ROOM) {
        struct pt_rank_word *longest = words;
        for (uint32_t i = 0; i < of; i++)
            if (words[i].n > longest->n)
                longest = &words[i];
        sum -= longest->n;
        *longest = (struct pt_rank_word){0};
    }
}

static void put_word(struct pt_rank_word *word, uint8_t kind, const struct pt_buf *frame)
{
    if (frame->len)
        *word = (struct pt_rank_word){.kind = kind, .frame = frame->data, .n = frame->len};
}

static void forget_failure(struct pt_group *group)
{
    group->failed.test = PT_NONE;
    memset(group->failed.due, 0, sizeof(group->failed.due));
}

void pt_group_tell(struct pt_group *group, uint32_t test, struct pt_buf *out)
{
    struct pt_group_test **at = find_open(group, test), *t = *at;
    struct pt_rank_word *words = calloc(group->ranks + 1, sizeof(*words));
    struct pt_ranks m = {.bundle = group->work.bundle.bundle,
                         .attempt = group->work.bundle.attempt,
                         .test = test,
                         .group = group->index,
                         .of = group->ranks,
                         .words = words};
    for (uint32_t i = 0; t && words && i < group->ranks; i++)
        put_word(&words[i], PT_WORD_REPORT, &t->words[i]);
    if (words) {
        fit(words, group->ranks);
        pt_ranks_encode(&m, 0, out);
    } else {
        out->bad = true;
    }
    free(words);
    if (t)
        *at = t->next;
    free_test(group, t);
    pt_work_reported(&group->work, test);
    if (group->failed.test == test)
        forget_failure(group);
}

bool pt_group_done(struct pt_group *group, uint32_t rank)
{
    group->members[rank].done = true;
    for (uint32_t i = 0; i < group->ranks; i++)
        if (!group->members[i].done)
            return false;
    return group->work.active;
}

uint32_t pt_group_untold(const struct pt_group *group)
{
    const struct pt_work *work = &group->work;
    for (uint32_t i = 0; work->active && work->left && i < work->ntests; i++) {
        uint32_t file = work->file_of[i];
        uint32_t test = work->bundle.files[file].tests[i - work->first[file]].test;
        if (!work->told[i] && (group->only == PT_NONE || group->only == test))
            return test;
    }
    return PT_NONE;
}

void pt_group_finish(struct pt_group *group)
{
    forget_tests(group);
    forget_failure(group);
    pt_work_fini(&group->work);
    group->only = PT_NONE;
    if (group->state == PT_GROUP_BUSY)
        group->state = PT_GROUP_IDLE;
}

/* --- a rank that failed, and others that wait for it --- */

int pt_group_failed(struct pt_group *group, uint32_t rank, uint32_t test, uint8_t phase, int64_t due)
{
    int rc = phase < PT_PHASE_SETUP || phase > PT_PHASE_TEARDOWN ? -1 : look_up(group, test);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (group->failed.test != test) {
        forget_failure(group);
        group->failed.test = test;
        group->failed.rank = rank;
    }
    if (!group->failed.due[phase])
        group->failed.due[phase] = due;
    return 0;
}

int64_t pt_group_due(const struct pt_group *group)
{
    int64_t first = -1;
    for (unsigned i = PT_PHASE_SETUP; i <= PT_PHASE_TEARDOWN; i++)
        if (group->failed.due[i] > 0 && (first < 0 || group->failed.due[i] < first))
            first = group->failed.due[i];
    return first;
}

bool pt_group_hung(struct pt_group *group, int64_t now, uint32_t *test, uint8_t *phase)
{
    for (unsigned i = PT_PHASE_SETUP; i <= PT_PHASE_TEARDOWN; i++) {
        if (group->failed.due[i] <= 0 || group->failed.due[i] > now)
            continue;
        group->failed.due[i] = -1; /* said */
        *test = group->failed.test;
        *phase = (uint8_t)i;
        return true;
    }
    return false;
}

/* --- the end of a rank is the end of all --- */

static void begin_fall(struct pt_group *group, uint32_t rank, const struct pt_death *death)
{
    bool ours = death && group->work.active && death->bundle == group->work.bundle.bundle;
    group->fall.leaving = group->state == PT_GROUP_LEAVING;
    group->state = PT_GROUP_FALLING;
    group->fall.culprit = rank;
    group->fall.lost = !death;
    group->fall.cause = death ? death->cause : PT_CAUSE_DIED;
    group->fall.phase = death ? death->phase : PT_PHASE_SESSION;
    group->fall.file = ours ? death->file : PT_NONE;
    group->fall.test = ours ? death->test : PT_NONE;
    if (!death && group->members[rank].at != PT_NONE) {
        group->fall.test = group->members[rank].at;
        group->fall.phase = PT_PHASE_CALL;
    }
    if (group->fall.test != PT_NONE && look_up(group, group->fall.test) != 0)
        group->fall.test = PT_NONE;
    if (group->fall.file >= group->work.ngiven)
        group->fall.file = PT_NONE;
    if (group->fall.cause == PT_CAUSE_DEADLOCK && group->failed.test == group->fall.test)
        group->fall.culprit = group->failed.rank;
}

/* In a deadlock: the last phase in which a failure was waited for. */
static uint8_t phase_of_failure(const struct pt_group *group, uint8_t otherwise)
{
    for (uint8_t i = PT_PHASE_TEARDOWN; i >= PT_PHASE_SETUP; i--)
        if (group->failed.due[i] < 0)
            return i;
    return otherwise;
}

int pt_group_died(struct pt_group *group, uint32_t rank, const void *frame, size_t n)
{
    struct pt_group_member *member = &group->members[rank];
    struct pt_rank_word word = {.kind = PT_WORD_DEATH, .frame = frame, .n = n};
    struct pt_death death;
    if (member->answered)
        return 0;
    if (frame && pt_word_death(&word, &death, NULL) < 0)
        return -1;
    if (frame)
        pt_buf_append(&member->death, frame, n);
    if (member->death.bad)
        pt_buf_fini(&member->death);
    member->answered = true;
    if (group->state != PT_GROUP_FALLING && group->state != PT_GROUP_ENDING) {
        begin_fall(group, rank, frame ? &death : NULL);
        if (group->fall.cause == PT_CAUSE_DEADLOCK)
            group->fall.phase = phase_of_failure(group, group->fall.phase);
    }
    if (frame)
        pt_death_fini(&death);
    return 0;
}

bool pt_group_fallen(const struct pt_group *group)
{
    for (uint32_t i = 0; i < group->ranks; i++)
        if (!group->members[i].answered)
            return false;
    return group->state == PT_GROUP_FALLING;
}

/* The death of one that could not tell it. */
static void make_death(struct pt_group *group, uint32_t status, const char *output, struct pt_buf *out)
{
    static char none[] = "";
    pt_auto_free char *copy = strdup(output);
    struct pt_death death = {.rank = group->fall.culprit,
                             .bundle = group->work.active ? group->work.bundle.bundle : PT_NONE,
                             .attempt = group->work.bundle.attempt,
                             .test = group->fall.test,
                             .file = PT_NONE,
                             .path = none,
                             .phase = group->fall.phase,
                             .cause = PT_CAUSE_DIED,
                             .status = status,
                             .stack = none,
                             .output = copy ? copy : none};
    pt_death_encode(&death, 0, out);
}

static void put_fall_words(struct pt_group *group, struct pt_rank_word *words)
{
    const struct pt_group_test *t = group->fall.test == PT_NONE ? NULL : *find_open(group, group->fall.test);
    for (uint32_t i = 0; i < group->ranks; i++) {
        put_word(&words[i], PT_WORD_DEATH, &group->members[i].death);
        if (t && (i != group->fall.culprit || group->fall.cause == PT_CAUSE_DEADLOCK))
            put_word(&words[i], PT_WORD_REPORT, &t->words[i]);
    }
    fit(words, group->ranks);
}

/* What the fall tells is told. The path is borrowed from the bundle. */
static char *take_off(struct pt_group *group, uint32_t *taken)
{
    static char none[] = "";
    struct pt_death gone = {.path = none};
    uint32_t before = group->work.left;
    if (group->fall.test != PT_NONE)
        pt_work_started(&group->work, group->fall.test, PT_PHASE_SETUP);
    else if (group->fall.file != PT_NONE)
        pt_work_importing(&group->work, group->fall.file);
    if (group->fall.test != PT_NONE || group->fall.file != PT_NONE)
        pt_work_died(&group->work, &gone);
    *taken = before - group->work.left;
    return gone.path;
}

/* What ends a rank right after its report belongs to that test, if others were still at it. */
static void adopt(struct pt_group *group)
{
    if (group->fall.test != PT_NONE || group->fall.file != PT_NONE || !group->tests)
        return;
    group->fall.test = group->tests->test;
    group->fall.phase = PT_PHASE_TEARDOWN;
}

uint32_t pt_group_tell_fall(struct pt_group *group, uint32_t status, const char *output, struct pt_buf *out)
{
    static char none[] = "";
    uint32_t taken;
    adopt(group);
    if (group->fall.test != PT_NONE && look_up(group, group->fall.test) != 0)
        group->fall.test = PT_NONE; /* all have reported it since */
    if (group->fall.lost)
        make_death(group, status, output, &group->members[group->fall.culprit].death);
    struct pt_rank_word *words = calloc(group->ranks + 1, sizeof(*words));
    struct pt_fall m = {.bundle = group->work.active ? group->work.bundle.bundle : PT_NONE,
                        .attempt = group->work.bundle.attempt,
                        .group = group->index,
                        .of = group->ranks,
                        .test = group->fall.test,
                        .phase = group->fall.phase,
                        .cause = group->fall.cause,
                        .culprit = group->fall.culprit,
                        .text = none,
                        .words = words};
    m.path = take_off(group, &taken);
    if (words) {
        put_fall_words(group, words);
        pt_fall_encode(&m, 0, out);
    } else {
        out->bad = true;
    }
    free(words);
    forget_tests(group);
    forget_failure(group);
    return taken;
}
