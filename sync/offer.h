/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the two ends say to each other about a tree: MANIFEST and SYNCED (see docs/protocol.md). */
#include "common/wire.h"
#include "sync/digest.h"

struct pt_err;

#define PT_KEEP_MAX 1000 /* --keep globs */

enum pt_offer_how {
    PT_OFFER_ROOT = 0,  /* the host may know this tree: nothing follows */
    PT_OFFER_DELTA = 1, /* a DELTA object follows */
    PT_OFFER_WHOLE = 2, /* a MANIFEST object follows */
};

struct pt_offer {
    uint8_t algorithm;
    unsigned char root[PT_DIGEST];
    uint8_t how;
    bool archive;        /* then follows an ARCHIVE with the blobs of `sent`, before the host said NEED */
    uint32_t blobs;      /* of the tree, when archive, else 0 */
    unsigned char *sent; /* a bit for each blob, or NULL */
    char **keep;         /* globs: what matches and is not in the tree stays in the workspace */
    uint32_t nkeep;
};

/* A whole frame. */
void pt_offer_encode(const struct pt_offer *offer, struct pt_buf *out);
/* Bounded, strings are copied; -1 when malformed. */
int pt_offer_decode(struct pt_reader *body, struct pt_offer *offer, struct pt_err *err);
void pt_offer_fini(struct pt_offer *offer);

/* How a workspace became the tree. */
struct pt_synced {
    uint64_t files_sent, bytes_sent;     /* written from the archive */
    uint64_t files_reused, bytes_reused; /* from the host's store */
    uint64_t files_right, bytes_right;   /* were right already */
    uint64_t removed;
    uint32_t survey_ms, apply_ms;
};

void pt_synced_encode(const struct pt_synced *synced, struct pt_buf *out);
int pt_synced_decode(struct pt_reader *body, struct pt_synced *synced, struct pt_err *err);
