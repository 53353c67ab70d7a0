/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A folder for scenarios that need files; made and removed by TestSuite's .init and .fini. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];

/* The path of that name there; good for the next seven. */
static inline const char *at(const char *name)
{
    static char paths[8][128];
    static size_t i;
    i = (i + 1) % 8;
    snprintf(paths[i], sizeof(paths[i]), "%s/%s", dir, name);
    return paths[i];
}

static inline void put(const char *name, const char *text)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* The whole file is that text. */
static inline bool holds(const char *name, const char *text)
{
    char got[1024] = "";
    int fd = open(at(name), O_RDONLY | O_CLOEXEC);
    bool same = fd >= 0 && read(fd, got, sizeof(got) - 1) >= 0 && !strcmp(got, text);
    close(fd);
    return same;
}

static inline void make_dir(void)
{
    const char *above = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%.40s/pt-alloc-XXXXXX", above && *above ? above : "/tmp");
    cr_assert(mkdtemp(dir));
}

static inline void remove_dir(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}
