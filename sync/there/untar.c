/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/untar.h"

#include "common/auto.h"
#include "common/err.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

struct pt_untar {
    ssize_t (*read)(void *arg, const void **data);
    void *arg;
    struct archive *archive;
    struct archive_entry *entry;
    const unsigned char *block; /* what read gave last */
    size_t block_size;
    bool opened, ended, gave_up;
    int state; /* 1 while entries may come, then what every next gives */
    unsigned char *content;
    size_t room;
};

static la_ssize_t read_in(struct archive *a, void *arg, const void **data)
{
    struct pt_untar *u = arg;
    ssize_t n = u->ended || u->gave_up ? 0 : u->read(u->arg, data);
    u->ended |= n == 0;
    u->gave_up |= n < 0;
    u->block = n > 0 ? *data : NULL;
    u->block_size = n > 0 ? (size_t)n : 0;
    if (n < 0)
        archive_set_error(a, EIO, "given up");
    return n < 0 ? -1 : n;
}

struct pt_untar *pt_untar_create(ssize_t (*read)(void *arg, const void **data), void *arg, struct pt_err *err)
{
    struct pt_untar *u = calloc(1, sizeof(*u));
    if (!u || !(u->archive = archive_read_new()) || !(u->entry = archive_entry_new()) ||
        archive_read_support_format_tar(u->archive) != ARCHIVE_OK) {
        pt_untar_destroy(u);
        pt_err_set(err, "tar: out of memory");
        return NULL;
    }
    u->read = read;
    u->arg = arg;
    u->state = 1;
    return u;
}

void pt_untar_destroy(struct pt_untar *u)
{
    if (!u)
        return;
    int saved = errno;
    archive_entry_free(u->entry);
    archive_read_free(u->archive);
    free(u->content);
    free(u);
    errno = saved;
}

static int refuse(const struct pt_untar *u, const char *why, struct pt_err *err)
{
    const char *name = archive_entry_pathname(u->entry);
    return pt_err_set_kind(err, PT_ERR_INFRA, "the archive is refused: '%s' %s", name ? name : "", why);
}

/* libarchive is at a loss, perhaps only because the bytes ended. */
static int broken(const struct pt_untar *u, struct pt_err *err)
{
    if (u->gave_up)
        return -1;
    if (u->ended)
        return 2;
    const char *why = archive_error_string(u->archive);
    return pt_err_set_kind(err, PT_ERR_INFRA, "the archive is broken: %s", why ? why : "?");
}

static int check_header(const struct pt_untar *u, uint32_t max, struct pt_err *err)
{
    struct archive_entry *e = u->entry;
    if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e) || archive_entry_symlink(e) ||
        archive_entry_sparse_count(e) > 0 || !archive_entry_pathname(e))
        return refuse(u, "is not a plain file", err);
    if (!archive_entry_size_is_set(e) || archive_entry_size(e) < 0 || archive_entry_size(e) > max)
        return refuse(u, "is larger than a part of it may be", err);
    return 1;
}

static bool grow(struct pt_untar *u, size_t size)
{
    if (u->room >= size)
        return true;
    free(u->content);
    u->content = malloc(size);
    u->room = u->content ? size : 0;
    return u->content != NULL;
}

/* The content in one piece: where it lies, or copied together. */
static int read_content(struct pt_untar *u, struct pt_untar_entry *out, struct pt_err *err)
{
    const void *piece;
    size_t n, got = 0;
    la_int64_t at;
    while (got < out->size) {
        int rc = archive_read_data_block(u->archive, &piece, &n, &at);
        if (rc != ARCHIVE_OK && rc != ARCHIVE_EOF)
            return broken(u, err);
        if (rc == ARCHIVE_EOF || at < 0 || (size_t)at != got || n > out->size - got)
            return refuse(u, "has not the size that its header says", err);
        if (n == out->size) {
            const unsigned char *p = out->data = piece;
            out->inside = p >= u->block && p < u->block + u->block_size;
            return 1;
        }
        if (!grow(u, out->size))
            return pt_err_set(err, "tar: out of memory");
        memcpy(u->content + got, piece, n);
        got += n;
    }
    out->data = u->content;
    return 1;
}

static int next(struct pt_untar *u, uint32_t max, struct pt_untar_entry *out, struct pt_err *err)
{
    if (!u->opened && archive_read_open(u->archive, u, NULL, read_in, NULL) != ARCHIVE_OK)
        return broken(u, err);
    u->opened = true;
    int rc = archive_read_next_header2(u->archive, u->entry);
    if (rc == ARCHIVE_EOF)
        return u->gave_up ? -1 : u->ended ? 2 : 0;
    if (rc != ARCHIVE_OK)
        return broken(u, err);
    if ((rc = check_header(u, max, err)) != 1)
        return rc;
    *out = (struct pt_untar_entry){
        .name = archive_entry_pathname(u->entry),
        .size = (uint32_t)archive_entry_size(u->entry),
        .offset = (uint64_t)archive_filter_bytes(u->archive, 0),
        .data = "",
    };
    return read_content(u, out, err);
}

int pt_untar_next(struct pt_untar *u, uint32_t max, struct pt_untar_entry *out, struct pt_err *err)
{
    if (u->state == 1)
        u->state = next(u, max, out, err);
    else if (u->state < 0 && !u->gave_up)
        pt_err_set_kind(err, PT_ERR_INFRA, "the archive is broken");
    return u->state;
}
