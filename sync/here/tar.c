/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/tar.h"

#include "common/auto.h"
#include "common/err.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct pt_tar {
    struct pt_tar_out out;
    struct archive *archive;
    struct archive_entry *entry;
    bool stopped; /* nothing goes out any more: the library ends its archive whenever it is freed */
};

/* What lies in the room already, since it was read there, is only counted. */
static la_ssize_t write_out(struct archive *a, void *arg, const void *data, size_t n)
{
    struct pt_tar *t = arg;
    (void)a;
    for (size_t done = 0; done < n && !t->stopped;) {
        size_t room;
        void *to = t->out.room(t->out.arg, &room);
        if (!to) {
            t->stopped = true;
            break;
        }
        if (room > n - done)
            room = n - done;
        if (to != (const char *)data + done)
            memcpy(to, (const char *)data + done, room);
        t->out.took(t->out.arg, room);
        done += room;
    }
    return (la_ssize_t)n;
}

static enum pt_tar_got broken(const struct pt_tar *t, struct pt_err *err)
{
    pt_err_set(err, "packing: %s", archive_error_string(t->archive));
    return PT_TAR_BROKEN;
}

struct pt_tar *pt_tar_create(const struct pt_tar_out *out, struct pt_err *err)
{
    struct pt_tar *t = calloc(1, sizeof(*t));
    if (!t || !(t->archive = archive_write_new()) || !(t->entry = archive_entry_new())) {
        pt_err_set(err, "packing: out of memory");
        goto error;
    }
    t->out = *out;
    if (archive_write_set_format_ustar(t->archive) == ARCHIVE_OK &&
        archive_write_set_bytes_per_block(t->archive, 0) == ARCHIVE_OK &&
        archive_write_open(t->archive, t, NULL, write_out, NULL) == ARCHIVE_OK)
        return t;
    broken(t, err);
error:
    pt_tar_destroy(t);
    return NULL;
}

void pt_tar_destroy(struct pt_tar *t)
{
    if (!t)
        return;
    int saved = errno;
    t->stopped = true;
    archive_write_free(t->archive);
    archive_entry_free(t->entry);
    free(t);
    errno = saved;
}

static int write_header(struct pt_tar *t, uint32_t number, uint32_t size)
{
    char name[16];
    snprintf(name, sizeof(name), "%u", (unsigned)number);
    archive_entry_clear(t->entry);
    archive_entry_set_pathname(t->entry, name);
    archive_entry_set_filetype(t->entry, AE_IFREG);
    archive_entry_set_perm(t->entry, 0600);
    archive_entry_set_mtime(t->entry, 0, 0);
    archive_entry_set_size(t->entry, size);
    return archive_write_header(t->archive, t->entry);
}

static enum pt_tar_got write_content(struct pt_tar *t, int fd, uint64_t offset, uint32_t left,
                                     struct pt_err *err)
{
    while (left > 0) {
        size_t room;
        void *to = t->stopped ? NULL : t->out.room(t->out.arg, &room);
        if (!to)
            return PT_TAR_STOPPED;
        ssize_t n = pread(fd, to, room < left ? room : left, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return PT_TAR_UNREADABLE;
        if (n == 0)
            return PT_TAR_SHORT;
        if (archive_write_data(t->archive, to, (size_t)n) != n)
            return broken(t, err);
        offset += (uint64_t)n;
        left -= (uint32_t)n;
    }
    return PT_TAR_DONE;
}

enum pt_tar_got pt_tar_blob(struct pt_tar *t, uint32_t number, int fd, uint64_t offset, uint32_t size,
                            struct pt_err *err)
{
    if (write_header(t, number, size) != ARCHIVE_OK)
        return broken(t, err);
    enum pt_tar_got got = write_content(t, fd, offset, size, err);
    if (got == PT_TAR_DONE && archive_write_finish_entry(t->archive) != ARCHIVE_OK)
        return broken(t, err);
    return got == PT_TAR_DONE && t->stopped ? PT_TAR_STOPPED : got;
}

enum pt_tar_got pt_tar_end(struct pt_tar *t, struct pt_err *err)
{
    if (archive_write_close(t->archive) != ARCHIVE_OK)
        return broken(t, err);
    return t->stopped ? PT_TAR_STOPPED : PT_TAR_DONE;
}
