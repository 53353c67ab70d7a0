/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/smalltar.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/io.h"
#include "sync/beneath.h"
#include "sync/manifest.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define TEMP_NAME ".ptremote.new"
#define TAR_GROWS 16u /* a file of a small tar is at most so many times as big as the tar */

static int cannot_write(const char *path, struct pt_err *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    pt_err_set_kind(err, PT_ERR_INFRA, "cannot write '%s' on the host: %s", path, strerror(errno));
    return full ? pt_err_hint(err, "make room on the host, or name another place with --remote-dir") : -1;
}

static int make_folders(struct pt_beneath *b, const char *path, bool whole)
{
    pt_auto_free char *copy = strdup(path);
    if (!copy)
        return -1;
    for (char *p = copy;; p++) {
        p = strchrnul(p, '/');
        bool last = *p == '\0';
        if (last && !whole)
            return 0;
        *p = '\0';
        const char *name;
        int dir = pt_beneath_parent(b, copy, &name);
        if (dir < 0 || (mkdirat(dir, name, 0755) < 0 && errno != EEXIST))
            return -1;
        if (last)
            return 0;
        *p = '/';
    }
}

static int copy_out(struct archive *a, int fd, uint64_t max)
{
    unsigned char buffer[8192];
    la_ssize_t n;
    for (uint64_t size = 0; (n = archive_read_data(a, buffer, sizeof(buffer))) > 0; size += (uint64_t)n) {
        errno = EFBIG;
        if ((uint64_t)n > max - size || pt_write_all(fd, buffer, (size_t)n) < 0)
            return -1;
    }
    if (n < 0)
        errno = EBADMSG;
    return n < 0 ? -1 : 0;
}

static int tar_file(struct archive *a, struct archive_entry *entry, struct pt_beneath *b, const char *path,
                    uint64_t max)
{
    const char *name;
    if (make_folders(b, path, false) < 0)
        return -1;
    int dir = pt_beneath_parent(b, path, &name);
    if (dir < 0 || (unlinkat(dir, TEMP_NAME, 0) < 0 && errno != ENOENT))
        return -1;
    mode_t mode = (archive_entry_perm(entry) & 0755) | 0600;
    pt_auto_fd int fd = openat(dir, TEMP_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (copy_out(a, fd, max) < 0 || fchmod(fd, mode) < 0 || renameat(dir, TEMP_NAME, dir, name) < 0) {
        int saved = errno;
        unlinkat(dir, TEMP_NAME, 0);
        errno = saved;
        return -1;
    }
    return 0;
}

static int tar_entry(struct archive *a, struct archive_entry *entry, struct pt_beneath *b, uint64_t max,
                     struct pt_err *err)
{
    const char *name = archive_entry_pathname(entry);
    pt_auto_free char *path = strdup(name ? name : "");
    if (!path)
        return pt_err_set(err, "out of memory");
    size_t n = strlen(path);
    if (n > 1 && path[n - 1] == '/')
        path[n - 1] = '\0';
    bool folder = archive_entry_filetype(entry) == AE_IFDIR;
    if (!pt_path_valid(path) || archive_entry_hardlink(entry) || archive_entry_symlink(entry) ||
        (!folder && archive_entry_filetype(entry) != AE_IFREG))
        return pt_err_set(err, "tar: '%s' is refused: only plain files and folders below come out of it",
                          path);
    int rc = folder ? make_folders(b, path, true) : tar_file(a, entry, b, path, max);
    return rc < 0 ? cannot_write(path, err) : 0;
}

int pt_unpack_tar(const void *data, size_t size, const char *dir, struct pt_err *err)
{
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return cannot_write(dir, err);
    pt_auto_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cannot_write(dir, err);
    struct pt_beneath b = PT_BENEATH(fd);
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    int rc = a && archive_read_support_format_tar(a) == ARCHIVE_OK &&
                     archive_read_support_filter_zstd(a) == ARCHIVE_OK &&
                     archive_read_open_memory(a, data, size) == ARCHIVE_OK
                 ? ARCHIVE_OK
                 : ARCHIVE_FATAL;
    int failed = 0;
    while (!failed && rc >= ARCHIVE_WARN && rc != ARCHIVE_EOF) {
        rc = archive_read_next_header(a, &entry);
        if (rc >= ARCHIVE_WARN && rc != ARCHIVE_EOF)
            failed = tar_entry(a, entry, &b, TAR_GROWS * (uint64_t)size, err);
    }
    if (!failed && rc != ARCHIVE_EOF)
        failed =
            pt_err_set(err, "tar: %s", a && archive_error_string(a) ? archive_error_string(a) : "broken");
    archive_read_free(a);
    pt_beneath_fini(&b);
    return failed;
}
