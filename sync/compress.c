/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/compress.h"

#include "common/auto.h"
#include "common/err.h"

#include <pthread.h>
#include <string.h>
#include <zstd.h>

#define LEVEL 3

struct pt_inflate {
    ZSTD_DStream *stream;
    size_t max;
    bool done; /* a whole frame was seen */
};

int pt_deflate(const void *data, size_t n, struct pt_buf *out, struct pt_err *err)
{
    size_t bound = ZSTD_compressBound(n);
    void *room = pt_buf_reserve(out, bound);
    if (!room)
        return pt_err_set(err, "zstd: out of memory");
    size_t size = ZSTD_compress(room, bound, data, n, LEVEL);
    if (ZSTD_isError(size))
        return pt_err_set(err, "zstd: %s", ZSTD_getErrorName(size));
    out->len += size;
    return 0;
}

struct pt_inflate *pt_inflate_create(size_t max, struct pt_err *err)
{
    struct pt_inflate *z = calloc(1, sizeof(*z));
    if (!z || !(z->stream = ZSTD_createDStream())) {
        pt_inflate_destroy(z);
        pt_err_set(err, "zstd: out of memory");
        return NULL;
    }
    z->max = max;
    return z;
}

void pt_inflate_destroy(struct pt_inflate *z)
{
    if (!z)
        return;
    ZSTD_freeDStream(z->stream);
    free(z);
}

int pt_inflate_add(struct pt_inflate *z, const void *data, size_t n, struct pt_buf *out, struct pt_err *err)
{
    ZSTD_inBuffer in = {.src = data, .size = n};
    bool full = false; /* the last step filled its room, so more may be waiting inside */
    while (in.pos < in.size || full) {
        if (z->done)
            return pt_err_set(err, "zstd: bytes after the end");
        size_t room = ZSTD_DStreamOutSize();
        void *p = pt_buf_reserve(out, room);
        if (!p)
            return pt_err_set(err, "zstd: out of memory");
        ZSTD_outBuffer to = {.dst = p, .size = room};
        size_t rc = ZSTD_decompressStream(z->stream, &to, &in);
        if (ZSTD_isError(rc))
            return pt_err_set(err, "zstd: %s", ZSTD_getErrorName(rc));
        if (to.pos > z->max)
            return pt_err_set(err, "zstd: more than was allowed");
        z->max -= to.pos;
        out->len += to.pos;
        z->done = rc == 0;
        full = to.pos == room && !z->done;
    }
    return 0;
}

int pt_inflate_end(struct pt_inflate *z, struct pt_err *err)
{
    return z->done ? 0 : pt_err_set(err, "zstd: ends early");
}

/* --- segments --- */

struct contexts {
    ZSTD_CCtx *in;
    ZSTD_DCtx *out;
};

static pthread_once_t keyed = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int no_key;
static __thread struct contexts *mine; /* beside the key, which only frees it when the thread ends */

static void free_contexts(void *p)
{
    struct contexts *c = p;
    ZSTD_freeCCtx(c->in);
    ZSTD_freeDCtx(c->out);
    free(c);
}

static void make_key(void)
{
    no_key = pthread_key_create(&key, free_contexts);
}

static struct contexts *contexts(void)
{
    if (mine)
        return mine;
    pthread_once(&keyed, make_key);
    struct contexts *c = no_key ? NULL : calloc(1, sizeof(*c));
    if (c && pthread_setspecific(key, c) != 0) {
        free(c);
        c = NULL;
    }
    return mine = c;
}

int pt_segment_pack(const void *raw, size_t n, int level, struct pt_buf *out, struct pt_err *err)
{
    struct contexts *c = contexts();
    size_t bound = ZSTD_compressBound(n);
    void *room = pt_buf_reserve(out, bound);
    if (!room || !c || (!c->in && !(c->in = ZSTD_createCCtx())))
        return pt_err_set(err, "zstd: out of memory");
    size_t size = ZSTD_compressCCtx(c->in, room, bound, raw, n, level);
    if (ZSTD_isError(size))
        return pt_err_set(err, "zstd: %s", ZSTD_getErrorName(size));
    out->len += size;
    return 0;
}

static int refuse(const char *why, struct pt_err *err)
{
    return pt_err_set_kind(err, PT_ERR_INFRA, "a segment of an archive is refused: %s", why);
}

int pt_segment_unpack(const struct pt_segment *s, void *out, struct pt_err *err)
{
    if (!pt_segment_fits(s->size, s->raw, s->packed))
        return refuse("it has no size that a segment may have", err);
    if (!s->packed) {
        memcpy(out, s->data, s->raw);
        return 0;
    }
    static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    if (s->size < sizeof(magic) || memcmp(s->data, magic, sizeof(magic)) != 0)
        return refuse("it is no zstd frame", err);
    size_t frame = ZSTD_findFrameCompressedSize(s->data, s->size);
    if (ZSTD_isError(frame))
        return refuse(ZSTD_getErrorName(frame), err);
    if (frame != s->size)
        return refuse("bytes after the end", err);
    struct contexts *c = contexts();
    if (!c || (!c->out && !(c->out = ZSTD_createDCtx())))
        return pt_err_set(err, "zstd: out of memory");
    size_t n = ZSTD_decompressDCtx(c->out, out, s->raw, s->data, s->size);
    if (ZSTD_isError(n))
        return refuse(ZSTD_getErrorName(n), err);
    return n == s->raw ? 0 : refuse("it is shorter than it says", err);
}
