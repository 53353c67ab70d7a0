/* SPDX-License-Identifier: Apache-2.0 */
/* Messages about groups over several hosts: what is encoded comes back, and nothing else is taken. */
#include "decode_lab.h"

#include "common/message_across.h"
#include "src/common/message_across.c"
#include "src/common/wire.c"

DECODER(listening)
DECODER(probe)
DECODER(reached)
DECODER(peers)
DECODER(relay)

static unsigned char token[PT_TOKEN] = "0123456789abcde";

static struct pt_listening listening(struct pt_address *addresses, uint32_t n)
{
    struct pt_listening m = {.mpi = (char *)"4.1.4",
                             .run_dir = (char *)"/tmp/r",
                             .worker = (char *)"/c/w",
                             .launch = 2,
                             .port = 65535,
                             .addresses = addresses,
                             .n = n};
    memcpy(m.token, token, PT_TOKEN);
    return m;
}

/* Is it refused, as far as it goes? */
static void expect_refused(decode_fn *decode, struct pt_buf *b, uint8_t type, const char *what)
{
    struct pt_reader r = body_of(b, type, 0);
    cr_expect_eq(decode_copy(decode, r.p, r.left, NULL), -1, "%s", what);
    pt_buf_fini(b);
}

Test(message_across, listening)
{
    struct pt_address list[] = {{0x0a000301, 24}, {0xc0a80101, 32}, {0x7f000001, 0}};
    struct pt_listening m = listening(list, 3);
    struct pt_listening got;
    struct pt_buf b = {0};
    pt_listening_encode(&m, &b);
    struct pt_reader r = body_of(&b, PT_C_LISTENING, 0);
    cr_assert_eq(pt_listening_decode(&r, &got, NULL), 0);
    cr_expect_str_eq(got.mpi, "4.1.4");
    cr_expect_str_eq(got.run_dir, "/tmp/r");
    cr_expect_str_eq(got.worker, "/c/w");
    cr_expect(got.launch == 2 && got.port == 65535 && memcmp(got.token, token, PT_TOKEN) == 0);
    cr_assert_eq(got.n, 3);
    for (uint32_t i = 0; i < 3; i++)
        cr_expect(got.addresses[i].address == list[i].address && got.addresses[i].prefix == list[i].prefix);
    pt_listening_fini(&got);
    check(listening_once, &b, PT_C_LISTENING, 0);
}

Test(message_across, listening_that_makes_no_sense)
{
    static struct pt_address many[PT_ADDRESSES_MAX + 1];
    struct pt_address wide = {0x0a000301, 33};
    struct pt_listening odd[] = {listening(&wide, 1), listening(NULL, 0),
                                 listening(many, PT_ADDRESSES_MAX + 1)};
    odd[1].port = 65536;
    for (size_t i = 0; i < 3; i++) {
        struct pt_buf b = {0};
        pt_listening_encode(&odd[i], &b);
        expect_refused(listening_once, &b, PT_C_LISTENING, "network, port, addresses");
    }
    struct pt_listening most = listening(many, PT_ADDRESSES_MAX);
    struct pt_buf b = {0};
    pt_listening_encode(&most, &b);
    check(listening_once, &b, PT_C_LISTENING, 0);
}

Test(message_across, probe)
{
    uint32_t first[] = {1, 2, 3};
    struct pt_probe_host hosts[] = {{.host = 4, .port = 1000, .n = 3, .addresses = first},
                                    {.host = 5, .port = 1}};
    struct pt_probe m = {.n = 2, .hosts = hosts};
    struct pt_probe got;
    struct pt_buf b = {0};
    memcpy(hosts[0].token, token, PT_TOKEN);
    pt_probe_encode(&m, &b);
    struct pt_reader r = body_of(&b, PT_C_PROBE, 0);
    cr_assert_eq(pt_probe_decode(&r, &got, NULL), 0);
    cr_assert(got.n == 2 && got.hosts[0].n == 3 && got.hosts[1].n == 0);
    cr_expect(got.hosts[0].host == 4 && got.hosts[0].port == 1000 && got.hosts[0].addresses[2] == 3);
    cr_expect(memcmp(got.hosts[0].token, token, PT_TOKEN) == 0);
    cr_expect(got.hosts[1].host == 5 && got.hosts[1].port == 1);
    pt_probe_fini(&got);
    check(probe_once, &b, PT_C_PROBE, 0);
    hosts[1].port = 65536;
    pt_probe_encode(&m, &b);
    expect_refused(probe_once, &b, PT_C_PROBE, "port");
}

/* A number that no frame could hold asks for no memory. */
Test(message_across, counts_that_lie)
{
    static const struct {
        decode_fn *decode;
        const char *what;
    } list[] = {{probe_once, "probe"}, {reached_once, "reached"}, {peers_once, "peers"}};
    for (size_t i = 0; i < 3; i++) {
        struct pt_buf b = {0};
        pt_put_u32(&b, 0x10000000);
        pt_put_u64(&b, 0);
        cr_expect_eq(decode_copy(list[i].decode, b.data, b.len, NULL), -1, "%s", list[i].what);
        pt_buf_fini(&b);
    }
}

