/* SPDX-License-Identifier: Apache-2.0 */
#include "sent.h"

#include "common/auto.h"
#include "common/err.h"
#include "output/atomic.h"
#include "sync/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SENT_MAX (1u << 30)

/* A host's name may hold anything: its digest names the file. */
static char *path_of(const char *state_dir, const char *host)
{
    unsigned char digest[PT_DIGEST];
    char hex[PT_DIGEST_HEX], *path = NULL;
    if (pt_digest_buffer(PT_DIGEST_BLAKE2B, host, strlen(host), digest, NULL) < 0)
        return NULL;
    pt_digest_hex(digest, hex);
    return asprintf(&path, "%s/sent/%.24s", state_dir, hex) < 0 ? NULL : path;
}

static int read_file(const char *path, struct pt_buf *b)
{
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > SENT_MAX)
        return -1;
    ssize_t n = -1;
    while (pt_buf_reserve(b, (size_t)st.st_size + 1) && (n = read(fd, b->data + b->len, b->cap - b->len)) > 0)
        b->len += (size_t)n;
    return n == 0 ? 0 : -1;
}

static int write_file(const char *path, const struct pt_buf *b, struct pt_err *err)
{
    struct pt_atomic file;
    if (pt_atomic_init(&file, path, err) < 0)
        return -1;
    int rc = fwrite(b->data, 1, b->len, file.file) == b->len
                 ? pt_atomic_finish(&file, err)
                 : pt_err_set(err, "%s: %s", path, strerror(errno));
    pt_atomic_fini(&file);
    return rc;
}

int pt_sent_save(const char *state_dir, const char *host, const struct pt_manifest *m, struct pt_err *err)
{
    pt_auto_free char *path = path_of(state_dir, host);
    struct pt_manifest *known = pt_sent_load(state_dir, host);
    bool same = known && memcmp(pt_manifest_root(known), pt_manifest_root(m), PT_DIGEST) == 0;
    pt_manifest_destroy(known);
    if (same)
        return 0;
    if (!path)
        return pt_err_set(err, "out of memory");
    struct pt_buf b = {0};
    pt_manifest_encode(m, &b);
    int rc = b.bad ? pt_err_set(err, "out of memory") : write_file(path, &b, err);
    pt_buf_fini(&b);
    return rc;
}

struct pt_manifest *pt_sent_load(const char *state_dir, const char *host)
{
    pt_auto_free char *path = path_of(state_dir, host);
    struct pt_buf b = {0};
    struct pt_manifest *m = NULL;
    if (path && read_file(path, &b) == 0)
        m = pt_manifest_decode(b.data, b.len, NULL);
    pt_buf_fini(&b);
    return m;
}

void pt_sent_missing(const struct pt_manifest *m, const struct pt_manifest *has, uint64_t *files,
                     uint64_t *bytes)
{
    *files = *bytes = 0;
    for (size_t i = 0; i < pt_manifest_count(m); i++) {
        const struct pt_entry *e = pt_manifest_get(m, i);
        const struct pt_entry *old = has ? pt_manifest_find(has, e->path) : NULL;
        if (e->type != PT_ENTRY_FILE ||
            (old && old->type == e->type && old->size == e->size && old->mode == e->mode &&
             memcmp(old->digest, e->digest, PT_DIGEST) == 0))
            continue;
        ++*files;
        *bytes += e->size;
    }
}
