/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/words.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void pt_words_fini(struct pt_words *words)
{
    for (size_t i = 0; i < words->n; i++)
        free(words->v[i]);
    free(words->v);
    *words = (struct pt_words){0};
}

/* Takes word. */
static void put(struct pt_words *words, char *word)
{
    if (word && words->n + 2 > words->cap) {
        size_t cap = words->cap ? words->cap * 2 : 64;
        char **v = realloc(words->v, cap * sizeof(*v));
        if (v) {
            words->v = v;
            words->cap = cap;
        } else {
            free(pt_steal_ptr(&word));
        }
    }
    if (!word) {
        words->bad = true;
        return;
    }
    words->v[words->n++] = word;
    words->v[words->n] = NULL;
}

void pt_words_add(struct pt_words *words, const char *word)
{
    put(words, strdup(word));
}

void pt_words_addf(struct pt_words *words, const char *fmt, ...)
{
    char *word = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&word, fmt, args) < 0)
        word = NULL;
    va_end(args);
    put(words, word);
}

/* --- a line --- */

/* What stands between quotes; p after the first. Gives where the other one is, NULL: refused. */
static const char *take_quoted(const char *p, char quote, struct pt_buf *word)
{
    for (; *p && *p != quote; p++) {
        if (quote == '"' && (*p == '$' || *p == '`'))
            return NULL;
        if (quote == '"' && *p == '\\' && p[1] && strchr("$`\"\\", p[1]))
            p++;
        pt_put_u8(word, (uint8_t)*p);
    }
    return *p == quote ? p : NULL;
}

/* From p to the end of the word; NULL: refused. */
static const char *take_word(const char *p, struct pt_buf *word)
{
    for (; *p && !strchr(" \t", *p); p++) {
        if (*p == '\'' || *p == '"') {
            if (!(p = take_quoted(p + 1, *p, word)))
                return NULL;
            continue;
        }
        if (strchr("$`;|&<>()*?[]{}~#!\n\r", *p))
            return NULL;
        if (*p == '\\' && (!*++p || *p == '\n'))
            return NULL;
        pt_put_u8(word, (uint8_t)*p);
    }
    return p;
}

int pt_words_split(struct pt_words *words, const char *line, struct pt_err *err)
{
    for (const char *p = line + strspn(line, " \t"); *p; p += strspn(p, " \t")) {
        struct pt_buf word = {0};
        const char *end = take_word(p, &word);
        pt_put_u8(&word, 0);
        if (end && !word.bad)
            pt_words_add(words, (char *)word.data);
        words->bad |= word.bad;
        pt_buf_fini(&word);
        if (!end)
            return pt_err_set(err, "not plain words from here on: %.80s", p);
        p = end;
    }
    return words->bad ? pt_err_set(err, "out of memory") : 0;
}
