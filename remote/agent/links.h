/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* RUNDIR/link.sock: gives a worker its keys, then carries its bytes on a stream of its own, which it cannot
 * read. Neither side is read faster than the other takes. Others have sockets of theirs carried too. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pt_agent;
struct pt_buf;
struct pt_err;
struct pt_launch;
struct pt_links;

struct pt_links *pt_links_create(struct pt_agent *a, struct pt_err *err);
void pt_links_destroy(struct pt_links *links);
/* From now on workers below mpirun get these keys; NULL: nobody does. Borrowed until the next call. */
void pt_links_allow(struct pt_links *links, const struct pt_launch *launch, pid_t mpirun);
/* There is no master any more: everything that is carried ends, nothing new is taken, and workers wait at the
 * door. */
void pt_links_cut(struct pt_links *links);
/* The mux is a new one. */
void pt_links_begin(struct pt_links *links);
/* Workers that wait at the door, and those that come, get the keys. */
void pt_links_admit(struct pt_links *links);
/* True once a worker of this launch got its keys. */
bool pt_links_came(const struct pt_links *links);
/* True while bytes of a worker are not yet with the master. */
bool pt_links_busy(const struct pt_links *links);
/* After the mux was pulled: go on reading where there is room again. */
void pt_links_resume(struct pt_links *links);

/* A socket whose bytes shall travel on a new stream of this kind, after those of first (NULL: none). Takes
 * fd.
 */
int pt_links_carry(struct pt_links *links, int fd, uint8_t kind, const struct pt_buf *first,
                   struct pt_err *err);
/* What the mux says of streams that were opened here. */
void pt_links_data(struct pt_links *links, uint32_t stream, const void *data, size_t n);
void pt_links_closed(struct pt_links *links, uint32_t stream);
