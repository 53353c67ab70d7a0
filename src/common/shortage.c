/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shortage.h"

#include "common/auto.h"
#include "common/err.h"

#include <string.h>

#define PROCESSES "end processes of that user, or allow more (ulimit -u)"
#define MEMORY    "free memory, or allow more (ulimit -v)"
#define ROOM      "make room on that disk"

static const struct {
    const char *words, *next;
} shortages[] = {
    {"Too many open files", "allow more open files (ulimit -n)"},
    {"Cannot fork", PROCESSES},
    {"Resource temporarily unavailable", PROCESSES},
    {"Cannot allocate memory", MEMORY},
    {"out of memory", MEMORY},
    {"MemoryError", MEMORY},
    {"failed to map segment", MEMORY},
    {"No space left on device", ROOM},
    {"Disk quota exceeded", ROOM},
};

const char *pt_shortage_next(const char *text)
{
    for (size_t i = 0; i < PT_COUNT(shortages); i++)
        if (strstr(text, shortages[i].words))
            return shortages[i].next;
    return NULL;
}

int pt_shortage_hint(struct pt_err *err)
{
    const char *next = err ? pt_shortage_next(err->msg) : NULL;
    if (!next)
        return -1;
    if (err->kind == PT_ERR_INTERNAL)
        err->kind = PT_ERR_INFRA;
    return err->hint[0] ? -1 : pt_err_hint(err, "%s", next);
}
