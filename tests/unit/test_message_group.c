/* SPDX-License-Identifier: Apache-2.0 */
/* Messages about groups: what is encoded comes back, every truncation and every surplus byte is refused, and
 * random changes never do harm, nor does memory that ends. */
#include "decode_lab.h"

#include "group_words.h"

#include "src/common/message_group.c"
#include "src/common/wire.c"

#include <stdlib.h>

/* What was let through can be read without harm. */
static void use_words(const struct pt_rank_word *words, uint32_t of)
{
    for (uint32_t i = 0; i < of; i++) {
        struct pt_death d;
        const void *json;
        uint8_t outcome;
        size_t n;
        if (pt_word_report(&words[i], &outcome, &json, &n))
            cr_expect_eq(words[i].kind, PT_WORD_REPORT);
        if (pt_word_death(&words[i], &d, NULL) == 0) {
            cr_expect_eq(words[i].kind, PT_WORD_DEATH);
            pt_death_fini(&d);
        }
    }
}
DECODER_WITH(ranks, use_words(m.words, m.of))
DECODER_WITH(fall, use_words(m.words, m.of))
DECODER(sizes)

Test(message_group, sizes)
{
    struct pt_size list[] = {{2, 100}, {PT_RANKS_MAX, 1}};
    const struct pt_sizes sizes = {.n = 2, .sizes = list};
    struct pt_buf b = {0};
    struct pt_sizes got;
    pt_sizes_encode(&sizes, &b);
    struct pt_reader r = body_of(&b, PT_L_SIZES, 0);
    cr_assert_eq(pt_sizes_decode(&r, &got, NULL), 0);
    cr_expect(got.n == 2 && got.sizes[0].ranks == 2 && got.sizes[0].tests == 100);
    cr_expect(got.sizes[1].ranks == PT_RANKS_MAX && got.sizes[1].tests == 1);
    pt_sizes_fini(&got);
    check(sizes_once, &b, PT_L_SIZES, 0);
}

Test(message_group, sizes_that_make_no_sense)
{
    static const uint32_t odd[] = {0, 1, PT_RANKS_MAX + 1, PT_NONE};
    for (size_t i = 0; i < 4; i++) {
        struct pt_size one = {.ranks = odd[i], .tests = 1};
        struct pt_buf b = {0};
        pt_sizes_encode(&(struct pt_sizes){.n = 1, .sizes = &one}, &b);
        struct pt_reader r = body_of(&b, PT_L_SIZES, 0);
        cr_expect_eq(decode_copy(sizes_once, r.p, r.left, NULL), -1, "%u ranks", odd[i]);
        pt_buf_fini(&b);
    }
    struct pt_size many[PT_SIZES_MAX + 1];
    for (uint32_t i = 0; i <= PT_SIZES_MAX; i++)
        many[i] = (struct pt_size){2, 1};
    for (uint32_t n = PT_SIZES_MAX; n <= PT_SIZES_MAX + 1; n++) {
        struct pt_buf b = {0};
        pt_sizes_encode(&(struct pt_sizes){.n = n, .sizes = many}, &b);
        struct pt_reader r = body_of(&b, PT_L_SIZES, 0);
        cr_expect_eq(decode_copy(sizes_once, r.p, r.left, NULL), n > PT_SIZES_MAX ? -1 : 0);
        pt_buf_fini(&b);
    }
    struct pt_buf none = {0};
    pt_sizes_encode(&(struct pt_sizes){0}, &none);
    struct pt_reader r = body_of(&none, PT_L_SIZES, 0);
    cr_expect_eq(decode_copy(sizes_once, r.p, r.left, NULL), 0);
    pt_buf_fini(&none);
}

