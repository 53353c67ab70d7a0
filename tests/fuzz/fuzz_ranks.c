/* SPDX-License-Identifier: Apache-2.0 */
/* What the ranks of a test said becomes one report, whatever they said. The input: how, the ranks, numbers;
 * then a kind and a text with a zero byte behind it for each rank: JSON of a REPORT, or stack and output of a
 * DEATH. */
#include "common/err.h"
#include "fuzz.h"
#include "ranks.h"
#include "report.h"

#define MOST 9

struct said {
    struct pt_rank_word words[MOST];
    struct pt_buf frames[MOST];
    uint32_t of;
};

static void put_report(struct pt_buf *b, uint8_t outcome, const char *json)
{
    size_t mark = pt_frame_begin(b, PT_L_REPORT);
    pt_put_u64(b, 0);
    for (uint32_t i = 0; i < 4; i++)
        pt_put_u32(b, i);
    pt_put_u8(b, outcome);
    pt_put_bytes(b, json, strlen(json));
    pt_frame_end(b, mark);
}

static void put_death(struct pt_buf *b, uint8_t kind, char *stack, char *output)
{
    struct pt_death d = {
        .phase = kind >> 4, .cause = 1 + kind % 6, .status = kind, .test = kind & 1 ? 7 : PT_NONE};
    d.file = PT_NONE;
    d.path = (char *)"";
    d.stack = stack;
    d.output = output;
    pt_death_encode(&d, 0, b);
}

static void say(struct said *s, struct fuzz_parts *in, bool fall)
{
    for (uint32_t i = 0; i < s->of; i++) {
        uint8_t kind = fuzz_byte(in);
        char *text = fuzz_text(in);
        s->words[i].kind = kind % 8 == 0 ? PT_WORD_NONE : fall && kind % 2 ? PT_WORD_DEATH : PT_WORD_REPORT;
        if (s->words[i].kind == PT_WORD_REPORT) {
            put_report(&s->frames[i], 1 + kind / 2 % (PT_OUTCOMES - 1), text);
        } else if (s->words[i].kind == PT_WORD_DEATH) {
            char *output = fuzz_text(in);
            put_death(&s->frames[i], kind, text, output);
            free(output);
        }
        free(text);
        s->words[i].frame = s->frames[i].data;
        s->words[i].n = s->frames[i].len;
        if (s->frames[i].bad)
            s->words[i] = (struct pt_rank_word){.kind = PT_WORD_NONE};
    }
}

static void check(int rc, const struct pt_buf *out, const struct pt_err *err, const struct pt_ranks_of *of,
                  uint32_t n)
{
    struct pt_report r;
    struct pt_err why = PT_ERR_INIT;
    if (rc < 0) {
        FUZZ_CHECK(err->msg[0]);
        return;
    }
    fuzz_feed();
    FUZZ_CHECK(pt_report_decode(out->data, out->len, &r, &why) == 0);
    FUZZ_CHECK(strcmp(r.nodeid, of->nodeid) == 0 && r.ranks == n);
    pt_report_fini(&r);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    static const char *const hosts[] = {"h1", "h2"};
    static const char *const shows[] = {NULL, "no", "all", "stdout", "stderr", "log", "strange", ""};
    struct fuzz_parts in = {data, size};
    struct said s = {.of = 0};
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf out = {0};
    uint8_t how = fuzz_byte(&in), cause = fuzz_byte(&in), where = fuzz_byte(&in);
    bool fall = how & 1;
    s.of = 1 + where % MOST;
    say(&s, &in, fall);
    struct pt_share shares[] = {{0, 1}, {1, s.of - 1}};
    struct pt_ranks_of of = {.nodeid = "t/a.py::TestA::test_x[3]",
                             .path = "t/a.py",
                             .host = "h1",
                             .hosts = hosts,
                             .nhosts = how & 2 && s.of > 1 ? 2 : 0,
                             .shares = shares,
                             .show = shows[how >> 5],
                             .memory = how & 4 ? 1u << 30 : 0,
                             .grace = how & 8 ? 3 : -1,
                             .silent = how & 16};
    if (fall) {
        char line[200];
        struct pt_fall m = {.of = s.of,
                            .words = s.words,
                            .test = cause & 64 ? PT_NONE : 7,
                            .path = (char *)(cause & 32 ? "t/a.py" : ""),
                            .text = (char *)(cause & 16 ? "no room" : ""),
                            .phase = where >> 4 & 3,
                            .cause = 1 + cause % 7,
                            .culprit = cause & 128 ? PT_NONE : (uint32_t)(where >> 6) % s.of};
        check(pt_ranks_fall_report(&m, &of, &out, &err), &out, &err, &of, s.of);
        pt_ranks_fall_words(&m, line, sizeof(line));
        FUZZ_CHECK(line[0] && !strchr(line, '\n'));
    } else {
        struct pt_ranks m = {.of = s.of, .words = s.words, .test = 7};
        check(pt_ranks_report(&m, &of, &out, &err), &out, &err, &of, s.of);
    }
    for (uint32_t i = 0; i < MOST; i++)
        pt_buf_fini(&s.frames[i]);
    pt_buf_fini(&out);
}
