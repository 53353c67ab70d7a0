/* SPDX-License-Identifier: Apache-2.0 */
#include "common/message_group.h"

#include "common/err.h"

#include <stdlib.h>

static int finish(struct pt_reader *r, const char *what, struct pt_err *err)
{
    return pt_get_end(r) ? 0 : pt_err_set(err, "%s: malformed message", what);
}

_Static_assert(PT_RANKS_MAX <= 1u << 12 && PT_GROUPS_MAX < 1u << 18, "a member's number has room for both");

bool pt_member_of(uint32_t field, uint32_t *group, uint32_t *rank)
{
    uint32_t g = (field & 0x7fffffffu) >> 12;
    if (!(field & 0x80000000u) || g >= PT_GROUPS_MAX)
        return false;
    if (group)
        *group = g;
    if (rank)
        *rank = field & 0xfffu;
    return true;
}

/* --- sizes --- */

void pt_sizes_encode(const struct pt_sizes *m, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_L_SIZES);
    pt_put_u32(out, m->n);
    for (uint32_t i = 0; i < m->n; i++) {
        pt_put_u32(out, m->sizes[i].ranks);
        pt_put_u32(out, m->sizes[i].tests);
    }
    pt_frame_end(out, mark);
}

int pt_sizes_decode(struct pt_reader *r, struct pt_sizes *m, struct pt_err *err)
{
    *m = (struct pt_sizes){.n = pt_get_u32(r)};
    if (m->n > PT_SIZES_MAX)
        r->bad = true;
    m->sizes = r->bad ? NULL : calloc(m->n + 1, sizeof(*m->sizes));
    if (!m->sizes)
        r->bad = true;
    for (uint32_t i = 0; i < m->n && !r->bad; i++) {
        m->sizes[i] = (struct pt_size){.ranks = pt_get_u32(r)};
        m->sizes[i].tests = pt_get_u32(r);
        if (m->sizes[i].ranks < 2 || m->sizes[i].ranks > PT_RANKS_MAX)
            r->bad = true;
    }
    if (finish(r, "sizes", err) == 0)
        return 0;
    pt_sizes_fini(m);
    return -1;
}

void pt_sizes_fini(struct pt_sizes *m)
{
    free(m->sizes);
    *m = (struct pt_sizes){0};
}

/* --- words --- */

static const uint8_t types[] = {[PT_WORD_REPORT] = PT_L_REPORT, [PT_WORD_DEATH] = PT_L_DEATH};

/* The fields of the frame, after its number and rank. */
static bool open_word(const struct pt_rank_word *word, uint8_t kind, struct pt_reader *r)
{
    uint8_t type;
    size_t len;
    if (word->kind != kind || kind == PT_WORD_NONE ||
        pt_frame_next(word->frame, word->n, PT_MAX_FRAME, &type, r, &len) != 1 || len != word->n ||
        type != types[kind])
        return false;
    pt_get_u64(r);
    return !r->bad;
}

bool pt_word_report(const struct pt_rank_word *word, uint8_t *outcome, const void **json, size_t *n)
{
    struct pt_reader r;
    if (!open_word(word, PT_WORD_REPORT, &r))
        return false;
    for (int i = 0; i < 4; i++) /* rank, bundle, attempt, test */
        pt_get_u32(&r);
    *outcome = pt_get_u8(&r);
    *json = pt_get_bytes(&r, n);
    return pt_get_end(&r) && *outcome > PT_OUTCOME_NONE && *outcome < PT_OUTCOMES;
}

int pt_word_death(const struct pt_rank_word *word, struct pt_death *death, struct pt_err *err)
{
    struct pt_reader r;
    if (!open_word(word, PT_WORD_DEATH, &r))
        return pt_err_set(err, "a rank's death: malformed message");
    return pt_death_decode(&r, death, err);
}

static void put_words(const struct pt_rank_word *words, uint32_t of, struct pt_buf *out)
{
    for (uint32_t i = 0; i < of; i++) {
        pt_put_u8(out, words[i].kind);
        pt_put_bytes(out, words[i].frame, words[i].n);
    }
}

