/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The direct way for workers, --listen: a TCP socket of the master. Who comes is checked by link.h. */

struct pt_err;
struct pt_listener;
struct pt_loop;

/* Listen on "ADDR:PORT" (port 0: any) and give every connection to `accepted`, which owns fd. */
struct pt_listener *pt_listener_create(struct pt_loop *loop, const char *address,
                                       void (*accepted)(void *arg, int fd), void *arg, struct pt_err *err);
void pt_listener_destroy(struct pt_listener *listener);
/* "ADDR:PORT" that hosts connect to, with the real port. */
const char *pt_listener_address(const struct pt_listener *listener);
