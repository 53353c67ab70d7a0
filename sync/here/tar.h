/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: writes blobs as one tar of plain ustar headers: each a regular file whose name is its number. Content
 * goes from the file to where it is wanted without a copy between. The other end is untar.h. */
#include <stddef.h>
#include <stdint.h>

struct pt_err;
struct pt_tar;

struct pt_tar_out {
    /* Where the next *n bytes (at least one) go; the same place until `took`. NULL: no more. */
    void *(*room)(void *arg, size_t *n);
    /* The first n of them have been written. */
    void (*took)(void *arg, size_t n);
    void *arg;
};

enum pt_tar_got {
    PT_TAR_DONE,
    PT_TAR_SHORT,      /* the file ends before the blob does */
    PT_TAR_UNREADABLE, /* read(2) failed: errno */
    PT_TAR_STOPPED,    /* there is no more room */
    PT_TAR_BROKEN,     /* the library failed: err */
};

struct pt_tar *pt_tar_create(const struct pt_tar_out *out, struct pt_err *err);
/* Without pt_tar_end before it the tar stays cut off where it is. NULL is fine. */
void pt_tar_destroy(struct pt_tar *t);
/* The next entry: `size` bytes of fd from `offset`. After anything but DONE only destroy may follow. */
enum pt_tar_got pt_tar_blob(struct pt_tar *t, uint32_t number, int fd, uint64_t offset, uint32_t size,
                            struct pt_err *err);
/* The end-of-archive mark. DONE, STOPPED or BROKEN. */
enum pt_tar_got pt_tar_end(struct pt_tar *t, struct pt_err *err);