/* NULL and a bad reader when they are none. */
static struct pt_rank_word *get_words(struct pt_reader *r, uint32_t of)
{
    if (of == 0 || of > PT_RANKS_MAX)
        r->bad = true;
    struct pt_rank_word *words = r->bad ? NULL : calloc(of, sizeof(*words));
    for (uint32_t i = 0; words && i < of && !r->bad; i++) {
        struct pt_reader body;
        words[i].kind = pt_get_u8(r);
        words[i].frame = pt_get_bytes(r, &words[i].n);
        if (r->bad || words[i].kind > PT_WORD_DEATH ||
            (words[i].kind == PT_WORD_NONE ? words[i].n > 0 : !open_word(&words[i], words[i].kind, &body)))
            r->bad = true;
    }
    if (!words)
        r->bad = true;
    return words;
}

/* --- ranks --- */

void pt_ranks_encode(const struct pt_ranks *m, uint64_t seq, struct pt_buf *out)
{
    const uint32_t numbers[] = {m->bundle, m->attempt, m->test, m->group, m->of};
    size_t mark = pt_frame_begin(out, PT_L_RANKS);
    pt_put_u64(out, seq);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        pt_put_u32(out, numbers[i]);
    put_words(m->words, m->of, out);
    pt_frame_end(out, mark);
}

int pt_ranks_decode(struct pt_reader *r, struct pt_ranks *m, struct pt_err *err)
{
    *m = (struct pt_ranks){.bundle = pt_get_u32(r)};
    m->attempt = pt_get_u32(r);
    m->test = pt_get_u32(r);
    m->group = pt_get_u32(r);
    m->of = pt_get_u32(r);
    m->words = get_words(r, m->of);
    for (uint32_t i = 0; m->words && i < m->of; i++)
        if (m->words[i].kind == PT_WORD_DEATH)
            r->bad = true;
    if (finish(r, "ranks", err) == 0)
        return 0;
    pt_ranks_fini(m);
    return -1;
}

void pt_ranks_fini(struct pt_ranks *m)
{
    free(m->words);
    *m = (struct pt_ranks){0};
}

/* --- fall --- */

void pt_fall_encode(const struct pt_fall *m, uint64_t seq, struct pt_buf *out)
{
    const uint32_t numbers[] = {m->bundle, m->attempt, m->group, m->of, m->test, m->culprit};
    size_t mark = pt_frame_begin(out, PT_L_FALL);
    pt_put_u64(out, seq);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        pt_put_u32(out, numbers[i]);
    pt_put_str(out, m->path);
    pt_put_u8(out, m->phase);
    pt_put_u8(out, m->cause);
    pt_put_str(out, m->text);
    put_words(m->words, m->of, out);
    pt_frame_end(out, mark);
}

int pt_fall_decode(struct pt_reader *r, struct pt_fall *m, struct pt_err *err)
{
    *m = (struct pt_fall){.bundle = pt_get_u32(r)};
    m->attempt = pt_get_u32(r);
    m->group = pt_get_u32(r);
    m->of = pt_get_u32(r);
    m->test = pt_get_u32(r);
    m->culprit = pt_get_u32(r);
    m->path = pt_get_str(r, PT_MAX_PATH);
    m->phase = pt_get_u8(r);
    m->cause = pt_get_u8(r);
    m->text = pt_get_str(r, PT_MAX_TEXT);
    if (m->cause < PT_CAUSE_DIED || m->cause > PT_CAUSE_NO_GROUP || m->phase > PT_PHASE_SESSION ||
        (m->culprit != PT_NONE && m->culprit >= m->of))
        r->bad = true;
    m->words = get_words(r, m->of);
    if (finish(r, "fall", err) == 0)
        return 0;
    pt_fall_fini(m);
    return -1;
}

void pt_fall_fini(struct pt_fall *m)
{
    free(m->path);
    free(m->text);
    free(m->words);
    *m = (struct pt_fall){0};
}
