/* SPDX-License-Identifier: Apache-2.0 */
/* A list of hosts ([user@]host:slots+labels): what was taken is taken again when it is written down. */
#include "common/err.h"
#include "fuzz.h"
#include "hosts.h"

static void write_host(const struct pt_hosts *hosts, const struct pt_host *h, struct pt_buf *out)
{
    char number[16] = "";
    if (out->len)
        pt_buf_append(out, ",", 1);
    pt_buf_append(out, h->name, strlen(h->name));
    if (h->slots)
        snprintf(number, sizeof(number), "%u", h->slots);
    if (h->slots || h->labels)
        pt_buf_append(out, ":", 1);
    pt_buf_append(out, number, strlen(number));
    for (unsigned i = 0; i < hosts->nlabels; i++)
        if (h->labels >> i & 1) {
            pt_buf_append(out, "+", 1);
            pt_buf_append(out, hosts->labels[i], strlen(hosts->labels[i]));
        }
}

static bool same_host(const struct pt_hosts *one, const struct pt_host *a, const struct pt_hosts *two,
                      const struct pt_host *b)
{
    for (unsigned i = 0; i < one->nlabels; i++)
        if ((a->labels >> i & 1) != ((b->labels & pt_hosts_label(two, one->labels[i])) != 0))
            return false;
    return strcmp(a->name, b->name) == 0 && strcmp(a->host, b->host) == 0 && a->slots == b->slots &&
           a->local == b->local && (a->user ? b->user && strcmp(a->user, b->user) == 0 : !b->user);
}

static void check(const struct pt_hosts *hosts)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf text = {0};
    struct pt_hosts again = {0};
    for (size_t i = 0; i < hosts->n; i++) {
        const struct pt_host *h = &hosts->items[i];
        FUZZ_CHECK(h->name[0] && h->host[0] && h->host[0] != '-' && (!h->user || h->user[0] != '-'));
        FUZZ_CHECK(h->slots <= PT_SLOTS_MAX);
        write_host(hosts, h, &text);
    }
    pt_buf_append(&text, "", 1);
    FUZZ_CHECK(pt_hosts_parse((char *)text.data, &again, &err) == 0 && again.n == hosts->n);
    for (size_t i = 0; i < hosts->n; i++)
        FUZZ_CHECK(same_host(hosts, &hosts->items[i], &again, &again.items[i]));
    pt_hosts_fini(&again);
    pt_buf_fini(&text);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    struct pt_hosts hosts = {0}, more = {0};
    char *list = fuzz_text(&in), *rest = fuzz_text(&in);
    int rc = pt_hosts_parse(list, &hosts, &err);
    FUZZ_CHECK(rc == 0 ? hosts.n > 0 : err.msg[0] != '\0');
    unsigned held = fuzz_hold();
    if (rc == 0)
        check(&hosts);
    fuzz_release(held);
    if (*rest && pt_hosts_parse_more(rest, &hosts, &more, &err) == 0) {
        size_t n = hosts.n + more.n;
        FUZZ_CHECK(pt_hosts_append(&hosts, &more, &err) == 0 ? hosts.n == n && more.n == 0
                                                             : err.msg[0] != '\0');
    }
    pt_hosts_fini(&hosts);
    pt_hosts_fini(&more);
    free(list);
    free(rest);
}
