/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The words of a command as a value, and how a line is parted into them without a shell. */
#include <stdbool.h>
#include <stddef.h>

struct pt_err;

/* v is NULL-terminated once something was added, and may be given to execve. Zero-initialise; `bad` once
 * memory ended. */
struct pt_words {
    char **v;
    size_t n, cap;
    bool bad;
};

void pt_words_fini(struct pt_words *words);
void pt_words_add(struct pt_words *words, const char *word);
void pt_words_addf(struct pt_words *words, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds the words of line as a POSIX shell parts it: blanks, '...', "...", backslash. Whatever else means
 * something to a shell where it stands is refused. */
int pt_words_split(struct pt_words *words, const char *line, struct pt_err *err);
