/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Bytes in and out: a growing buffer, big-endian encoders, and a reader that goes bad and stays bad. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Encoders set `bad` when memory ends; check once at the end. Zero-initialise; pt_buf_fini frees. */
struct pt_buf {
    unsigned char *data;
    size_t len, cap;
    bool bad;
};

void pt_buf_fini(struct pt_buf *b);
void pt_buf_clear(struct pt_buf *b);
/* Room for n more bytes; NULL (and bad) when memory ends. The caller adds to len what it wrote. */
void *pt_buf_reserve(struct pt_buf *b, size_t n);
void pt_buf_append(struct pt_buf *b, const void *data, size_t n);
/* Drop n bytes from the front (n <= len). */
void pt_buf_consume(struct pt_buf *b, size_t n);

void pt_put_u8(struct pt_buf *b, uint8_t v);
void pt_put_u32(struct pt_buf *b, uint32_t v);
void pt_put_u64(struct pt_buf *b, uint64_t v);
/* u32 length, then the bytes. */
void pt_put_bytes(struct pt_buf *b, const void *data, size_t n);
/* pt_put_bytes of a C string; NULL counts as "". */
void pt_put_str(struct pt_buf *b, const char *s);
/* Overwrite the u32 at offset `at` (a length known later). */
void pt_set_u32(struct pt_buf *b, size_t at, uint32_t v);

struct pt_reader {
    const unsigned char *p;
    size_t left;
    bool bad;
};

/* Each getter gives 0, NULL or "" once the reader is bad. */
uint8_t pt_get_u8(struct pt_reader *r);
uint32_t pt_get_u32(struct pt_reader *r);
uint64_t pt_get_u64(struct pt_reader *r);
/* Borrowed pointer into the message; *n its length. */
const void *pt_get_bytes(struct pt_reader *r, size_t *n);
/* A heap copy with a NUL after it; goes bad on a NUL inside, on more than `max` bytes, on no memory. */
char *pt_get_str(struct pt_reader *r, size_t max);
/* Exactly n raw bytes. */
const void *pt_get_raw(struct pt_reader *r, size_t n);
/* True when nothing went wrong and nothing is left. */
bool pt_get_end(struct pt_reader *r);

/* --- frames: u32 length of what follows, u8 type, payload --- */
#define PT_FRAME_HEAD 5
#define PT_FRAME_MAX  (64u << 20)

/* Start a frame of `type` in b; returns the mark for pt_frame_end. */
size_t pt_frame_begin(struct pt_buf *b, uint8_t type);
void pt_frame_end(struct pt_buf *b, size_t mark);
/* The first whole frame in data[0..len): 1 and fills type, body, body_len, total; 0 when more bytes are
 * needed; -1 when the length is 0 or above `max`. */
int pt_frame_next(const void *data, size_t len, size_t max, uint8_t *type, struct pt_reader *body,
                  size_t *total);
