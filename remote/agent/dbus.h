/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* As much of D-Bus as one call over a connection of its own needs. Pure: bytes in, bytes out. */
#include "common/wire.h"

struct pt_err;

#define PT_DBUS_MAX (64u << 10) /* bytes of a message */

/* The first words: who we are (the socket tells that this is true), and that messages follow. */
void pt_dbus_hello(struct pt_buf *out, uint32_t uid);
/* org.freedesktop.systemd1.Manager.StartTransientUnit of a scope with these processes. */
void pt_dbus_start_scope(struct pt_buf *out, const char *name, const uint32_t *pids, uint32_t n);
/* What came so far, all of it. 1: the call was taken, 0: more is needed, -1: it was refused (err: in their
 * words). */
int pt_dbus_answer(const struct pt_buf *in, struct pt_err *err);
