/* SPDX-License-Identifier: Apache-2.0 */
/* A file of hosts, as Open MPI has them. */
#include "common/err.h"
#include "fuzz.h"
#include "hosts.h"

void fuzz_one(const uint8_t *data, size_t size)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_hosts hosts = {0};
    char path[300];
    snprintf(path, sizeof(path), "%s", fuzz_file("hosts", data, size));
    int rc = pt_hosts_parse_file(path, &hosts, &err);
    FUZZ_CHECK(rc == 0 ? hosts.n > 0 : err.msg[0] && !strchr(err.msg, '\n'));
    for (size_t i = 0; i < hosts.n; i++) {
        const struct pt_host *h = &hosts.items[i];
        FUZZ_CHECK(h->name[0] && h->host[0] && h->host[0] != '-' && h->slots <= PT_SLOTS_MAX);
        FUZZ_CHECK(!(h->labels >> hosts.nlabels) && strlen(h->host) < 256);
    }
    pt_hosts_fini(&hosts);
    FUZZ_CHECK(pt_hosts_parse_file(fuzz_path("none"), &hosts, &err) < 0 &&
               pt_hosts_parse_file(fuzz_folder(), &hosts, &err) < 0);
    pt_hosts_fini(&hosts);
}