Test(message_group, ranks)
{
    struct words w = {0};
    struct pt_buf b = {0};
    struct pt_ranks got;
    words_report(&w, PT_OUTCOME_PASSED, "{\"nodeid\":\"a\"}");
    words_none(&w);
    words_report(&w, PT_OUTCOME_FAILED, "{}");
    struct pt_ranks m = {.bundle = 3, .attempt = 1, .test = 7, .group = 2, .of = 3, .words = w.words};
    pt_ranks_encode(&m, 77, &b);
    struct pt_reader r = body_of(&b, PT_L_RANKS, 0);
    cr_expect_eq(pt_get_u64(&r), 77);
    cr_assert_eq(pt_ranks_decode(&r, &got, NULL), 0);
    cr_expect(got.bundle == 3 && got.attempt == 1 && got.test == 7 && got.group == 2 && got.of == 3);
    uint8_t outcome;
    const void *json;
    size_t n;
    cr_assert(pt_word_report(&got.words[0], &outcome, &json, &n));
    cr_expect(outcome == PT_OUTCOME_PASSED && n == 14 && memcmp(json, "{\"nodeid\":\"a\"}", 14) == 0);
    cr_expect_not(pt_word_report(&got.words[1], &outcome, &json, &n));
    cr_expect(pt_word_report(&got.words[2], &outcome, &json, &n) && outcome == PT_OUTCOME_FAILED);
    pt_ranks_fini(&got);
    check(ranks_once, &b, PT_L_RANKS, 8);
    words_fini(&w);
}

/* A rank that died makes it a FALL; nobody runs on no rank, or on too many. */
Test(message_group, ranks_that_make_no_sense)
{
    struct words w = {0};
    struct pt_buf b = {0};
    words_death(&w, (struct pt_death){.phase = PT_PHASE_CALL});
    struct pt_ranks m = {.of = 1, .words = w.words};
    pt_ranks_encode(&m, 0, &b);
    struct pt_reader r = body_of(&b, PT_L_RANKS, 8);
    cr_expect_eq(decode_copy(ranks_once, r.p, r.left, NULL), -1);
    pt_buf_fini(&b);
    m.of = 0;
    pt_ranks_encode(&m, 0, &b);
    r = body_of(&b, PT_L_RANKS, 8);
    cr_expect_eq(decode_copy(ranks_once, r.p, r.left, NULL), -1);
    pt_buf_fini(&b);
    for (int i = 0; i < 4; i++)
        pt_put_u32(&b, 1);
    pt_put_u32(&b, PT_RANKS_MAX + 1);
    for (uint32_t i = 0; i <= PT_RANKS_MAX; i++) {
        pt_put_u8(&b, PT_WORD_NONE);
        pt_put_u32(&b, 0);
    }
    cr_expect_eq(decode_copy(ranks_once, b.data, b.len, NULL), -1);
    pt_buf_fini(&b);
    words_fini(&w);
}

/* The type of the frame inside is that of its kind, and it is one whole frame. */
Test(message_group, words_that_lie)
{
    struct words w = {0};
    words_report(&w, PT_OUTCOME_PASSED, "{}");
    words_death(&w, (struct pt_death){.phase = PT_PHASE_CALL});
    struct pt_rank_word odd[] = {
        {PT_WORD_DEATH, w.words[0].frame, w.words[0].n},
        {PT_WORD_REPORT, w.words[1].frame, w.words[1].n},
        {PT_WORD_REPORT, w.words[0].frame, w.words[0].n - 1},
        {PT_WORD_REPORT, "", 0},
        {PT_WORD_NONE, w.words[0].frame, w.words[0].n},
        {3, w.words[0].frame, w.words[0].n},
    };
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        struct pt_fall m = {.of = 1,
                            .culprit = PT_NONE,
                            .test = 7,
                            .path = (char *)"",
                            .text = (char *)"",
                            .cause = PT_CAUSE_DIED,
                            .words = &odd[i]};
        struct pt_buf b = {0};
        pt_fall_encode(&m, 0, &b);
        struct pt_reader r = body_of(&b, PT_L_FALL, 8);
        cr_expect_eq(decode_copy(fall_once, r.p, r.left, NULL), -1, "word %zu", i);
        pt_buf_fini(&b);
    }
    uint8_t outcome;
    const void *json;
    size_t n;
    struct words none = {0};
    words_report(&none, PT_OUTCOME_NONE, "{}");
    words_report(&none, PT_OUTCOMES, "{}");
    cr_expect_not(pt_word_report(&none.words[0], &outcome, &json, &n));
    cr_expect_not(pt_word_report(&none.words[1], &outcome, &json, &n));
    words_fini(&none);
    words_fini(&w);
}