Test(message_across, reached)
{
    struct pt_reached_host hosts[] = {{1, 0x0a000301}, {1, 0x0a000401}, {7, 0xffffffff}};
    struct pt_reached m = {.n = 3, .hosts = hosts};
    struct pt_reached got;
    struct pt_buf b = {0};
    pt_reached_encode(&m, &b);
    struct pt_reader r = body_of(&b, PT_C_REACHED, 0);
    cr_assert_eq(pt_reached_decode(&r, &got, NULL), 0);
    cr_assert_eq(got.n, 3);
    for (uint32_t i = 0; i < 3; i++)
        cr_expect(got.hosts[i].host == hosts[i].host && got.hosts[i].address == hosts[i].address);
    pt_reached_fini(&got);
    check(reached_once, &b, PT_C_REACHED, 0);
    pt_reached_encode(&(struct pt_reached){0}, &b);
    check(reached_once, &b, PT_C_REACHED, 0);
}

Test(message_across, peers)
{
    struct pt_peer hosts[] = {
        {.host = 0,
         .address = {0x0a000301, 24},
         .run_dir = (char *)"/a",
         .worker = (char *)"/b",
         .launch = 1},
        {.host = 3, .address = {0x0a000302, 33}, .run_dir = (char *)"", .worker = (char *)"/w", .launch = 4}};
    struct pt_peers m = {.n = 2, .hosts = hosts};
    struct pt_peers got;
    struct pt_buf b = {0};
    pt_peers_encode(&m, &b);
    expect_refused(peers_once, &b, PT_C_PEERS, "network");
    hosts[1].address.prefix = 32;
    pt_peers_encode(&m, &b);
    struct pt_reader r = body_of(&b, PT_C_PEERS, 0);
    cr_assert_eq(pt_peers_decode(&r, &got, NULL), 0);
    cr_assert_eq(got.n, 2);
    for (uint32_t i = 0; i < 2; i++) {
        cr_expect(got.hosts[i].host == hosts[i].host && got.hosts[i].launch == hosts[i].launch);
        cr_expect(got.hosts[i].address.address == hosts[i].address.address);
        cr_expect_eq(got.hosts[i].address.prefix, hosts[i].address.prefix);
        cr_expect_str_eq(got.hosts[i].run_dir, hosts[i].run_dir);
        cr_expect_str_eq(got.hosts[i].worker, hosts[i].worker);
    }
    pt_peers_fini(&got);
    check(peers_once, &b, PT_C_PEERS, 0);
}

Test(message_across, relay)
{
    char *words[] = {(char *)"orted", (char *)"-mca", (char *)"a b", (char *)""};
    struct pt_relay m = {
        .host = PT_NONE, .address = 0x0a000301, .id = 9, .what = PT_RELAY_ORTED, .words = words, .nwords = 4};
    struct pt_relay got;
    static const uint8_t types[] = {PT_Y_WANT, PT_C_RELAY};
    for (size_t t = 0; t < 2; t++) {
        struct pt_buf b = {0};
        pt_relay_encode(&m, types[t], &b);
        struct pt_reader r = body_of(&b, types[t], 0);
        cr_assert_eq(pt_relay_decode(&r, &got, NULL), 0);
        cr_expect(got.host == PT_NONE && got.address == 0x0a000301 && got.id == 9 &&
                  got.what == PT_RELAY_ORTED);
        cr_assert_eq(got.nwords, 4);
        for (uint32_t i = 0; i < 4; i++)
            cr_expect_str_eq(got.words[i], words[i]);
        pt_relay_fini(&got);
        check(relay_once, &b, types[t], 0);
    }
}

Test(message_across, relays_that_make_no_sense)
{
    static char *many[PT_WORDS_MAX + 1];
    char *word = (char *)"x";
    struct pt_relay odd[] = {{.what = 0},
                             {.what = 3},
                             {.what = PT_RELAY_HUB, .words = &word, .nwords = 1},
                             {.what = PT_RELAY_ORTED, .words = many, .nwords = PT_WORDS_MAX + 1}};
    for (size_t i = 0; i <= PT_WORDS_MAX; i++)
        many[i] = word;
    for (size_t i = 0; i < 4; i++) {
        struct pt_buf b = {0};
        pt_relay_encode(&odd[i], PT_Y_WANT, &b);
        expect_refused(relay_once, &b, PT_Y_WANT, "what, or words");
    }
    struct pt_relay hub = {.host = 3, .what = PT_RELAY_HUB};
    struct pt_buf b = {0};
    pt_relay_encode(&hub, PT_Y_WANT, &b);
    check(relay_once, &b, PT_Y_WANT, 0);
}
