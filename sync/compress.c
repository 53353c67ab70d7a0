/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/compress.h"

#include "common/auto.h"
#include "common/err.h"

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
