/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/peers.h"

#include "common/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int pt_peers_take(struct pt_peers *peers, struct pt_reader *body, struct pt_err *err)
{
    struct pt_peers fresh;
    if (pt_peers_decode(body, &fresh, err) < 0)
        return -1;
    for (uint32_t i = 0; i < fresh.n; i++)
        if (fresh.hosts[i].run_dir[0] != '/' || fresh.hosts[i].worker[0] != '/') {
            pt_peers_fini(&fresh);
            return pt_err_set(err, "peers: a path that is not absolute");
        }
    pt_peers_fini(peers);
    *peers = fresh;
    return 0;
}

const struct pt_peer *pt_peers_find(const struct pt_peers *peers, uint32_t host)
{
    for (uint32_t i = 0; i < peers->n; i++)
        if (peers->hosts[i].host == host)
            return &peers->hosts[i];
    return NULL;
}

const char *pt_peers_address(uint32_t address, char text[16])
{
    snprintf(text, 16, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
    return text;
}

static uint32_t network_of(const struct pt_address *a)
{
    return a->prefix ? a->address & ~0u << (32 - a->prefix) : 0;
}

static bool is_known(const struct pt_peer *const *list, size_t n, const struct pt_address *a)
{
    for (size_t i = 0; i < n; i++)
        if (list[i]->address.prefix == a->prefix && network_of(&list[i]->address) == network_of(a))
            return true;
    return false;
}

char *pt_peers_networks(const struct pt_peer *const *list, size_t n)
{
    struct pt_buf b = {0};
    for (size_t i = 0; i < n; i++) {
        char address[16], text[24];
        if (is_known(list, i, &list[i]->address))
            continue;
        snprintf(text, sizeof(text), "%s%s/%u", i ? "," : "",
                 pt_peers_address(network_of(&list[i]->address), address), list[i]->address.prefix);
        pt_buf_append(&b, text, strlen(text));
    }
    pt_put_u8(&b, 0);
    if (!b.bad)
        return (char *)b.data;
    pt_buf_fini(&b);
    return NULL;
}
