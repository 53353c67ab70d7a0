/* SPDX-License-Identifier: Apache-2.0 */
#include "collect_said.h"

#include <stdlib.h>
#include <string.h>

struct pt_said_line {
    char *key;
    bool again; /* by an earlier collector, and not yet by this one */
};

/* Collectors say the same in the same order, so the search goes on where the last one ended. */
static bool said_before(struct pt_said *s, const char *key)
{
    for (size_t k = 0; s->nagain && k < s->n; k++) {
        size_t i = (s->next_again + k) % s->n;
        if (!s->line[i].again || strcmp(s->line[i].key, key) != 0)
            continue;
        s->line[i].again = false;
        s->nagain--;
        s->next_again = i + 1;
        return true;
    }
    return false;
}

static int remember(struct pt_said *s, char *key)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        struct pt_said_line *grown = realloc(s->line, cap * sizeof(*grown));
        if (!grown)
            return -1;
        s->line = grown;
        s->cap = cap;
    }
    s->line[s->n++] = (struct pt_said_line){.key = key};
    return 0;
}

int pt_said_now(struct pt_said *s, char *key)
{
    int before = key && said_before(s, key);
    if (before || !key || remember(s, key) < 0)
        free(key);
    else
        return 0;
    return before ? 1 : -1;
}

void pt_said_expect_again(struct pt_said *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->line[i].again = true;
    s->nagain = s->n;
    s->next_again = 0;
}

void pt_said_fini(struct pt_said *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->line[i].key);
    free(s->line);
    *s = (struct pt_said){0};
}
