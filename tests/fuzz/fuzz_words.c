/* SPDX-License-Identifier: Apache-2.0 */
/* A line of mpirun, parted without a shell: its words, quoted, are the same words again. */
#include "remote/agent/words.c"

#include "common/quote.h"
#include "fuzz.h"

static void check(const struct pt_words *words)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_words again = {0};
    struct pt_buf line = {0};
    for (size_t i = 0; i < words->n; i++) {
        pt_quote_sh(&line, words->v[i]);
        pt_buf_append(&line, " \t", 2);
    }
    pt_buf_append(&line, "", 1);
    FUZZ_CHECK(pt_words_split(&again, (char *)line.data, &err) == 0 && again.n == words->n);
    for (size_t i = 0; i < words->n; i++)
        FUZZ_CHECK(strcmp(words->v[i], again.v[i]) == 0);
    FUZZ_CHECK(words->n == 0 || !words->v[words->n]);
    pt_words_fini(&again);
    pt_buf_fini(&line);
}

/* Made safe to print, it is: no byte that a terminal obeys. */
static void print(const uint8_t *data, size_t size)
{
    struct pt_buf b = {0};
    uint32_t cp;
    pt_quote_print(&b, (const char *)data, size, size % 2);
    for (size_t at = 0, n; at < b.len && !b.bad; at += n) {
        n = pt_utf8_next(b.data + at, b.len - at, &cp);
        FUZZ_CHECK(n > 0 && (cp >= 0x20 || (size % 2 && (cp == '\n' || cp == '\t'))) && cp != 0x7f &&
                   cp != 0x202e);
    }
    pt_buf_fini(&b);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    struct pt_words words = {0};
    char *line = fuzz_text(&in);
    int rc = pt_words_split(&words, line, &err);
    FUZZ_CHECK(rc == 0 || err.msg[0]);
    pt_words_addf(&words, "%s", "last");
    if (rc == 0 && !words.bad) {
        fuzz_feed();
        check(&words);
    }
    print(data, size);
    pt_words_fini(&words);
    free(line);
}
