/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A lane's streams that end in descriptors of the run: links, the collector's words, relays. Each is one end
 * of a socket pair; bytes are taken from a side only as fast as the other takes them. The lane's thread only.
 */
#include <poll.h>
#include <stddef.h>
#include <stdint.h>

struct pt_channels;
struct pt_err;
struct pt_mux;

#define PT_CHANNELS_MAX 960 /* fewer than PT_MUX_STREAMS: what is too much is refused, and no more */

struct pt_channels *pt_channels_create(struct pt_mux *mux, struct pt_err *err);
void pt_channels_destroy(struct pt_channels *c);
/* A stream that was opened: gives the run's end, which the caller owns; -1 when it cannot be had. */
int pt_channels_add(struct pt_channels *c, uint32_t stream);
/* From the mux's callbacks; streams that are not ours are ignored. */
void pt_channels_data(struct pt_channels *c, uint32_t stream, const void *data, size_t n);
void pt_channels_closed(struct pt_channels *c, uint32_t stream);
/* Fill fds (room for PT_CHANNELS_MAX) with what to wait for; gives how many. */
size_t pt_channels_polls(const struct pt_channels *c, struct pollfd *fds);
/* Move what can be moved after a wait on those fds. */
void pt_channels_move(struct pt_channels *c, const struct pollfd *fds, size_t n);
