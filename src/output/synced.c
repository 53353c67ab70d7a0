/* SPDX-License-Identifier: Apache-2.0 */
#include "output/synced.h"

#include <stdarg.h>
#include <stdio.h>

void pt_bytes_words(uint64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"KB", "MB", "GB", "TB"};
    double v = (double)bytes / 1000;
    unsigned unit = 0;
    if (bytes < 1000) {
        snprintf(out, size, "%u byte%s", (unsigned)bytes, bytes == 1 ? "" : "s");
        return;
    }
    for (; v >= 999.95 && unit < 3; unit++)
        v /= 1000;
    snprintf(out, size, "%.1f %s", v, units[unit]);
}

/* Append, as far as there is room. */
static void put(char *out, size_t size, size_t *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void put(char *out, size_t size, size_t *at, const char *fmt, ...)
{
    va_list ap;
    if (*at >= size)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(out + *at, size - *at, fmt, ap);
    va_end(ap);
    *at += n > 0 ? (size_t)n : 0;
}

void pt_synced_words(const struct pt_synced_words *w, char *out, size_t size)
{
    char wire[32], sent[32], reused[32];
    size_t at = 0;
    pt_bytes_words(w->wire, wire, sizeof(wire));
    pt_bytes_words(w->bytes_sent, sent, sizeof(sent));
    pt_bytes_words(w->bytes_reused, reused, sizeof(reused));
    if (w->files_sent)
        put(out, size, &at, "%llu file%s sent (%s, %s on the wire)", (unsigned long long)w->files_sent,
            w->files_sent == 1 ? "" : "s", sent, wire);
    else
        put(out, size, &at, "no file sent (%s on the wire)", wire);
    if (w->files_reused)
        put(out, size, &at, ", %llu reused (%s)", (unsigned long long)w->files_reused, reused);
    if (w->removed)
        put(out, size, &at, ", %llu removed", (unsigned long long)w->removed);
    put(out, size, &at, ", in %.2f s", w->seconds);
}
