/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/unpack.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/beneath.h"
#include "sync/stamp.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>

#define BUFFER_SIZE (128u << 10)
#define TEMP_NAME   ".ptremote.new"
#define TAR_GROWS   16u /* a file of a small tar is at most so many times as big as the tar */

struct job {
    struct pt_unpack *u;
    struct archive *archive;
    struct archive_entry *entry; /* the archive's, at the moment */
    struct pt_beneath beneath;
    struct pt_digest *digest;
    size_t next; /* the first entry of the manifest that may still come */
    bool ended, gave_up;
    unsigned char *buffer;
};

static la_ssize_t read_in(struct archive *a, void *arg, const void **data)
{
    struct job *j = arg;
    ssize_t n = j->ended || j->gave_up ? 0 : j->u->read(j->u->arg, data);
    j->ended |= n == 0;
    j->gave_up |= n < 0;
    if (n < 0)
        archive_set_error(a, EIO, "the connection ended");
    return n < 0 ? -1 : n;
}

/* libarchive is at a loss: 1 when only because the bytes ended. */
static int broken(const struct job *j, struct pt_err *err)
{
    if (j->gave_up)
        return -1;
    if (j->ended)
        return 1;
    const char *why = archive_error_string(j->archive);
    return pt_err_set_kind(err, PT_ERR_INFRA, "the archive of the tree is broken: %s", why ? why : "?");
}

static int cannot_write(const char *path, struct pt_err *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    pt_err_set_kind(err, PT_ERR_INFRA, "cannot write '%s' on the host: %s", path, strerror(errno));
    return full ? pt_err_hint(err, "make room on the host, or name another place with --remote-dir") : -1;
}

static int refuse(const char *path, const char *why, struct pt_err *err)
{
    return pt_err_set_kind(err, PT_ERR_INFRA, "the archive of the tree is refused: '%s' %s", path, why);
}

static int write_all(int fd, const unsigned char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* The entry that must come next, which is the next that was asked for; NULL when there is none. */
static const struct pt_entry *expected(struct job *j)
{
    size_t n = pt_manifest_count(j->u->manifest);
    for (; j->next < n; j->next++)
        if (j->u->need[j->next / 8] >> (j->next % 8) & 1)
            return pt_manifest_get(j->u->manifest, j->next);
    return NULL;
}

static const struct pt_entry *check_header(struct job *j, struct pt_err *err)
{
    const struct pt_entry *e = expected(j);
    const char *path = archive_entry_pathname(j->entry);
    if (!path)
        path = "";
    if (archive_entry_filetype(j->entry) != AE_IFREG || archive_entry_hardlink(j->entry) ||
        archive_entry_symlink(j->entry))
        refuse(path, "is not a plain file", err);
    else if (!e || strcmp(path, e->path) != 0)
        refuse(path, pt_path_valid(path) ? "was not asked for" : "is no name for a file in a tree", err);
    else if (!archive_entry_size_is_set(j->entry) || (uint64_t)archive_entry_size(j->entry) != e->size)
        refuse(path, "has not the size that was announced", err);
    else
        return e;
    return NULL;
}

/* The content of the entry into fd, checked. */
static int write_content(struct job *j, const struct pt_entry *e, int fd, struct pt_err *err)
{
    unsigned char digest[PT_DIGEST];
    uint64_t size = 0;
    for (;;) {
        la_ssize_t n = archive_read_data(j->archive, j->buffer, BUFFER_SIZE);
        if (n < 0)
            return broken(j, err);
        if (n == 0)
            break;
        size += (uint64_t)n;
        if (size > e->size)
            return refuse(e->path, "is longer than was announced", err);
        pt_digest_add(j->digest, j->buffer, (size_t)n);
        if (write_all(fd, j->buffer, (size_t)n) < 0)
            return cannot_write(e->path, err);
    }
    if (pt_digest_end(j->digest, digest) < 0)
        return pt_err_set(err, "digest failed");
    if (size != e->size || memcmp(digest, e->digest, PT_DIGEST) != 0)
        return refuse(e->path, "has not the content that was announced", err);
    return 0;
}

static int put_in_place(struct job *j, const struct pt_entry *e, int fd, struct pt_err *err)
{
    const char *name;
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, pt_ns_timespec(j->u->mtime(j->u->arg, e))};
    int dir = pt_beneath_parent(&j->beneath, e->path, &name);
    if (dir < 0 || fchmod(fd, (mode_t)e->mode) < 0 || futimens(fd, times) < 0 ||
        renameat(j->u->temp, TEMP_NAME, dir, name) < 0)
        return cannot_write(e->path, err);
    j->u->files++;
    j->u->bytes += e->size;
    return 0;
}

static int unpack_file(struct job *j, struct pt_err *err)
{
    const struct pt_entry *e = check_header(j, err);
    if (!e)
        return -1;
    pt_auto_fd int fd =
        openat(j->u->temp, TEMP_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return cannot_write(e->path, err);
    int rc = write_content(j, e, fd, err);
    if (rc == 0)
        rc = put_in_place(j, e, fd, err);
    if (rc != 0)
        unlinkat(j->u->temp, TEMP_NAME, 0);
    j->next++;
    return rc;
}

static int unpack_all(struct job *j, struct pt_err *err)
{
    for (;;) {
        int rc = archive_read_next_header(j->archive, &j->entry);
        if (rc == ARCHIVE_EOF)
            break;
        if (rc < ARCHIVE_WARN)
            return broken(j, err);
        if ((rc = unpack_file(j, err)) != 0)
            return rc;
    }
    const struct pt_entry *e = expected(j);
    return e ? refuse(e->path, "is missing", err) : 0;
}

int pt_unpack_archive(struct pt_unpack *u, struct pt_err *err)
{
    struct job j = {.u = u, .beneath = PT_BENEATH(u->tree)};
    int rc = -1;
    j.buffer = malloc(BUFFER_SIZE);
    j.digest = pt_digest_create(pt_manifest_algorithm(u->manifest), err);
    j.archive = archive_read_new();
    if (!j.buffer || !j.digest || !j.archive)
        pt_err_set(err, "unpacking: out of memory");
    else if (archive_read_support_format_tar(j.archive) != ARCHIVE_OK ||
             archive_read_support_filter_zstd(j.archive) != ARCHIVE_OK ||
             archive_read_open(j.archive, &j, NULL, read_in, NULL) != ARCHIVE_OK)
        rc = broken(&j, err);
    else
        rc = unpack_all(&j, err);
    archive_read_free(j.archive);
    pt_digest_destroy(j.digest);
    pt_beneath_fini(&j.beneath);
    free(j.buffer);
    return rc;
}

/* --- small tars --- */

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
        if ((uint64_t)n > max - size || write_all(fd, buffer, (size_t)n) < 0)
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
