/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/intake.h"

#include "common/err.h"
#include "common/message.h"
#include "sync/compress.h"
#include "sync/delta.h"

#include <string.h>

#define MAX_OBJECT (256u << 20) /* bytes of a manifest or a delta, encoded */

int pt_intake_unexpected(uint8_t type, struct pt_err *err)
{
    return pt_err_set_kind(err, PT_ERR_INFRA, "the tree: message %u came out of turn or is malformed", type);
}

static int next(struct pt_frames *f, uint8_t *type, struct pt_reader *body, struct pt_err *err)
{
    int rc = pt_frames_next(f, type, body, err);
    if (rc == 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "the connection ended while the tree was sent");
    return rc;
}

int pt_intake_begin(struct pt_frames *f, uint8_t type, struct pt_err *err)
{
    uint8_t got;
    struct pt_reader body;
    if (next(f, &got, &body, err) < 0)
        return -1;
    return got == type && pt_get_end(&body) ? 0 : pt_intake_unexpected(got, err);
}

/* All of a compressed object, appended to plain. */
static int inflate(struct pt_frames *f, uint8_t type, struct pt_buf *plain, struct pt_err *err)
{
    struct pt_inflate *z = pt_inflate_create(MAX_OBJECT, err);
    struct pt_reader body;
    uint8_t got = PT_B_DATA;
    int rc = z ? pt_intake_begin(f, type, err) : -1;
    while (rc == 0 && got != PT_B_END) {
        if (next(f, &got, &body, err) < 0)
            rc = -1;
        else if ((got == PT_B_END) != (body.left == 0) || (got != PT_B_DATA && got != PT_B_END))
            rc = pt_intake_unexpected(got, err);
        else if (got == PT_B_DATA)
            rc = pt_inflate_add(z, body.p, body.left, plain, err);
    }
    if (rc == 0)
        rc = pt_inflate_end(z, err);
    pt_inflate_destroy(z);
    return rc;
}

struct pt_manifest *pt_intake_manifest(struct pt_frames *f, struct pt_err *err)
{
    struct pt_buf plain = {0};
    struct pt_manifest *m = NULL;
    if (inflate(f, PT_B_MANIFEST, &plain, err) == 0)
        m = pt_manifest_decode(plain.data, plain.len, err);
    pt_buf_fini(&plain);
    return m;
}

int pt_intake_delta(struct pt_frames *f, const struct pt_manifest *base, struct pt_manifest **out,
                    struct pt_err *err)
{
    struct pt_buf plain = {0};
    int rc = inflate(f, PT_B_DELTA, &plain, err);
    const unsigned char *root = rc == 0 ? pt_delta_base(plain.data, plain.len) : NULL;
    if (rc == 0 && !root)
        rc = pt_err_set_kind(err, PT_ERR_INFRA, "delta: malformed");
    if (rc == 0 && base && memcmp(root, pt_manifest_root(base), PT_DIGEST) == 0) {
        *out = pt_delta_apply(base, plain.data, plain.len, err);
        rc = *out ? 1 : -1;
    }
    pt_buf_fini(&plain);
    return rc;
}

int pt_intake_segment(struct pt_frames *f, struct pt_segment *out, struct pt_err *err)
{
    struct pt_reader body;
    uint8_t type;
    size_t size;
    if (next(f, &type, &body, err) < 0)
        return -1;
    if (type == PT_B_END && body.left == 0)
        return 0;
    uint8_t packed = pt_get_u8(&body);
    *out = (struct pt_segment){.packed = packed, .raw = pt_get_u32(&body)};
    out->data = pt_get_bytes(&body, &size);
    out->size = (uint32_t)size;
    if (type != PT_B_SEGMENT || !pt_get_end(&body) || packed > 1 || size == 0 || out->raw == 0 ||
        out->raw > PT_SEGMENT_MAX || (!packed && size != out->raw))
        return pt_intake_unexpected(type, err);
    return 1;
}

int pt_intake_drop(struct pt_frames *f, uint8_t type, struct pt_err *err)
{
    struct pt_reader body;
    if (pt_intake_begin(f, type, err) < 0)
        return -1;
    uint8_t part = type == PT_B_ARCHIVE ? PT_B_SEGMENT : PT_B_DATA;
    while (next(f, &type, &body, err) > 0) {
        if (type == PT_B_END)
            return 0;
        if (type != part)
            return pt_intake_unexpected(type, err);
    }
    return -1;
}
