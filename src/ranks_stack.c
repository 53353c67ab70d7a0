/* SPDX-License-Identifier: Apache-2.0 */
#include "ranks_inside.h"

#include <stdlib.h>
#include <string.h>

/* A native frame, as eu-stack and gdb number them. */
static bool is_frame(const char *line)
{
    return line[0] == '#' && line[1] >= '0' && line[1] <= '9';
}

static size_t line_length(const char *line)
{
    size_t n = strcspn(line, "\n");
    return n + (line[n] == '\n');
}

static bool is_python(const char *line, size_t n)
{
    static const char *const names[] = {"_PyEval_EvalFrameDefault", "PyObject_Vectorcall",
                                        "_PyObject_MakeTpCall"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (memmem(line, n, names[i], strlen(names[i])))
            return true;
    return false;
}

char *pt_ranks_stack(const char *stack)
{
    struct pt_buf out = {0};
    unsigned skipped = 0;
    bool below = false;
    for (const char *line = stack ? stack : "", *next;; line = next) {
        size_t n = line_length(line);
        next = line + n;
        if (below && n && is_frame(line)) {
            skipped++;
            continue;
        }
        if (skipped)
            pt_buf_format(&out, "... %u frames of Python\n", skipped);
        skipped = 0;
        below = n && is_frame(line) && is_python(line, n);
        pt_buf_append(&out, line, n);
        if (n == 0)
            break;
    }
    pt_buf_append(&out, "", 1);
    if (!out.bad)
        return (char *)out.data;
    pt_buf_fini(&out);
    return NULL;
}
