/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/memory.h"

#include "common/auto.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MAX_PROCESSES 2048
#define MAX_THREADS   8192  /* that are asked for their children, in all */
#define MAX_ALL       32768 /* processes of the machine, where threads do not list their children */

struct tree {
    pid_t pids[MAX_PROCESSES];
    size_t n;
};

/* A small file of /proc as a string; what is longer is cut. Bytes read, -1 when there is none. */
static ssize_t read_small(const char *path, char *text, size_t size)
{
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1, got = 0;
    while (n > 0 && got < (ssize_t)size - 1)
        if ((n = read(fd, text + got, size - 1 - (size_t)got)) > 0)
            got += n;
    text[got] = '\0';
    return n < 0 ? -1 : got;
}

/* The number after `name` at the start of a line; 0 when there is no such line. */
static uint64_t find_number(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0)
            return strtoull(line + len, NULL, 10);
    }
    return 0;
}

/* One that got another parent meanwhile may come twice. */
static void add(struct tree *tree, long pid)
{
    for (size_t i = 0; i < tree->n; i++)
        if (tree->pids[i] == pid)
            return;
    if (pid > 1 && tree->n < MAX_PROCESSES)
        tree->pids[tree->n++] = (pid_t)pid;
}

/* Children belong to the thread that forked them. */
static void add_children(struct tree *tree, pid_t pid, unsigned *threads)
{
    char path[96], text[16384];
    struct dirent *entry;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    while (dir && *threads && (entry = readdir(dir))) {
        long tid = strtol(entry->d_name, NULL, 10);
        snprintf(path, sizeof(path), "/proc/%d/task/%ld/children", (int)pid, tid);
        if (tid <= 0 || read_small(path, text, sizeof(text)) < 0)
            continue;
        --*threads;
        for (char *at = text, *end; strtol(at, &end, 10) > 0; at = end)
            add(tree, strtol(at, NULL, 10));
    }
    if (dir)
        closedir(dir);
}

static long parent_of(long pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    const char *name_end = read_small(path, text, sizeof(text)) > 0 ? strrchr(text, ')') : NULL;
    return name_end && strlen(name_end) > 4 ? strtol(name_end + 4, NULL, 10) : 0;
}

/* Everything below the first of the tree, from a list of all there are. */
static void add_by_parents(struct tree *tree)
{
    pid_t(*all)[2] = calloc(MAX_ALL, sizeof(*all));
    DIR *dir = all ? opendir("/proc") : NULL;
    struct dirent *entry;
    size_t n = 0;
    while (dir && n < MAX_ALL && (entry = readdir(dir))) {
        long pid = strtol(entry->d_name, NULL, 10);
        if (pid <= 0)
            continue;
        all[n][0] = (pid_t)pid;
        all[n++][1] = (pid_t)parent_of(pid);
    }
    for (size_t i = 0; i < tree->n; i++)
        for (size_t k = 0; k < n; k++)
            if (all[k][1] == tree->pids[i])
                add(tree, all[k][0]);
    if (dir)
        closedir(dir);
    free(all);
}

static uint64_t resident(pid_t pid)
{
    char path[64], text[256];
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    const char *second = read_small(path, text, sizeof(text)) > 0 ? strchr(text, ' ') : NULL;
    return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t proportional(pid_t pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    uint64_t kib = read_small(path, text, sizeof(text)) > 0 ? find_number(text, "Pss:") : 0;
    return kib ? kib * 1024 : resident(pid);
}

uint64_t pt_memory_of_tree(pid_t pid, uint64_t above)
{
    struct tree tree = {.n = 0};
    unsigned threads = MAX_THREADS;
    uint64_t whole = 0, shared = 0;
    add(&tree, pid);
    if (access("/proc/thread-self/children", R_OK) < 0)
        add_by_parents(&tree);
    else
        for (size_t i = 0; i < tree.n; i++)
            add_children(&tree, tree.pids[i], &threads);
    for (size_t i = 0; i < tree.n; i++)
        whole += resident(tree.pids[i]);
    if (whole <= above)
        return whole;
    for (size_t i = 0; i < tree.n; i++)
        shared += proportional(tree.pids[i]);
    return shared;
}

uint64_t pt_memory_oom_kills(void)
{
    char text[32768];
    return read_small("/proc/vmstat", text, sizeof(text)) > 0 ? find_number(text, "oom_kill ") : 0;
}
