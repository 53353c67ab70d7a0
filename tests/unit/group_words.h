/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What ranks say, as frames: for tests of messages of groups and of what is made of them. */
#include "common/message_group.h"

#include <criterion/criterion.h>
#include <string.h>

#define WORDS_MAX 8

struct words {
    struct pt_buf frames[WORDS_MAX];
    struct pt_rank_word words[WORDS_MAX];
    uint32_t n;
};

__attribute__((unused)) static void words_close(struct words *w, uint8_t kind)
{
    struct pt_buf *b = &w->frames[w->n];
    cr_assert_not(b->bad);
    w->words[w->n++] = (struct pt_rank_word){kind, b->data, b->len};
}

/* The next rank's report of that outcome. */
__attribute__((unused)) static void words_report(struct words *w, uint8_t outcome, const char *json)
{
    struct pt_buf *b = &w->frames[w->n];
    size_t mark = pt_frame_begin(b, PT_L_REPORT);
    pt_put_u64(b, 0);
    pt_put_u32(b, w->n);
    pt_put_u32(b, 3); /* bundle, attempt, test */
    pt_put_u32(b, 1);
    pt_put_u32(b, 7);
    pt_put_u8(b, outcome);
    pt_put_bytes(b, json, strlen(json));
    pt_frame_end(b, mark);
    words_close(w, PT_WORD_REPORT);
}

/* The next rank's death at test 7. */
__attribute__((unused)) static void words_death(struct words *w, struct pt_death d)
{
    d.rank = w->n;
    d.test = d.test ? d.test : 7;
    d.file = d.path ? 0 : PT_NONE;
    d.path = d.path ? d.path : (char *)"";
    d.stack = d.stack ? d.stack : (char *)"";
    d.output = d.output ? d.output : (char *)"";
    d.cause = d.cause ? d.cause : PT_CAUSE_DIED;
    pt_death_encode(&d, 0, &w->frames[w->n]);
    words_close(w, PT_WORD_DEATH);
}

__attribute__((unused)) static void words_none(struct words *w)
{
    words_close(w, PT_WORD_NONE);
}

__attribute__((unused)) static void words_fini(struct words *w)
{
    for (uint32_t i = 0; i < w->n; i++)
        pt_buf_fini(&w->frames[i]);
    *w = (struct words){0};
}
