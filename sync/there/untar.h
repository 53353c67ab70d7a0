/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: reads a tar whose bytes come as they come. Plain files only, each whole in memory. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pt_err;
struct pt_untar;

struct pt_untar_entry {
    const char *name;
    const void *data; /* size bytes; all of it is good until the next call */
    uint32_t size;
    bool inside;     /* data lies in the bytes that read gave last, and lives as long as those */
    uint64_t offset; /* of the content among the bytes of the tar */
};

/* read gives the next bytes of the tar, which must stay until it is called again: how many, 0 at their end,
 * -1 to give up. It is called only by pt_untar_next. */
struct pt_untar *pt_untar_create(ssize_t (*read)(void *arg, const void **data), void *arg,
                                 struct pt_err *err);
void pt_untar_destroy(struct pt_untar *u);
/* 1: out is the next entry; 0: the tar is at its proper end; 2: the bytes ended before it; -1: read gave up
 * (err is as it left it), or this is no tar of plain files of at most `max` bytes. After anything but 1: the
 * same again. */
int pt_untar_next(struct pt_untar *u, uint32_t max, struct pt_untar_entry *out, struct pt_err *err);
