/* SPDX-License-Identifier: Apache-2.0 */
/* The link in the clear, in the place of src/common/tls*.c: what worker and master are built with that
 * tests/bench/tls compares with to learn what TLS costs. No key, no certificate, no check of who is there.
 * Never installed. On the wire: u32 length and so many bytes, again and again; a length of 0 is the end. */
#include "common/tls.h"

#include "common/err.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 4

static struct pt_tls_ca {
    bool told;
} nobody;

struct pt_tls {
    struct pt_buf out;
    unsigned char head[HEAD]; /* of the piece that is coming */
    size_t nhead, left;       /* bytes of its head that are there, and that its content lacks */
    long host;
    bool closing, peer_closed;
};

void pt_tls_identity_fini(struct pt_tls_identity *id)
{
    free(id->cert_pem);
    free(id->key_pem);
    free(id->ca_pem);
    *id = (struct pt_tls_identity){0};
}

int pt_tls_prepare(struct pt_tls_identity *id, struct pt_err *err)
{
    (void)id, (void)err;
    return 0;
}

struct pt_tls_ca *pt_tls_ca_create(const char *run, long seconds, struct pt_err *err)
{
    (void)run, (void)seconds, (void)err;
    if (!nobody.told)
        pt_warn("built without TLS, for a measurement alone: links are in the clear");
    nobody.told = true;
    return &nobody;
}

void pt_tls_ca_destroy(struct pt_tls_ca *ca)
{
    (void)ca;
}

int pt_tls_ca_issue(struct pt_tls_ca *ca, const char *role, struct pt_tls_identity *out, struct pt_err *err)
{
    (void)ca, (void)role;
    *out = (struct pt_tls_identity){.cert_pem = strdup(""), .key_pem = strdup(""), .ca_pem = strdup("")};
    if (out->cert_pem && out->key_pem && out->ca_pem)
        return 0;
    pt_tls_identity_fini(out);
    return pt_err_set(err, "out of memory");
}

/* Who is there is believed: the host whose agent carries the link. With --listen there is none, and no link.
 */
struct pt_tls *pt_tls_create(const struct pt_tls_identity *id, int server, const char *run,
                             const char *peer_role, struct pt_err *err)
{
    (void)id, (void)run;
    struct pt_tls *tls = calloc(1, sizeof(*tls));
    if (!tls) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    if (!server || !peer_role || sscanf(peer_role, "host/%ld/worker", &tls->host) != 1)
        tls->host = -1;
    return tls;
}

void pt_tls_destroy(struct pt_tls *tls)
{
    if (tls)
        pt_buf_fini(&tls->out);
    free(tls);
}

/* One byte of a head. */
static void take_head(struct pt_tls *tls, unsigned char byte)
{
    tls->head[tls->nhead++] = byte;
    if (tls->nhead < HEAD)
        return;
    struct pt_reader head = {.p = tls->head, .left = HEAD};
    tls->left = pt_get_u32(&head);
    tls->nhead = 0;
    tls->peer_closed = tls->left == 0;
}

int pt_tls_feed(struct pt_tls *tls, const void *data, size_t n, struct pt_buf *plain, struct pt_err *err)
{
    const unsigned char *p = data;
    while (n && !tls->peer_closed) {
        size_t part = tls->left < n ? tls->left : n;
        if (part) {
            pt_buf_append(plain, p, part);
            tls->left -= part;
        } else {
            take_head(tls, *p);
            part = 1;
        }
        p += part;
        n -= part;
    }
    if (plain->bad)
        return pt_err_set(err, "out of memory");
    return tls->peer_closed;
}

int pt_tls_send(struct pt_tls *tls, const void *data, size_t n, struct pt_err *err)
{
    if (tls->closing)
        return pt_err_set(err, "closed on this side");
    if (n)
        pt_put_bytes(&tls->out, data, n);
    return tls->out.bad ? pt_err_set(err, "out of memory") : 0;
}

void pt_tls_close(struct pt_tls *tls)
{
    if (!tls->closing)
        pt_put_u32(&tls->out, 0);
    tls->closing = true;
}

void pt_tls_pull(struct pt_tls *tls, struct pt_buf *out)
{
    pt_buf_append(out, tls->out.data, tls->out.len);
    out->bad |= tls->out.bad;
    pt_buf_clear(&tls->out);
}

bool pt_tls_established(const struct pt_tls *tls)
{
    (void)tls;
    return true;
}

long pt_tls_peer_host(const struct pt_tls *tls)
{
    return tls->host;
}
