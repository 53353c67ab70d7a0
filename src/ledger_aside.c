/* SPDX-License-Identifier: Apache-2.0 */
/* A damaged file is put beside where it was, with all that belongs to it, and never removed. */
#include "common/auto.h"
#include "common/err.h"
#include "ledger_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const char *const parts[] = {"", "-wal", "-shm", "-journal"};

void pt_ledger_remember_file(struct pt_ledger *l)
{
    struct stat st;
    l->inode = stat(l->path, &st) == 0 ? st.st_ino : 0;
}

bool pt_ledger_is_rest(const struct pt_ledger *l)
{
    struct stat st;
    bool empty = stat(l->path, &st) < 0 ? errno == ENOENT : st.st_size == 0;
    pt_auto_free char *log = NULL;
    return empty && asprintf(&log, "%s-wal", l->path) >= 0 && stat(log, &st) == 0 && st.st_size > 0;
}

/* PATH.damaged-20261122-181530, or with -2 and so on behind it; heap. */
static char *free_name(const struct pt_ledger *l)
{
    char when[32], more[16] = "";
    struct tm tm;
    time_t now = time(NULL);
    localtime_r(&now, &tm);
    strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &tm);
    for (int n = 2; n < 10000; n++) {
        bool taken = false;
        char *name = NULL;
        if (asprintf(&name, "%s.damaged-%s%s", l->path, when, more) < 0)
            return NULL;
        for (size_t i = 0; i < PT_COUNT(parts) && !taken; i++) {
            pt_auto_free char *part = NULL;
            taken = asprintf(&part, "%s%s", name, parts[i]) >= 0 && access(part, F_OK) == 0;
        }
        if (!taken)
            return name;
        free(name);
        snprintf(more, sizeof(more), "-%d", n);
    }
    return NULL;
}

int pt_ledger_set_aside(struct pt_ledger *l, struct pt_err *err)
{
    struct stat st;
    if (l->inode && stat(l->path, &st) == 0 && st.st_ino != l->inode)
        return 0; /* another process was quicker */
    pt_auto_free char *aside = free_name(l);
    if (!aside)
        return pt_err_set(err, "ledger %s: out of memory", l->path);
    for (size_t i = 0; i < PT_COUNT(parts); i++) {
        pt_auto_free char *from = NULL;
        pt_auto_free char *to = NULL;
        if (asprintf(&from, "%s%s", l->path, parts[i]) < 0 || asprintf(&to, "%s%s", aside, parts[i]) < 0)
            return pt_err_set(err, "ledger %s: out of memory", l->path);
        if (rename(from, to) < 0 && errno != ENOENT) {
            pt_err_set_kind(err, PT_ERR_INFRA, "the ledger %s is damaged and cannot be set aside: %s",
                            l->path, strerror(errno));
            return pt_err_hint(err, "move it away, or keep the record elsewhere with --state-dir DIR");
        }
    }
    snprintf(l->note, sizeof(l->note), "the ledger %s was damaged: set aside as %s, history begins anew",
             l->path, aside);
    return 0;
}
