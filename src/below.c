/* SPDX-License-Identifier: Apache-2.0 */
#include "below.h"

#include "common/auto.h"

#include <stdbool.h>
#include <string.h>

char *pt_below(const char *top, const char *path)
{
    pt_auto_free char *from = realpath(top, NULL), *there = realpath(path, NULL);
    size_t n = from && strcmp(from, "/") != 0 ? strlen(from) : 0;
    bool below = from && there && strncmp(there, from, n) == 0 && there[n] == '/' && there[n + 1];
    return below ? strdup(there + n + 1) : NULL;
}
