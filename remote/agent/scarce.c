/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/scarce.h"

#include "common/auto.h"
#include "common/err.h"
#include "remote/agent/rundir.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#define MIB (1024ull * 1024)

/* Below `enough` it is worth telling. */
static const struct {
    int resource;
    rlim_t enough, unit;
    const char *what, *ulimit;
} limits[] = {
    {RLIMIT_AS, 1024 * MIB, MIB, "MiB of memory", "-v"},
    {RLIMIT_DATA, 256 * MIB, MIB, "MiB of memory", "-d"},
    {RLIMIT_NOFILE, 128, 1, "open files", "-n"},
    {RLIMIT_NPROC, 256, 1, "processes", "-u"},
    {RLIMIT_FSIZE, 64 * MIB, MIB, "MiB in a file", "-f"},
};

static int look_at_limits(struct pt_err *err)
{
    struct rlimit has;
    for (size_t i = 0; i < PT_COUNT(limits); i++) {
        if (getrlimit((__rlimit_resource_t)limits[i].resource, &has) < 0 || has.rlim_cur >= limits[i].enough)
            continue;
        if (limits[i].resource == RLIMIT_NPROC && geteuid() == 0) /* it does not bind root */
            continue;
        pt_err_set_kind(err, PT_ERR_INFRA, "this login may have only %llu %s",
                        (unsigned long long)(has.rlim_cur / limits[i].unit), limits[i].what);
        return pt_err_hint(err, "allow more there (ulimit %s)", limits[i].ulimit);
    }
    return 0;
}

static int look_at_room(const char *path, struct pt_err *err)
{
    struct statvfs vfs;
    if (!path || statvfs(path, &vfs) < 0 || (unsigned long long)vfs.f_bavail * vfs.f_frsize >= MIB)
        return 0;
    pt_err_set_kind(err, PT_ERR_INFRA, "the file system of %s is full", path);
    return pt_err_hint(err, "make room there");
}

static int look_at_memory(struct pt_err *err)
{
    unsigned long long kib = 0;
    char line[128];
    bool known = false;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && !known && fgets(line, sizeof(line), f))
        known = sscanf(line, "MemAvailable: %llu", &kib) == 1;
    if (f)
        fclose(f);
    if (!known || kib >= 64 * 1024)
        return 0;
    pt_err_set_kind(err, PT_ERR_INFRA, "only %llu MiB of memory are free", kib / 1024);
    return pt_err_hint(err, "free memory there, or give the host fewer slots");
}

int pt_scarce(const struct pt_rundir *dir, struct pt_err *err)
{
    if (look_at_limits(err) < 0 || look_at_room(dir->path, err) < 0 || look_at_room(dir->shm, err) < 0)
        return -1;
    return look_at_memory(err);
}