Test(message_group, fall)
{
    struct words w = {0};
    struct pt_buf b = {0};
    struct pt_fall got;
    words_report(&w, PT_OUTCOME_FAILED, "{}");
    words_death(
        &w, (struct pt_death){
                .phase = PT_PHASE_CALL, .cause = PT_CAUSE_DEADLOCK, .status = 9, .stack = (char *)"File x"});
    words_none(&w);
    struct pt_fall m = {.bundle = 3,
                        .attempt = 2,
                        .group = 1,
                        .of = 3,
                        .test = 7,
                        .path = (char *)"a.py",
                        .phase = PT_PHASE_CALL,
                        .cause = PT_CAUSE_DEADLOCK,
                        .culprit = 0,
                        .text = (char *)"why",
                        .words = w.words};
    pt_fall_encode(&m, 5, &b);
    struct pt_reader r = body_of(&b, PT_L_FALL, 8);
    cr_assert_eq(pt_fall_decode(&r, &got, NULL), 0);
    cr_expect(got.bundle == 3 && got.attempt == 2 && got.group == 1 && got.of == 3 && got.test == 7);
    cr_expect(got.phase == PT_PHASE_CALL && got.cause == PT_CAUSE_DEADLOCK && got.culprit == 0);
    cr_expect_str_eq(got.path, "a.py");
    cr_expect_str_eq(got.text, "why");
    struct pt_death d;
    cr_assert_eq(pt_word_death(&got.words[1], &d, NULL), 0);
    cr_expect(d.rank == 1 && d.cause == PT_CAUSE_DEADLOCK && d.status == 9);
    cr_expect_str_eq(d.stack, "File x");
    pt_death_fini(&d);
    cr_expect_eq(pt_word_death(&got.words[0], &d, NULL), -1);
    pt_fall_fini(&got);
    check(fall_once, &b, PT_L_FALL, 8);
    words_fini(&w);
}

Test(message_group, falls_that_make_no_sense)
{
    for (unsigned i = 0; i < 256; i++) {
        struct pt_rank_word none[2] = {0};
        struct pt_fall m = {.of = 2,
                            .path = (char *)"",
                            .text = (char *)"",
                            .culprit = 0,
                            .cause = (uint8_t)i,
                            .words = none};
        struct pt_buf b = {0};
        pt_fall_encode(&m, 0, &b);
        struct pt_reader r = body_of(&b, PT_L_FALL, 8);
        bool ok = i >= PT_CAUSE_DIED && i <= PT_CAUSE_NO_GROUP;
        cr_expect_eq(decode_copy(fall_once, r.p, r.left, NULL), ok ? 0 : -1, "cause %u", i);
        pt_buf_fini(&b);
        m.cause = PT_CAUSE_DIED;
        m.phase = (uint8_t)i;
        m.culprit = i == 2 ? 2 : PT_NONE; /* no such rank */
        pt_fall_encode(&m, 0, &b);
        r = body_of(&b, PT_L_FALL, 8);
        ok = i <= PT_PHASE_SESSION && i != 2;
        cr_expect_eq(decode_copy(fall_once, r.p, r.left, NULL), ok ? 0 : -1, "phase %u", i);
        pt_buf_fini(&b);
    }
}

Test(message_group, numbers_of_members)
{
    uint32_t group = 0;
    uint32_t rank = 0;
    cr_expect(pt_member_of(PT_MEMBER(0, 0), &group, &rank) && group == 0 && rank == 0);
    cr_expect(pt_member_of(PT_MEMBER(PT_GROUPS_MAX - 1, PT_RANKS_MAX - 1), &group, &rank));
    cr_expect(group == PT_GROUPS_MAX - 1 && rank == PT_RANKS_MAX - 1);
    cr_expect_not(pt_member_of(PT_MEMBER(PT_GROUPS_MAX, 0), NULL, NULL));
    cr_expect_not(pt_member_of(PT_NONE, NULL, NULL));
    cr_expect_not(pt_member_of(5, NULL, NULL));
}
