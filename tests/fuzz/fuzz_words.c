/* SPDX-License-Identifier: Apache-2.0 */
/* A line of mpirun, parted without a shell: its words, quoted, are the same words again. */
#include "remote/agent/words.c"

#include "common/quote.h"
#include "fuzz.h"

/* As one word for a person to copy, it is that one word. */
static void copy(const char *word)
{
    for (int bare = 0; bare < 2; bare++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_words again = {0};
        char *quoted = pt_quoted(word, bare);
        if (quoted)
            FUZZ_CHECK(pt_words_split(&again, quoted, &err) == 0 && again.n == 1 &&
                       strcmp(again.v[0], word) == 0);
        pt_words_fini(&again);
        free(quoted);
    }
}

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
    for (size_t i = 0; i < words->n; i++)
        copy(words->v[i]);
    FUZZ_CHECK(words->n == 0 || !words->v[words->n]);
    pt_words_fini(&again);
    pt_buf_fini(&line);
}

/* Without its NULs it is a string of all the rest. */
static void without_nuls(const uint8_t *data, size_t size)
{
    size_t nuls = 0;
    for (size_t i = 0; i < size; i++)
        nuls += data[i] == 0;
    char *text = pt_quote_nuls(data, size);
    FUZZ_CHECK(!text || strlen(text) == size + 3 * nuls);
    free(text);
}

static void validate(const uint8_t *data, size_t size)
{
    uint32_t cp;
    size_t at = 0, n;
    while (at < size && (n = pt_utf8_next(data + at, size - at, &cp)) > 0)
        at += n;
    FUZZ_CHECK(pt_utf8_valid(data, size) == (at == size));
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
    without_nuls(data, size);
    validate(data, size);
    pt_words_fini(&words);
    free(line);
}
