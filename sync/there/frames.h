/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Frames over a descriptor that blocks. */
#include "common/wire.h"

struct pt_err;

struct pt_frames {
    int fd;
    struct pt_buf in;
    size_t used; /* bytes of in that the last frame took */
};

void pt_frames_fini(struct pt_frames *f);
/* The next frame; body is good until the next call. 1, 0 at the end between frames, -1 at any other end. */
int pt_frames_next(struct pt_frames *f, uint8_t *type, struct pt_reader *body, struct pt_err *err);
/* True when nothing more comes within so many milliseconds, nor is there anything that was not taken. */
bool pt_frames_idle(const struct pt_frames *f, int ms);
/* Write all of b and clear it. */
int pt_frames_send(struct pt_frames *f, struct pt_buf *b, struct pt_err *err);
