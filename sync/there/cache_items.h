/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a cache holds, as things that go or stay whole. Shared by cache*.c only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pt_cache_kind {
    PT_CACHE_WORKSPACE, /* ws/MACHINE/PROJECT */
    PT_CACHE_FOLDER,    /* bin/DIGEST, python/DIGEST, pycache/PROJECT-HASH */
    PT_CACHE_STORE,     /* store/ALGORITHM */
    PT_CACHE_PACK,      /* store/ALGORITHM/NAME.pack, with its index */
};

struct pt_cache_item {
    char *path; /* below the cache */
    enum pt_cache_kind kind;
    int64_t used_ns; /* when it was used last, by the clock of the cache's file system */
    uint64_t bytes;
};

struct pt_cache_items {
    struct pt_cache_item *v;
    size_t n, cap;
    uint64_t bytes; /* of all */
};

/* Stores as one thing each, or by their packs. -1 when memory ends. Fini in any case. */
int pt_cache_list(struct pt_cache_items *items, int cache, bool packs);
void pt_cache_items_fini(struct pt_cache_items *items);
/* What was used last longest ago comes first. */
void pt_cache_items_sort(struct pt_cache_items *items);
