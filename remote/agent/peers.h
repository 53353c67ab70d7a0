/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The hosts with which groups may be started, as the master said last. */
#include "common/message_across.h"

/* Takes a PEERS; what was known before is forgotten. -1 when it is malformed: nothing changed. */
int pt_peers_take(struct pt_peers *peers, struct pt_reader *body, struct pt_err *err);
/* NULL when it is none of them. Borrowed until the next take. */
const struct pt_peer *pt_peers_find(const struct pt_peers *peers, uint32_t host);
/* "10.0.3.2". */
const char *pt_peers_address(uint32_t address, char text[16]);
/* The networks of these hosts' addresses, each once, as "10.0.3.0/24,10.0.4.0/24". Heap; NULL: no memory. */
char *pt_peers_networks(const struct pt_peer *const *list, size_t n);
