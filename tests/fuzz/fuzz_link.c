/* SPDX-License-Identifier: Apache-2.0 */
/* What workers say first, and how frames are cut from what TLS gave: nothing is heard before a HELLO that
 * names the host that was proven. */
#define pt_tls_peer_host fuzz_peer_host
#include "link.c"

#include "fuzz.h"

static unsigned hellos, messages;

long fuzz_peer_host(const struct pt_tls *tls)
{
    (void)tls;
    return 3;
}

static void on_greeted(void *arg, struct pt_link *link, const struct pt_hello *hello)
{
    (void)arg;
    FUZZ_CHECK(link->greeted && hello->host == 3 && hellos == 0 && messages == 0);
    hellos++;
}

static int on_more(void *arg, struct pt_link *link, uint8_t type, struct pt_reader *body, struct pt_err *err)
{
    (void)arg;
    FUZZ_CHECK(link->greeted && hellos == 1 && body->left <= PT_MAX_FRAME);
    messages++;
    return type == 0 ? pt_err_set(err, "given up") : 0;
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    static char run[] = "r1";
    struct pt_link link = {.run = run, .fd = -1, .cb = {.hello = on_greeted, .message = on_more}};
    link.finishing = true; /* nothing is said: there is no TLS here */
    link.host = fuzz_byte(&in) % 2 ? 3 : -1;
    unsigned held = fuzz_hold();
    link.loop = pt_loop_create(&err);
    fuzz_release(held);
    int rc = 0;
    hellos = messages = 0;
    while (rc == 0 && in.left > 0) {
        size_t n = 1 + in.p[0] % 41;
        n = n < in.left ? n : in.left;
        pt_buf_append(&link.plain, in.p, n);
        in.p += n;
        in.left -= n;
        rc = link.plain.bad ? -1 : deliver(&link, &err);
    }
    FUZZ_CHECK(rc == 0 || err.msg[0] || link.plain.bad);
    pt_buf_fini(&link.plain);
    pt_loop_destroy(link.loop);
}
