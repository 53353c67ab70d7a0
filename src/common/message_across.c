/* SPDX-License-Identifier: Apache-2.0 */
#include "common/message_across.h"

#include "common/err.h"

#include <stdlib.h>
#include <string.h>

static int finish(struct pt_reader *r, const char *what, struct pt_err *err)
{
    return pt_get_end(r) ? 0 : pt_err_set(err, "%s: malformed message", what);
}

/* An array of as many as are said, at most `most`, each of `least` bytes or more; NULL: bad. */
static void *get_list(struct pt_reader *r, uint32_t most, size_t least, size_t size, uint32_t *n)
{
    *n = pt_get_u32(r);
    if (*n > most || *n > r->left / least)
        r->bad = true;
    void *list = r->bad ? NULL : calloc(*n ? *n : 1, size);
    if (!list) {
        *n = 0;
        r->bad = true;
    }
    return list;
}

static void put_token(struct pt_buf *out, const unsigned char *token)
{
    pt_put_bytes(out, token, PT_TOKEN);
}

static void get_token(struct pt_reader *r, unsigned char *token)
{
    size_t n;
    const void *bytes = pt_get_bytes(r, &n);
    if (r->bad || n != PT_TOKEN)
        r->bad = true;
    else
        memcpy(token, bytes, PT_TOKEN);
}

static struct pt_address get_address(struct pt_reader *r)
{
    struct pt_address a = {.address = pt_get_u32(r)};
    a.prefix = pt_get_u8(r);
    if (a.prefix > 32)
        r->bad = true;
    return a;
}

static uint32_t get_port(struct pt_reader *r)
{
    uint32_t port = pt_get_u32(r);
    if (port > 65535)
        r->bad = true;
    return port;
}

/* --- listening --- */

void pt_listening_encode(const struct pt_listening *m, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_C_LISTENING);
    pt_put_str(out, m->mpi);
    pt_put_str(out, m->run_dir);
    pt_put_str(out, m->worker);
    pt_put_u32(out, m->launch);
    pt_put_u32(out, m->port);
    put_token(out, m->token);
    pt_put_u32(out, m->n);
    for (uint32_t i = 0; i < m->n; i++) {
        pt_put_u32(out, m->addresses[i].address);
        pt_put_u8(out, m->addresses[i].prefix);
    }
    pt_frame_end(out, mark);
}

int pt_listening_decode(struct pt_reader *r, struct pt_listening *m, struct pt_err *err)
{
    *m = (struct pt_listening){.mpi = pt_get_str(r, 256)};
    m->run_dir = pt_get_str(r, PT_MAX_PATH);
    m->worker = pt_get_str(r, PT_MAX_PATH);
    m->launch = pt_get_u32(r);
    m->port = get_port(r);
    get_token(r, m->token);
    m->addresses = get_list(r, PT_ADDRESSES_MAX, 5, sizeof(*m->addresses), &m->n);
    for (uint32_t i = 0; i < m->n; i++)
        m->addresses[i] = get_address(r);
    if (finish(r, "listening", err) == 0)
        return 0;
    pt_listening_fini(m);
    return -1;
}

void pt_listening_fini(struct pt_listening *m)
{
    free(m->mpi);
    free(m->run_dir);
    free(m->worker);
    free(m->addresses);
    *m = (struct pt_listening){0};
}

/* --- probe, reached --- */

void pt_probe_encode(const struct pt_probe *m, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_C_PROBE);
    pt_put_u32(out, m->n);
    for (uint32_t i = 0; i < m->n; i++) {
        const struct pt_probe_host *host = &m->hosts[i];
        pt_put_u32(out, host->host);
        pt_put_u32(out, host->port);
        put_token(out, host->token);
        pt_put_u32(out, host->n);
        for (uint32_t k = 0; k < host->n; k++)
            pt_put_u32(out, host->addresses[k]);
    }
    pt_frame_end(out, mark);
}

int pt_probe_decode(struct pt_reader *r, struct pt_probe *m, struct pt_err *err)
{
    *m = (struct pt_probe){0};
    m->hosts = get_list(r, UINT32_MAX, 16 + PT_TOKEN, sizeof(*m->hosts), &m->n);
    for (uint32_t i = 0; i < m->n && !r->bad; i++) {
        struct pt_probe_host *host = &m->hosts[i];
        host->host = pt_get_u32(r);
        host->port = get_port(r);
        get_token(r, host->token);
        host->addresses = get_list(r, PT_ADDRESSES_MAX, 4, sizeof(*host->addresses), &host->n);
        for (uint32_t k = 0; k < host->n; k++)
            host->addresses[k] = pt_get_u32(r);
    }
    if (finish(r, "probe", err) == 0)
        return 0;
    pt_probe_fini(m);
    return -1;
}

