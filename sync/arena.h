/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Memory that is given back all at once. Zero-initialise. */
#include <stddef.h>

struct pt_arena {
    struct pt_arena_block *block;
};

void pt_arena_fini(struct pt_arena *a);
/* Room for n bytes, at a multiple of align; NULL when memory ends. */
void *pt_arena_take(struct pt_arena *a, size_t n, size_t align);
/* Give back the last n bytes that were taken. */
void pt_arena_untake(struct pt_arena *a, size_t n);
