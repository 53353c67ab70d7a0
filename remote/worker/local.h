/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Unix sockets of this run's folder, between processes of one user. Descriptors are close-on-exec. */

struct pt_err;

#define PT_LOCAL_PATH 108 /* as sun_path */

/* DIR/NAME as a path that fits a socket address; -1 when it does not. */
int pt_local_path(char out[PT_LOCAL_PATH], const char *dir, const char *name, struct pt_err *err);
/* A non-blocking listener at path, mode 0600; what a former one left there is removed. */
int pt_local_listen(const char *path, struct pt_err *err);
/* A non-blocking connection. With `wait_ms`, tries for so long while nobody listens there. -1 with errno
 * kept. */
int pt_local_connect(const char *path, int wait_ms, struct pt_err *err);
/* -1 when the process at the other end is another user's. */
int pt_local_check_peer(int fd, struct pt_err *err);
