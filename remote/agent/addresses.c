/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/addresses.h"

#include "common/auto.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

/* Such a network is inside of this machine, and the next machine may have one with the same addresses. */
static bool is_inside(const char *name)
{
    static const char *const names[] = {"docker", "br-",     "virbr",  "veth", "lxc",
                                        "cni",    "flannel", "podman", "vbox", "vmnet"};
    for (size_t i = 0; i < PT_COUNT(names); i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static uint32_t address_of(const struct sockaddr *addr)
{
    struct sockaddr_in in;
    memcpy(&in, addr, sizeof(in));
    return ntohl(in.sin_addr.s_addr);
}

uint32_t pt_addresses_get(struct pt_address list[PT_ADDRESSES_MAX])
{
    struct ifaddrs *all = NULL;
    uint32_t n = 0;
    if (getifaddrs(&all) < 0)
        return 0;
    for (const struct ifaddrs *i = all; i && n < PT_ADDRESSES_MAX; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP) ||
            (i->ifa_flags & IFF_LOOPBACK) || is_inside(i->ifa_name))
            continue;
        uint32_t mask = i->ifa_netmask ? address_of(i->ifa_netmask) : ~0u;
        list[n++] = (struct pt_address){.address = address_of(i->ifa_addr),
                                        .prefix = (uint8_t)__builtin_popcount(mask)};
    }
    freeifaddrs(all);
    return n;
}
