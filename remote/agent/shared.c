/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/shared.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SECRET_MIN 16
#define SECRET_MAX 255

/* Why that folder is not the tree, or NULL. */
static const char *disprove(int folder, const struct pt_setup *setup)
{
    char text[SECRET_MAX + 1];
    struct stat st;
    size_t n = strlen(setup->secret);
    pt_auto_fd int fd = openat(folder, setup->proof, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return "is another tree: it lacks the file that this run put into the project";
    if (fd < 0 || fstat(fd, &st) < 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode) || read(fd, text, sizeof(text)) != (ssize_t)n ||
        memcmp(text, setup->secret, n) != 0)
        return "is another tree: the file that this run put into the project is not the one there";
    return NULL;
}

char *pt_shared_find(const struct pt_setup *setup, struct pt_err *err)
{
    size_t n = strlen(setup->secret);
    if (setup->shared[0] != '/' || !setup->proof[0] || n < SECRET_MIN || n > SECRET_MAX) {
        pt_err_set(err, "setup: the shared tree is named badly");
        return NULL;
    }
    pt_auto_fd int folder = open(setup->shared, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *why = folder < 0 ? strerror(errno) : disprove(folder, setup);
    char *path = why ? NULL : realpath(setup->shared, NULL);
    if (path)
        return path;
    pt_err_set_kind(err, PT_ERR_INFRA, "shared tree %s: %s", setup->shared, why ? why : strerror(errno));
    pt_err_hint(err,
                "mount the project there on that host, or give --shared-fs the path where the hosts see it");
    return NULL;
}
