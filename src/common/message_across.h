/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Messages about groups of ranks over several hosts: which hosts reach each other, and how one has something
 * started on another, by the master. docs/protocol.md 3.4 has the sequence. IPv4 addresses are in host order.
 */
#include "common/message.h"

#define PT_TOKEN         16
#define PT_ADDRESSES_MAX 64u  /* of one host */
#define PT_WORDS_MAX     512u /* of one command */

struct pt_address {
    uint32_t address;
    uint8_t prefix; /* bits of its network, at most 32 */
};

/* Agent: what this host is to groups over several hosts. */
struct pt_listening {
    char *mpi;     /* version of its Open MPI, as "4.1.4" */
    char *run_dir; /* absolute paths: of this run there, and its worker program */
    char *worker;
    uint32_t launch;
    uint32_t port;                 /* where probes are answered, on all addresses */
    unsigned char token[PT_TOKEN]; /* what a probe says; what is answered is its bytes in reverse order */
    struct pt_address *addresses;  /* not loopback; no bridges of containers and virtual machines */
    uint32_t n;
};
void pt_listening_encode(const struct pt_listening *m, struct pt_buf *out); /* a whole LISTENING frame */
int pt_listening_decode(struct pt_reader *r, struct pt_listening *m, struct pt_err *err);
void pt_listening_fini(struct pt_listening *m);

/* Master: try these. */
struct pt_probe {
    uint32_t n;
    struct pt_probe_host {
        uint32_t host, port;
        unsigned char token[PT_TOKEN];
        uint32_t n;
        uint32_t *addresses;
    } * hosts;
};
void pt_probe_encode(const struct pt_probe *m, struct pt_buf *out); /* a whole PROBE frame */
int pt_probe_decode(struct pt_reader *r, struct pt_probe *m, struct pt_err *err);
void pt_probe_fini(struct pt_probe *m);

/* Agent: these answered; a host may come several times. */
struct pt_reached {
    uint32_t n;
    struct pt_reached_host {
        uint32_t host, address;
    } * hosts;
};
void pt_reached_encode(const struct pt_reached *m, struct pt_buf *out); /* a whole REACHED frame */
int pt_reached_decode(struct pt_reader *r, struct pt_reached *m, struct pt_err *err);
void pt_reached_fini(struct pt_reached *m);

/* Master: hosts that reach each other, the one that is told among them. A later one replaces it. */
struct pt_peers {
    uint32_t n;
    struct pt_peer {
        uint32_t host;
        struct pt_address address;
        char *run_dir, *worker;
        uint32_t launch;
    } * hosts;
};
void pt_peers_encode(const struct pt_peers *m, struct pt_buf *out); /* a whole PEERS frame */
int pt_peers_decode(struct pt_reader *r, struct pt_peers *m, struct pt_err *err);
void pt_peers_fini(struct pt_peers *m);

enum pt_relay_what {
    PT_RELAY_ORTED = 1, /* orted with these words; its end ends it */
    PT_RELAY_HUB = 2,   /* the hub of its workers; no words */
};

/* Frames with which a stream of kind RELAY begins. What follows WANT and HERE is passed on unread. */
enum pt_relay_message {
    PT_Y_WANT = 1,    /* the one that asks: struct pt_relay */
    PT_Y_HERE = 2,    /* the one that was asked for by PT_C_RELAY: u32 id */
    PT_Y_OUTPUT = 3,  /* of an orted: bytes it wrote */
    PT_Y_EXIT = 4,    /* of an orted: u32 wait status; the last */
    PT_Y_REFUSED = 5, /* to the one that asks, the master's or the other's: str why; the last */
};

/* As WANT: host is who is wanted, or NONE and address is its; id 0. As PT_C_RELAY: host is who asks, id is
 * what HERE says. */
struct pt_relay {
    uint32_t host, address, id;
    uint8_t what;
    char **words;
    uint32_t nwords;
};
/* type is PT_Y_WANT or PT_C_RELAY. */
void pt_relay_encode(const struct pt_relay *m, uint8_t type, struct pt_buf *out);
int pt_relay_decode(struct pt_reader *r, struct pt_relay *m, struct pt_err *err);
void pt_relay_fini(struct pt_relay *m);
