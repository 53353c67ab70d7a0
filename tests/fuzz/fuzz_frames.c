/* SPDX-License-Identifier: Apache-2.0 */
/* Frames from bytes and from a descriptor, and the fields in them. */
#include "common/err.h"
#include "common/message.h"
#include "fuzz.h"
#include "sync/there/frames.h"

#include <unistd.h>

/* Fields as the bytes of the body itself choose them. A reader that went bad stays bad and gives nothing. */
static void read_fields(struct pt_reader r)
{
    while (!r.bad && r.left > 0) {
        size_t before = r.left, n = 0;
        char *s = NULL;
        switch (pt_get_u8(&r) % 6) {
        case 0:
            pt_get_u32(&r);
            break;
        case 1:
            pt_get_u64(&r);
            break;
        case 2:
            FUZZ_CHECK(pt_get_bytes(&r, &n) || r.bad || n == 0);
            break;
        case 3:
            s = pt_get_str(&r, 16);
            FUZZ_CHECK((s != NULL) == !r.bad && (!s || strlen(s) <= 16));
            free(s);
            break;
        case 4:
            pt_get_raw(&r, 3);
            break;
        default:
            break;
        }
        FUZZ_CHECK(r.left < before);
    }
    size_t n = 1;
    bool bad = r.bad;
    FUZZ_CHECK(pt_get_end(&r) == !bad);
    FUZZ_CHECK(pt_get_u8(&r) == 0 && pt_get_u32(&r) == 0 && pt_get_u64(&r) == 0 && r.bad);
    FUZZ_CHECK(!pt_get_bytes(&r, &n) && n == 0 && !pt_get_str(&r, 9));
}

/* What encoders write is what was read. */
static void write_again(uint8_t type, const struct pt_reader *body, const uint8_t *data, size_t total)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    pt_buf_append(&b, body->p, body->left);
    pt_frame_end(&b, mark);
    FUZZ_CHECK(b.bad ? fuzz_starved() : b.len == total && memcmp(b.data, data, total) == 0);
    pt_set_u32(&b, 0, 7);
    pt_put_u8(&b, 1);
    pt_put_u32(&b, 2);
    pt_put_u64(&b, 3);
    pt_put_str(&b, "four");
    pt_put_str(&b, NULL);
    pt_set_u32(&b, b.len, 0); /* not within */
    FUZZ_CHECK(b.bad && !pt_buf_reserve(&b, 1));
    pt_frame_end(&b, mark);
    pt_buf_clear(&b);
    FUZZ_CHECK(!pt_buf_reserve(&b, SIZE_MAX) && b.bad);
    pt_put_bytes(&b, NULL, (size_t)UINT32_MAX + 1);
    pt_buf_fini(&b);
}

static void check_frame(const uint8_t *data, size_t size, size_t used, uint8_t type,
                        const struct pt_reader *body)
{
    struct pt_reader same;
    uint8_t again;
    size_t total;
    FUZZ_CHECK(pt_frame_next(data + used, size - used, PT_MAX_FRAME, &again, &same, &total) == 1);
    FUZZ_CHECK(again == type && same.left == body->left && total == same.left + PT_FRAME_HEAD);
    FUZZ_CHECK(same.left == 0 || memcmp(same.p, body->p, same.left) == 0);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_frames f = {.fd = fuzz_fd(data, size)};
    struct pt_reader body;
    struct pt_buf rest = {0};
    uint8_t type;
    size_t used = 0;
    int rc;
    while ((rc = pt_frames_next(&f, &type, &body, &err)) == 1) {
        check_frame(data, size, used, type, &body);
        read_fields(body);
        write_again(type, &body, data + used, body.left + PT_FRAME_HEAD);
        used += body.left + PT_FRAME_HEAD;
    }
    FUZZ_CHECK(rc < 0 ? err.msg[0] != '\0' : used == size);
    pt_frames_idle(&f, 0);
    pt_buf_append(&rest, data, size);
    pt_buf_consume(&rest, size / 2);
    pt_buf_consume(&rest, size);
    pt_buf_append(&rest, data, size);
    rc = pt_frames_send(&f, &rest, &err);
    FUZZ_CHECK(rc == 0 ? rest.len == 0 : fuzz_starved());
    pt_buf_fini(&rest);
    pt_frames_fini(&f);
    close(f.fd);
    f.fd = -1;
    pt_put_u8(&rest, 1);
    FUZZ_CHECK(pt_frames_next(&f, &type, &body, &err) < 0 && pt_frames_send(&f, &rest, &err) < 0);
    pt_frames_fini(&f);
    pt_buf_fini(&rest);
}
