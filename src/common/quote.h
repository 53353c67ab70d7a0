/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Text for other eyes: the one place that quotes for a shell, and the one that makes bytes safe to print. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_buf;

/* Append s as one word of a POSIX shell: always inside '...', each ' as '\''. */
void pt_quote_sh(struct pt_buf *out, const char *s);
/* The same for a command that a person may copy; `bare`: without '...' where no shell minds. Heap; NULL: no
 * memory. */
char *pt_quoted(const char *s, bool bare);
/* Append n bytes of s for a terminal: control characters, broken UTF-8 and bidirectional controls become
 * visible escapes (\x1b, \u202e); newline and tab pass when `lines` is not 0. */
void pt_quote_print(struct pt_buf *out, const char *s, size_t n, int lines);
/* A string of n bytes that may hold NULs: each becomes the text \x00, all else stays. Heap; NULL: no memory.
 */
char *pt_quote_nuls(const void *bytes, size_t n);
/* pt_quote_print's text as one line into `size` bytes with a NUL, as far as whole characters and escapes fit;
 * `s` may hold what this gave before. Needs no memory, keeps errno. */
void pt_quote_fit(char *out, size_t size, const char *s);
/* Length of the valid UTF-8 sequence at text[0..n), n > 0 (RFC 3629), its code point in *cp; 0 when broken.
 */
size_t pt_utf8_next(const void *text, size_t n, uint32_t *cp);
bool pt_utf8_valid(const void *text, size_t n);
