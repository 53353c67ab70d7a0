/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Text for other eyes: the one place that quotes for a shell, and the one that makes bytes safe to print. */
#include <stddef.h>
#include <stdint.h>

struct pt_buf;

/* Append s as one word of a POSIX shell: always inside '...', each ' as '\''. */
void pt_quote_sh(struct pt_buf *out, const char *s);
/* Append n bytes of s for a terminal: control characters, broken UTF-8 and bidirectional controls become
 * visible escapes (\x1b, \u202e); newline and tab pass when `lines` is not 0. */
void pt_quote_print(struct pt_buf *out, const char *s, size_t n, int lines);
/* Length of the valid UTF-8 sequence at text[0..n), n > 0 (RFC 3629), its code point in *cp; 0 when broken.
 */
size_t pt_utf8_next(const void *text, size_t n, uint32_t *cp);
