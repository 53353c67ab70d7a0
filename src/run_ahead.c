/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts do before it is needed, as the run before had it: modules they import, sizes of MPI tests they
 * start groups for. Wanted before the ledger is open, or before the tests are collected: files of their own.
 */
#include "run_parts.h"

#include "common/auto.h"
#include "common/log.h"
#include "output/atomic.h"
#include "whole_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PRELOAD_MAX 4096
#define SIZES_TEXT  8192

/* --- files --- */

/* Text (heap) of STATE/name; "" where it has any other bytes than these, or more than max. NULL: no memory.
 */
static char *read_text(const struct pt_run *run, const char *name, const char *good, size_t max)
{
    struct pt_buf text = {0};
    struct pt_err err = PT_ERR_INIT;
    pt_auto_free char *path = NULL;
    if (asprintf(&path, "%s/%s", run->state_dir, name) < 0)
        return NULL;
    if (pt_whole_file(path, max, &text, &err) != 0)
        pt_buf_clear(&text);
    pt_buf_append(&text, "", 1);
    if (text.bad || strspn((char *)text.data, good) != text.len - 1)
        pt_buf_fini(&text);
    return text.data ? (char *)text.data : strdup("");
}

static void write_text(const struct pt_run *run, const char *name, const char *text)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_atomic file;
    pt_auto_free char *path = NULL;
    if (asprintf(&path, "%s/%s", run->state_dir, name) < 0 || pt_atomic_init(&file, path, &err) < 0)
        return;
    fputs(text, file.file);
    if (pt_atomic_finish(&file, &err) < 0)
        pt_debug("%s", err.msg);
}

static void remove_text(const struct pt_run *run, const char *name)
{
    pt_auto_free char *path = NULL;
    if (asprintf(&path, "%s/%s", run->state_dir, name) >= 0 && unlink(path) < 0 && errno != ENOENT)
        pt_debug("%s: %s", path, strerror(errno));
}

/* --- modules --- */

char *pt_run_preload(const struct pt_run *run)
{
    const char *given = run->opts->preload ? run->opts->preload : "auto";
    if (strcmp(given, "none") == 0)
        return strdup("");
    if (strcmp(given, "auto") != 0)
        return strdup(given);
    return read_text(run, "preload", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,",
                     PRELOAD_MAX - 1);
}

/* --- sizes --- */

static void add_size(struct pt_run_sizes *sizes, uint32_t ranks)
{
    for (uint32_t i = 0; i < sizes->n; i++)
        if (sizes->ranks[i] == ranks)
            return;
    if (sizes->n < PT_SIZES_MAX)
        sizes->ranks[sizes->n++] = ranks;
}

void pt_run_ahead_begin(struct pt_run *run)
{
    pt_auto_free char *text = read_text(run, "sizes", "0123456789\n", SIZES_TEXT);
    for (char *line = text, *end; line && *line; line = end) {
        unsigned long ranks = strtoul(line, &end, 10);
        if (ranks >= 2 && ranks <= PT_RANKS_MAX)
            add_size(&run->sizes_before, (uint32_t)ranks);
        end += *end == '\n';
        if (end == line)
            break;
    }
}

static bool has_size(const struct pt_size *list, uint32_t n, uint32_t ranks)
{
    for (uint32_t i = 0; i < n; i++)
        if (list[i].ranks == ranks)
            return true;
    return false;
}

/* The greatest first. */
static uint32_t put_size(struct pt_size *list, uint32_t n, uint32_t ranks)
{
    uint32_t at = 0;
    while (at < n && list[at].ranks > ranks)
        at++;
    memmove(&list[at + 1], &list[at], (n - at) * sizeof(*list));
    list[at] = (struct pt_size){.ranks = ranks, .tests = 1};
    return n + 1;
}

void pt_run_ahead_saw(struct pt_run *run, uint32_t ranks)
{
    if (ranks >= 2 && ranks <= PT_RANKS_MAX)
        add_size(&run->sizes_seen, ranks);
}

uint32_t pt_run_ahead_sizes(const struct pt_run *run, uint32_t slots, struct pt_size *list, uint32_t n)
{
    for (uint32_t i = 0; !run->collected && i < run->sizes_before.n && n < PT_SIZES_MAX; i++) {
        uint32_t ranks = run->sizes_before.ranks[i];
        if (ranks <= slots && !has_size(list, n, ranks))
            n = put_size(list, n, ranks);
    }
    return n;
}

static void keep_sizes(const struct pt_run *run)
{
    const struct pt_run_sizes *sizes = &run->sizes_seen;
    char text[SIZES_TEXT] = "";
    size_t len = 0;
    if (!run->collected)
        return;
    for (uint32_t i = 0; i < sizes->n; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%u\n", sizes->ranks[i]);
    if (len)
        write_text(run, "sizes", text);
    else
        remove_text(run, "sizes");
}

/* --- for the next run --- */

void pt_run_ahead_keep(const struct pt_run *run)
{
    pt_auto_free char *modules = pt_history_preload(run->history);
    if (modules)
        write_text(run, "preload", modules);
    keep_sizes(run);
}
