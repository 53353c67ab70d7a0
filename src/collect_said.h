/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What collectors said, for the sake of one that starts anew and says it again. */
#include <stdbool.h>
#include <stddef.h>

struct pt_said {
    struct pt_said_line *line; /* by all collectors, in order */
    size_t n, cap, next_again, nagain;
};

/* Takes key (heap), which may be NULL. Whether an earlier collector said it too; -1 when memory ends. */
int pt_said_now(struct pt_said *s, char *key);
/* A collector starts anew: all that was said will be said again. */
void pt_said_expect_again(struct pt_said *s);
void pt_said_fini(struct pt_said *s);