void pt_probe_fini(struct pt_probe *m)
{
    for (uint32_t i = 0; i < m->n; i++)
        free(m->hosts[i].addresses);
    free(m->hosts);
    *m = (struct pt_probe){0};
}

void pt_reached_encode(const struct pt_reached *m, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_C_REACHED);
    pt_put_u32(out, m->n);
    for (uint32_t i = 0; i < m->n; i++) {
        pt_put_u32(out, m->hosts[i].host);
        pt_put_u32(out, m->hosts[i].address);
    }
    pt_frame_end(out, mark);
}

int pt_reached_decode(struct pt_reader *r, struct pt_reached *m, struct pt_err *err)
{
    *m = (struct pt_reached){0};
    m->hosts = get_list(r, UINT32_MAX, 8, sizeof(*m->hosts), &m->n);
    for (uint32_t i = 0; i < m->n; i++) {
        m->hosts[i].host = pt_get_u32(r);
        m->hosts[i].address = pt_get_u32(r);
    }
    if (finish(r, "reached", err) == 0)
        return 0;
    pt_reached_fini(m);
    return -1;
}

void pt_reached_fini(struct pt_reached *m)
{
    free(m->hosts);
    *m = (struct pt_reached){0};
}

/* --- peers --- */

void pt_peers_encode(const struct pt_peers *m, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_C_PEERS);
    pt_put_u32(out, m->n);
    for (uint32_t i = 0; i < m->n; i++) {
        const struct pt_peer *peer = &m->hosts[i];
        pt_put_u32(out, peer->host);
        pt_put_u32(out, peer->address.address);
        pt_put_u8(out, peer->address.prefix);
        pt_put_str(out, peer->run_dir);
        pt_put_str(out, peer->worker);
        pt_put_u32(out, peer->launch);
    }
    pt_frame_end(out, mark);
}

int pt_peers_decode(struct pt_reader *r, struct pt_peers *m, struct pt_err *err)
{
    *m = (struct pt_peers){0};
    m->hosts = get_list(r, UINT32_MAX, 21, sizeof(*m->hosts), &m->n);
    for (uint32_t i = 0; i < m->n && !r->bad; i++) {
        struct pt_peer *peer = &m->hosts[i];
        peer->host = pt_get_u32(r);
        peer->address = get_address(r);
        peer->run_dir = pt_get_str(r, PT_MAX_PATH);
        peer->worker = pt_get_str(r, PT_MAX_PATH);
        peer->launch = pt_get_u32(r);
    }
    if (finish(r, "peers", err) == 0)
        return 0;
    pt_peers_fini(m);
    return -1;
}

void pt_peers_fini(struct pt_peers *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        free(m->hosts[i].run_dir);
        free(m->hosts[i].worker);
    }
    free(m->hosts);
    *m = (struct pt_peers){0};
}

/* --- relay --- */

void pt_relay_encode(const struct pt_relay *m, uint8_t type, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, type);
    pt_put_u32(out, m->host);
    pt_put_u32(out, m->address);
    pt_put_u32(out, m->id);
    pt_put_u8(out, m->what);
    pt_put_u32(out, m->nwords);
    for (uint32_t i = 0; i < m->nwords; i++)
        pt_put_str(out, m->words[i]);
    pt_frame_end(out, mark);
}

int pt_relay_decode(struct pt_reader *r, struct pt_relay *m, struct pt_err *err)
{
    *m = (struct pt_relay){.host = pt_get_u32(r)};
    m->address = pt_get_u32(r);
    m->id = pt_get_u32(r);
    m->what = pt_get_u8(r);
    if (m->what != PT_RELAY_ORTED && m->what != PT_RELAY_HUB)
        r->bad = true;
    m->words = get_list(r, PT_WORDS_MAX, 4, sizeof(char *), &m->nwords);
    for (uint32_t i = 0; i < m->nwords && !r->bad; i++)
        m->words[i] = pt_get_str(r, PT_MAX_PATH);
    if (m->what == PT_RELAY_HUB && m->nwords > 0)
        r->bad = true;
    if (finish(r, "relay", err) == 0)
        return 0;
    pt_relay_fini(m);
    return -1;
}

void pt_relay_fini(struct pt_relay *m)
{
    for (uint32_t i = 0; i < m->nwords; i++)
        free(m->words[i]);
    free(m->words);
    *m = (struct pt_relay){0};
}
