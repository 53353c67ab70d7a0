/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Strings, each kept once and numbered as they come. Zero-initialise. */
#include <stdint.h>

struct pt_interned {
    char **text;
    uint32_t n, cap;
    uint32_t *slots; /* open addressing: number + 1, 0 is free */
    uint32_t nslots;
};
/* Its number, added when new; PT_NONE when memory ends. */
uint32_t pt_interned_add(struct pt_interned *t, const char *text);
/* PT_NONE when it is not there. */
uint32_t pt_interned_find(const struct pt_interned *t, const char *text);
void pt_interned_fini(struct pt_interned *t);
