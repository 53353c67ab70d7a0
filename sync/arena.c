/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/arena.h"

#include <stdlib.h>

#define BLOCK_SIZE (64u << 10)

struct pt_arena_block {
    struct pt_arena_block *next;
    size_t used, size;
    _Alignas(8) char data[];
};

void pt_arena_fini(struct pt_arena *a)
{
    for (struct pt_arena_block *b = a->block, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->block = NULL;
}

void *pt_arena_take(struct pt_arena *a, size_t n, size_t align)
{
    struct pt_arena_block *b = a->block;
    size_t from = b ? (b->used + align - 1) & ~(align - 1) : 0;
    if (!b || from > b->size || b->size - from < n) {
        size_t size = n > BLOCK_SIZE ? n : BLOCK_SIZE;
        b = malloc(sizeof(*b) + size);
        if (!b)
            return NULL;
        *b = (struct pt_arena_block){.next = a->block, .size = size};
        a->block = b;
        from = 0;
    }
    b->used = from + n;
    return b->data + from;
}

void pt_arena_untake(struct pt_arena *a, size_t n)
{
    a->block->used -= n;
}
