/* SPDX-License-Identifier: Apache-2.0 */
#include "interned.h"

#include "common/message.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a, 32 bits. */
static uint32_t hash(const char *s)
{
    uint32_t h = 2166136261u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

static uint32_t *slot_of(const struct pt_interned *t, const char *text)
{
    uint32_t i = hash(text) & (t->nslots - 1);
    while (t->slots[i] && strcmp(t->text[t->slots[i] - 1], text) != 0)
        i = (i + 1) & (t->nslots - 1);
    return &t->slots[i];
}

uint32_t pt_interned_find(const struct pt_interned *t, const char *text)
{
    return t->nslots ? *slot_of(t, text) - 1 : PT_NONE; /* 0 - 1 is PT_NONE */
}

static int grow(struct pt_interned *t)
{
    uint32_t n = t->nslots ? t->nslots * 2 : 64;
    char **text = realloc(t->text, n / 2 * sizeof(*text));
    if (text)
        t->text = text;
    uint32_t *slots = text ? calloc(n, sizeof(*slots)) : NULL;
    if (!slots)
        return -1;
    free(t->slots);
    t->slots = slots;
    t->nslots = n;
    t->cap = n / 2;
    for (uint32_t i = 0; i < t->n; i++)
        *slot_of(t, t->text[i]) = i + 1;
    return 0;
}

uint32_t pt_interned_add(struct pt_interned *t, const char *text)
{
    if (t->n == t->cap && grow(t) < 0)
        return PT_NONE;
    uint32_t *slot = slot_of(t, text);
    if (*slot)
        return *slot - 1;
    char *copy = strdup(text);
    if (!copy)
        return PT_NONE;
    t->text[t->n++] = copy;
    *slot = t->n;
    return t->n - 1;
}

void pt_interned_fini(struct pt_interned *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        free(t->text[i]);
    free(t->text);
    free(t->slots);
    *t = (struct pt_interned){0};
}
