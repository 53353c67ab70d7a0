/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Streams between agents, passed on here: the first frame of each is told; then it is refused, or joined with
 * another one, and from then on bytes go both ways unread, as fast as the other side takes them. Knows
 * nothing of runs. The loop's thread only. */
#include <stddef.h>
#include <stdint.h>

struct pt_err;
struct pt_loop;
struct pt_reader;
struct pt_relays;
struct pt_relayed; /* one stream */

#define PT_RELAY_FIRST_MAX (1u << 20)   /* bytes of a first frame */
#define PT_RELAY_FIRST_MS  20000        /* until it must be there; then the stream is closed */
#define PT_RELAY_BUFFER    (256u << 10) /* bytes read ahead of the other side, about */

struct pt_relays_callbacks {
    /* The stream's first frame came. It may be refused, or joined, in here or later; what was told is
     * destroyed with its relays if it is neither. -1: the frame makes no sense, the stream is closed. */
    int (*first)(void *arg, struct pt_relayed *stream, uint8_t type, struct pt_reader *body);
    /* Two that were joined are closed; tag as it was given then. Not called by destroy. */
    void (*closed)(void *arg, uint32_t tag);
};

struct pt_relays *pt_relays_create(struct pt_loop *loop, const struct pt_relays_callbacks *cb, void *arg,
                                   struct pt_err *err);
/* Closes all streams. NULL is fine. */
void pt_relays_destroy(struct pt_relays *relays);
/* Takes the socket over, -1 too. `from` is the caller's: whose stream it is. */
int pt_relays_add(struct pt_relays *relays, int fd, uint32_t from, struct pt_err *err);
/* Streams that are open. */
size_t pt_relays_count(const struct pt_relays *relays);

uint32_t pt_relayed_from(const struct pt_relayed *stream);
/* Say why (REFUSED) and close it. */
void pt_relayed_refuse(struct pt_relayed *stream, const char *why);
/* What came behind the first frame of either is passed on, too. Each side's end is passed on once all before
 * it was; both are closed when both have ended, or one cannot be written to any more. */
void pt_relayed_join(struct pt_relayed *a, struct pt_relayed *b, uint32_t tag);
