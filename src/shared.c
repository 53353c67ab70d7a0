/* SPDX-License-Identifier: Apache-2.0 */
#include "shared.h"

#include "below.h"
#include "common/auto.h"
#include "common/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

static void random_hex(char *out, size_t digits)
{
    unsigned char raw[16];
    if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
        abort();
    for (size_t i = 0; i < digits; i += 2)
        snprintf(out + i, 3, "%02x", raw[i / 2]);
}

/* Where the file goes, relative to the tree (heap). */
static char *choose_folder(const char *root, const char *state_dir)
{
    char *below = pt_below(root, state_dir);
    return below ? below : strdup(".ptremote");
}

static int write_file(const struct pt_shared *s)
{
    pt_auto_fd int fd = open(s->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    ssize_t n = (ssize_t)strlen(s->secret);
    return fd < 0 || write(fd, s->secret, (size_t)n) != n ? -1 : 0;
}

int pt_shared_init(struct pt_shared *s, const char *root, const char *state_dir, struct pt_err *err)
{
    char name[17];
    *s = (struct pt_shared){0};
    random_hex(name, 16);
    random_hex(s->secret, 32);
    pt_auto_free char *below = choose_folder(root, state_dir), *folder = NULL;
    if (!below || asprintf(&folder, "%s/%s", root, below) < 0 ||
        asprintf(&s->proof, "%s/shared-%s", below, name) < 0 ||
        asprintf(&s->path, "%s/%s", root, s->proof) < 0)
        return pt_err_set(err, "--shared-fs: out of memory");
    if (mkdir(folder, 0700) == 0)
        s->folder = pt_steal_ptr(&folder);
    if (write_file(s) == 0)
        return 0;
    pt_err_set_kind(err, PT_ERR_USAGE, "--shared-fs: cannot write %s: %s", s->path, strerror(errno));
    pt_shared_fini(s);
    return -1;
}

void pt_shared_fini(struct pt_shared *s)
{
    if (s->path)
        unlink(s->path);
    if (s->folder)
        rmdir(s->folder);
    free(s->proof);
    free(s->path);
    free(s->folder);
    *s = (struct pt_shared){0};
}
