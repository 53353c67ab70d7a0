/* SPDX-License-Identifier: Apache-2.0 */
#include "printed.h"

#include "common/auto.h"
#include "common/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* As runs are named: 20261121-181530-0a1b2c. */
static bool name_ok(const char *s)
{
    return strspn(s, "0123456789") == 8 && s[8] == '-' && strlen(s) < 32 &&
           s[strspn(s, "0123456789abcdef-")] == '\0';
}

static int is_run(const struct dirent *e)
{
    return name_ok(e->d_name);
}

/* Names of runs begin with the time, so the oldest come first. That run stays, whatever the clock says. */
static void drop_old(int folder, const char *run)
{
    struct dirent **list = NULL;
    int n = scandirat(folder, ".", &list, is_run, alphasort);
    for (int i = 0; i < n; i++) {
        if (i < n - PT_PRINTED_RUNS && strcmp(list[i]->d_name, run) != 0)
            unlinkat(folder, list[i]->d_name, 0);
        free(list[i]);
    }
    free(list);
}

/* STATE/output; -1 with errno. */
static int open_folder(const char *state_dir, bool make)
{
    pt_auto_free char *path = NULL;
    if (asprintf(&path, "%s/output", state_dir) < 0) {
        path = NULL;
        return -1;
    }
    if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
        return -1;
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int pt_printed_create(const char *state_dir, const char *run, struct pt_err *err)
{
    pt_auto_fd int folder = name_ok(run) ? open_folder(state_dir, true) : -1;
    int fd = folder < 0
                 ? -1
                 : openat(folder, run, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "output of the run, %s/output/%s: %s", state_dir, run,
                               strerror(errno));
    drop_old(folder, run);
    return fd;
}

int pt_printed_open(const char *state_dir, const char *run)
{
    struct stat st;
    pt_auto_fd int folder = name_ok(run) ? open_folder(state_dir, false) : -1;
    pt_auto_fd int fd = folder < 0 ? -1 : openat(folder, run, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ? -1 : pt_steal_fd(&fd);
}

bool pt_printed_is(const char *state_dir, const char *run)
{
    pt_auto_fd int fd = pt_printed_open(state_dir, run);
    return fd >= 0;
}
