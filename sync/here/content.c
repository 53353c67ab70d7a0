/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/content.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/chunk.h"

#include <fcntl.h>
#include <string.h>

#define READ_SIZE (256u << 10) /* stays in the processor's cache */

struct pt_content_reader {
    enum pt_digest_algorithm algorithm;
    struct pt_digest *digest;
    struct pt_chunk zeros; /* the chunk that a long hole begins with; size 0 until it is known */
    unsigned char buffer[READ_SIZE];
};

/* A large file on its way through. */
struct cutter {
    struct pt_content_reader *r;
    struct pt_content *out;
    uint32_t cap;
    struct pt_chunker chunker;
    uint64_t at; /* bytes taken so far */
    bool sparse; /* there may be holes */
};

void pt_content_fini(struct pt_content *c)
{
    free(c->chunks);
    *c = (struct pt_content){0};
}

struct pt_content_reader *pt_content_create(enum pt_digest_algorithm algorithm, struct pt_err *err)
{
    struct pt_content_reader *r = calloc(1, sizeof(*r));
    if (!r) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    r->algorithm = algorithm;
    r->digest = pt_digest_create(algorithm, err);
    if (r->digest)
        return r;
    free(r);
    return NULL;
}

void pt_content_destroy(struct pt_content_reader *r)
{
    if (!r)
        return;
    pt_digest_destroy(r->digest);
    free(r);
}

static ssize_t fill(struct pt_content_reader *r, int fd)
{
    ssize_t n;
    do
        n = read(fd, r->buffer, READ_SIZE);
    while (n < 0 && errno == EINTR);
    return n;
}

static int failed(void)
{
    errno = EIO;
    return -1;
}

/* Bytes read in *size. The one read that says nothing but "the end" is spared where the size is reached. */
static int read_whole(struct pt_content_reader *r, int fd, struct pt_content *out, uint64_t *size)
{
    ssize_t n;
    *size = 0;
    do {
        if ((n = fill(r, fd)) < 0)
            return -1;
        pt_digest_add(r->digest, r->buffer, (size_t)n);
        *size += (uint64_t)n;
    } while (n > 0 && (*size < out->stamp.size || (*size == out->stamp.size && n == READ_SIZE)));
    return pt_digest_end(r->digest, out->digest) < 0 ? failed() : 0;
}

/* --- large files --- */

static int add_chunk(struct cutter *c, const struct pt_chunk *chunk)
{
    struct pt_content *out = c->out;
    if (out->nchunks == c->cap) {
        uint32_t cap = c->cap ? 2 * c->cap : 16;
        struct pt_chunk *chunks = cap > c->cap ? reallocarray(out->chunks, cap, sizeof(*chunks)) : NULL;
        if (!chunks) {
            errno = ENOMEM;
            return -1;
        }
        out->chunks = chunks;
        c->cap = cap;
    }
    out->chunks[out->nchunks++] = *chunk;
    return 0;
}

static int end_chunk(struct cutter *c, size_t size)
{
    struct pt_chunk chunk = {.size = (uint32_t)size};
    return pt_digest_end(c->r->digest, chunk.digest) < 0 ? failed() : add_chunk(c, &chunk);
}

/* What is in the buffer, cut; of a file with holes only up to the next cut. */
static int take(struct cutter *c, size_t n)
{
    for (size_t done = 0; done < n;) {
        bool cut;
        size_t before = c->chunker.len;
        size_t took = pt_chunker_feed(&c->chunker, c->r->buffer + done, n - done, &cut);
        pt_digest_add(c->r->digest, c->r->buffer + done, took);
        done += took;
        c->at += took;
        if (cut && end_chunk(c, before + took) < 0)
            return -1;
        if (cut && c->sparse)
            return 0;
    }
    return 0;
}

/* The chunk that zeros make when there are enough of them. */
static int know_zeros(struct pt_content_reader *r)
{
    struct pt_chunker chunker = {0};
    bool cut = false;
    uint32_t size = 0;
    memset(r->buffer, 0, READ_SIZE);
    while (!cut) {
        size_t took = pt_chunker_feed(&chunker, r->buffer, READ_SIZE, &cut);
        pt_digest_add(r->digest, r->buffer, took);
        size += (uint32_t)took;
    }
    if (pt_digest_end(r->digest, r->zeros.digest) < 0)
        return failed();
    r->zeros.size = size;
    return 0;
}

/* Between two chunks: go over the hole that begins here, if one does, without reading it. */
static int skip_hole(struct cutter *c, int fd)
{
    uint64_t size = c->out->stamp.size;
    off_t data = lseek(fd, (off_t)c->at, SEEK_DATA);
    if (data < 0 && errno != ENXIO) {
        c->sparse = false;
        return 0;
    }
    uint64_t end = data < 0 || (uint64_t)data > size ? size : (uint64_t)data;
    if (end > c->at && !c->r->zeros.size && know_zeros(c->r) < 0)
        return -1;
    while (end > c->at && end - c->at >= c->r->zeros.size) {
        if (add_chunk(c, &c->r->zeros) < 0)
            return -1;
        c->at += c->r->zeros.size;
    }
    return 0;
}

static int read_chunks(struct pt_content_reader *r, int fd, bool sparse, struct pt_content *out,
                       uint64_t *size)
{
    struct cutter c = {.r = r, .out = out, .sparse = sparse};
    for (;;) {
        if (c.sparse && c.chunker.len == 0 && skip_hole(&c, fd) < 0)
            return -1;
        ssize_t n;
        do
            n = pread(fd, r->buffer, READ_SIZE, (off_t)c.at);
        while (n < 0 && errno == EINTR);
        if (n < 0)
            return -1;
        if (n == 0 || c.at > out->stamp.size)
            break;
        if (take(&c, (size_t)n) < 0)
            return -1;
    }
    *size = c.at;
    if (c.chunker.len && end_chunk(&c, c.chunker.len) < 0)
        return -1;
    return pt_chunks_digest(r->algorithm, out->chunks, out->nchunks, out->digest) < 0 ? failed() : 0;
}

/* Begin anew after what was not read to its end. */
static void drop(struct pt_content_reader *r, struct pt_content *out)
{
    int saved = errno;
    unsigned char unused[PT_DIGEST];
    pt_digest_end(r->digest, unused);
    pt_content_fini(out);
    errno = saved;
}

int pt_content_read(struct pt_content_reader *r, int root, const char *path, bool follow,
                    struct pt_content *out)
{
    struct stat before, after;
    uint64_t size;
    *out = (struct pt_content){0};
    pt_auto_fd int fd =
        openat(root, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0 || fstat(fd, &before) < 0)
        return -1;
    if (!S_ISREG(before.st_mode)) {
        errno = ENOENT;
        return -1;
    }
    out->stamp = pt_stamp_of(&before);
    out->mode = before.st_mode & 0777;
    bool sparse = before.st_blocks < before.st_size / 512;
    int rc = out->stamp.size > PT_CHUNKED_FROM ? read_chunks(r, fd, sparse, out, &size)
                                               : read_whole(r, fd, out, &size);
    if (rc == 0 && (rc = fstat(fd, &after)) == 0) {
        struct pt_stamp now = pt_stamp_of(&after);
        rc = size == out->stamp.size && pt_stamp_equal(&out->stamp, &now);
    }
    if (rc <= 0)
        drop(r, out);
    return rc;
}
