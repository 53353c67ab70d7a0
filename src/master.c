/* SPDX-License-Identifier: Apache-2.0 */
#include "master.h"

#include "common/auto.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_MAX_ 128
#define START     20 /* words of /proc/PID/stat behind the name: the 20th is when it started */

/* -1 with errno. */
static int first_line(const char *path, char *out, size_t size)
{
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return n < 0 ? -1 : 0;
}

#define NOT_KNOWN UINT64_MAX

/* In ticks since the boot; 0: there is no such process, or it has ended; NOT_KNOWN. */
static uint64_t started(long pid)
{
    char path[48], stat[1024];
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    if (first_line(path, stat, sizeof(stat)) < 0)
        return errno == ENOENT || errno == ESRCH ? 0 : NOT_KNOWN;
    char *word = strrchr(stat, ')'); /* the name may hold anything */
    if (!word || strchr("ZX", word[1] ? word[2] : 'X'))
        return 0;
    for (int i = 0; i < START && word; i++)
        word = strchr(word + 1, ' ');
    return word ? strtoull(word, NULL, 10) : 0;
}

static void where(char *host, char *boot)
{
    if (gethostname(host, NAME_MAX_) < 0)
        host[0] = '\0';
    host[NAME_MAX_ - 1] = '\0';
    if (first_line("/proc/sys/kernel/random/boot_id", boot, NAME_MAX_) < 0)
        boot[0] = '\0';
}

void pt_master_self(char out[PT_MASTER_MAX])
{
    char host[NAME_MAX_], boot[NAME_MAX_];
    where(host, boot);
    snprintf(out, PT_MASTER_MAX, "%s %s %ld %llu", host[0] ? host : "?", boot[0] ? boot : "?", (long)getpid(),
             (unsigned long long)started(getpid()));
}

void pt_master_who(char out[PT_MASTER_WHO])
{
    char host[NAME_MAX_], text[1024];
    struct passwd pw, *found = NULL;
    if (gethostname(host, sizeof(host)) < 0)
        host[0] = '\0';
    host[sizeof(host) - 1] = '\0';
    host[strcspn(host, ".")] = '\0';
    if (getpwuid_r(geteuid(), &pw, text, sizeof(text), &found) != 0)
        found = NULL;
    if (found)
        snprintf(out, PT_MASTER_WHO, "%.60s@%.60s", found->pw_name, host[0] ? host : "?");
    else
        snprintf(out, PT_MASTER_WHO, "%u@%.60s", (unsigned)geteuid(), host[0] ? host : "?");
}

enum pt_master_state pt_master_state(const char *word, long *pid)
{
    char host[NAME_MAX_], boot[NAME_MAX_], its_host[NAME_MAX_], its_boot[NAME_MAX_];
    long its_pid;
    unsigned long long start;
    where(host, boot);
    if (!word || sscanf(word, "%127s %127s %ld %llu", its_host, its_boot, &its_pid, &start) != 4 ||
        strcmp(host, its_host) != 0)
        return PT_MASTER_UNKNOWN;
    if (!boot[0] && its_boot[0] != '?') /* as descriptors or memory ran out */
        return PT_MASTER_UNKNOWN;
    if (strcmp(boot[0] ? boot : "?", its_boot) != 0 || its_pid <= 0)
        return PT_MASTER_GONE;
    uint64_t now = started(its_pid);
    if (now == NOT_KNOWN)
        return PT_MASTER_UNKNOWN;
    if (now != start || start == 0)
        return PT_MASTER_GONE;
    if (pid)
        *pid = its_pid;
    return PT_MASTER_HERE;
}
