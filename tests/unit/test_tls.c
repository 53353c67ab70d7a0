/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "common/tls.h"

#include <criterion/criterion.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN "20261121-abc"

/* Both ends of one connection, and what each has read. */
struct pair {
    struct pt_tls *client, *server;
    struct pt_buf at_client, at_server;
    struct pt_err client_err, server_err;
    int client_rc, server_rc;
};

static struct pt_tls_identity issue(struct pt_tls_ca *ca, const char *role)
{
    struct pt_tls_identity id;
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_tls_ca_issue(ca, role, &id, &err), 0, "%s", err.msg);
    return id;
}

static struct pt_tls_ca *make_ca(const char *run, long seconds)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_tls_ca *ca = pt_tls_ca_create(run, seconds, &err);
    cr_assert(ca, "%s", err.msg);
    return ca;
}

static struct pt_tls *connect_end(const struct pt_tls_identity *id, int server, const char *role)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_tls *tls = pt_tls_create(id, server, RUN, role, &err);
    cr_assert(tls, "%s", err.msg);
    return tls;
}

/* Carry wire bytes both ways until neither end has any, or one failed. */
static void pump(struct pair *p)
{
    for (bool moved = true; moved;) {
        struct pt_buf wire = {0};
        pt_tls_pull(p->client, &wire);
        moved = wire.len > 0;
        if (wire.len && p->server_rc >= 0)
            p->server_rc = pt_tls_feed(p->server, wire.data, wire.len, &p->at_server, &p->server_err);
        pt_buf_clear(&wire);
        pt_tls_pull(p->server, &wire);
        moved = moved || wire.len > 0;
        if (wire.len && p->client_rc >= 0)
            p->client_rc = pt_tls_feed(p->client, wire.data, wire.len, &p->at_client, &p->client_err);
        pt_buf_fini(&wire);
    }
}

static void pair_fini(struct pair *p)
{
    pt_tls_destroy(p->client);
    pt_tls_destroy(p->server);
    pt_buf_fini(&p->at_client);
    pt_buf_fini(&p->at_server);
}

/* A connection between a client and a server with these identities, pumped until it stands or fell. */
static struct pair meet(const struct pt_tls_identity *client, const struct pt_tls_identity *server,
                        const char *client_role)
{
    struct pair p = {.client = connect_end(client, 0, "master"),
                     .server = connect_end(server, 1, client_role)};
    pump(&p);
    return p;
}

/* One worker certificate and one master certificate, of whatever CAs, must not get to talk. */
static void refuse(struct pt_tls_ca *worker_ca, const char *worker_role, struct pt_tls_ca *master_ca,
                   const char *master_role, const char *want_role, const char *who, const char *why)
{
    struct pt_tls_identity worker = issue(worker_ca, worker_role), master = issue(master_ca, master_role);
    struct pair p = meet(&worker, &master, want_role);
    bool by_server = strcmp(who, "server") == 0;
    const char *msg = by_server ? p.server_err.msg : p.client_err.msg;
    cr_assert_eq(by_server ? p.server_rc : p.client_rc, -1);
    cr_assert(strstr(msg, why), "wanted '%s', got '%s'", why, msg);
    cr_assert_not(pt_tls_established(by_server ? p.server : p.client));
    cr_assert_eq(p.client_rc, -1, "the client learns of it");
    cr_assert_neq(p.client_err.msg[0], '\0');
    pair_fini(&p);
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
}

Test(tls, handshake_and_both_ways)
{
    struct pt_tls_ca *ca = make_ca(RUN, 3600);
    struct pt_tls_identity worker = issue(ca, "host/7/worker"), master = issue(ca, "master");
    struct pair p = {.client = connect_end(&worker, 0, "master"), .server = connect_end(&master, 1, NULL)};
    cr_assert_not(pt_tls_established(p.client));
    cr_assert_eq(pt_tls_send(p.client, "early", 5, &p.client_err), 0);
    pump(&p);
    cr_assert(pt_tls_established(p.client) && pt_tls_established(p.server));
    cr_assert_eq(pt_tls_peer_host(p.server), 7);
    cr_assert_eq(pt_tls_peer_host(p.client), -1);
    cr_assert_eq(pt_tls_send(p.server, "hello", 5, &p.server_err), 0);
    pump(&p);
    cr_assert(p.at_server.len == 5 && memcmp(p.at_server.data, "early", 5) == 0);
    cr_assert(p.at_client.len == 5 && memcmp(p.at_client.data, "hello", 5) == 0);
    pair_fini(&p);
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
}

Test(tls, close_is_told)
{
    struct pt_tls_ca *ca = make_ca(RUN, 3600);
    struct pt_tls_identity worker = issue(ca, "host/1/worker"), master = issue(ca, "master");
    struct pair p = {.client = connect_end(&worker, 0, "master"), .server = connect_end(&master, 1, NULL)};
    cr_assert_eq(pt_tls_send(p.client, "last", 4, &p.client_err), 0);
    pt_tls_close(p.client); /* before the handshake: what waits goes first */
    pump(&p);
    cr_assert_eq(p.server_rc, 1);
    cr_assert_eq(p.at_server.len, 4);
    cr_assert_eq(pt_tls_send(p.client, "x", 1, &p.client_err), -1);
    cr_assert_eq(pt_tls_send(p.server, "still", 5, &p.server_err), 0, "the other way is open");
    pt_tls_close(p.server);
    pump(&p);
    cr_assert_eq(p.client_rc, 1);
    cr_assert_eq(p.at_client.len, 5);
    pair_fini(&p);
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
}

Test(tls, ten_megabytes_each_way)
{
    enum { N = 10 << 20 };
    struct pt_tls_ca *ca = make_ca(RUN, 3600);
    struct pt_tls_identity worker = issue(ca, "host/1/worker"), master = issue(ca, "master");
    struct pair p = meet(&worker, &master, "host/1/worker");
    unsigned char *data = malloc(N);
    cr_assert(data);
    for (size_t i = 0; i < N; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 24);
    cr_assert_eq(pt_tls_send(p.client, data, N, &p.client_err), 0);
    cr_assert_eq(pt_tls_send(p.server, data, N, &p.server_err), 0);
    pump(&p);
    cr_assert(p.at_server.len == N && memcmp(p.at_server.data, data, N) == 0);
    cr_assert(p.at_client.len == N && memcmp(p.at_client.data, data, N) == 0);
    free(data);
    pair_fini(&p);
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
}

Test(tls, strangers_are_refused)
{
    struct pt_tls_ca *ca = make_ca(RUN, 3600), *same_name = make_ca(RUN, 3600),
                     *other = make_ca("other", 3600);
    /* Another CA, though it calls itself the same. */
    refuse(same_name, "host/1/worker", ca, "master", NULL, "client", "certificate");
    /* The wrong worker, the master's own role, a role longer or shorter than the right one. */
    refuse(ca, "host/1/worker", ca, "master", "host/2/worker", "server", "not ptremote:run/" RUN "/host/2/");
    refuse(ca, "host/1/worker2", ca, "master", NULL, "server", "not ptremote:run/" RUN "/host/N/worker");
    refuse(ca, "host/01/worker", ca, "master", NULL, "server", "not ptremote:");
    refuse(ca, "host//worker", ca, "master", NULL, "server", "not ptremote:");
    refuse(ca, "host/1234567890/worker", ca, "master", NULL, "server", "not ptremote:");
    refuse(ca, "master", ca, "master", NULL, "server", "");
    /* A worker that acts as a master. */
    refuse(ca, "host/1/worker", ca, "host/2/worker", NULL, "client", "");
    /* A certificate of another run. */
    refuse(other, "host/1/worker", other, "master", NULL, "client", "not ptremote:run/" RUN "/master");
    pt_tls_ca_destroy(ca);
    pt_tls_ca_destroy(same_name);
    pt_tls_ca_destroy(other);
}

/* Each end trusts the CA in its own identity: swap them so that only one end is wrong. */
Test(tls, the_server_refuses_another_ca)
{
    struct pt_tls_ca *ca = make_ca(RUN, 3600), *other = make_ca(RUN, 3600);
    struct pt_tls_identity worker = issue(other, "host/1/worker"), master = issue(ca, "master");
    free(worker.ca_pem);
    worker.ca_pem = strdup(master.ca_pem);
    struct pair p = meet(&worker, &master, NULL);
    cr_assert_eq(p.server_rc, -1);
    cr_assert_not(pt_tls_established(p.server));
    cr_assert(strstr(p.server_err.msg, "certificate"), "%s", p.server_err.msg);
    cr_assert_eq(p.client_rc, -1, "the client learns at its first read");
    cr_assert_eq(pt_tls_feed(p.server, "x", 1, &p.at_server, &p.server_err), -1, "and it stays so");
    cr_assert_eq(pt_tls_send(p.server, "x", 1, &p.server_err), -1);
    pair_fini(&p);
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
    pt_tls_ca_destroy(other);
}

Test(tls, expired_is_refused_by_the_master_only)
{
    struct pt_tls_ca *old = make_ca(RUN, -60);
    struct pt_tls_identity worker = issue(old, "host/1/worker"), master = issue(old, "master");
    refuse(old, "host/1/worker", old, "master", NULL, "server", "certificate has expired");
    /* The other end took the same dates, and learns by an alert. */
    struct pair p = meet(&worker, &master, NULL);
    cr_expect_str_eq(p.server_err.msg, "TLS: the peer's certificate: certificate has expired");
    cr_expect(strstr(p.client_err.msg, "alert"), "%s", p.client_err.msg);
    pair_fini(&p);
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(old);
}

Test(tls, garbage_is_refused)
{
    static const char *const garbage[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
                                          "\x16\x03\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"};
    struct pt_tls_ca *ca = make_ca(RUN, 3600);
    struct pt_tls_identity worker = issue(ca, "host/1/worker"), master = issue(ca, "master");
    for (size_t i = 0; i < sizeof(garbage) / sizeof(*garbage); i++) {
        for (int server = 0; server < 2; server++) {
            struct pt_tls *tls = connect_end(server ? &master : &worker, server, server ? NULL : "master");
            struct pt_buf plain = {0};
            struct pt_err err = PT_ERR_INIT;
            cr_assert_eq(pt_tls_feed(tls, garbage[i], strlen(garbage[i]), &plain, &err), -1);
            cr_assert(strncmp(err.msg, "TLS: ", 5) == 0, "%s", err.msg);
            cr_assert_eq(plain.len, 0);
            pt_buf_fini(&plain);
            pt_tls_destroy(tls);
        }
    }
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
}

Test(tls, older_protocols_are_refused)
{
    struct pt_tls_ca *ca = make_ca(RUN, 3600);
    struct pt_tls_identity master = issue(ca, "master");
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_connect(ssl);
    char *data;
    long n = BIO_get_mem_data(out, &data);
    cr_assert_gt(n, 0);
    struct pt_tls *tls = connect_end(&master, 1, NULL);
    struct pt_buf plain = {0};
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_tls_feed(tls, data, (size_t)n, &plain, &err), -1);
    cr_assert(strstr(err.msg, "unsupported protocol"), "%s", err.msg);
    pt_buf_fini(&plain);
    pt_tls_destroy(tls);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
}

/* A client without a certificate, and one that sends no name: plain OpenSSL as the client. */
Test(tls, a_client_without_certificate_is_refused)
{
    struct pt_tls_ca *ca = make_ca(RUN, 3600);
    struct pt_tls_identity master = issue(ca, "master");
    struct pt_tls *tls = connect_end(&master, 1, NULL);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    struct pt_buf plain = {0}, wire = {0};
    struct pt_err err = PT_ERR_INIT;
    int rc = 0;
    for (int turn = 0; turn < 4 && rc >= 0; turn++) {
        SSL_connect(ssl);
        char *data;
        long n = BIO_get_mem_data(out, &data);
        rc = pt_tls_feed(tls, data, n > 0 ? (size_t)n : 0, &plain, &err);
        (void)BIO_reset(out);
        pt_buf_clear(&wire);
        pt_tls_pull(tls, &wire);
        BIO_write(in, wire.data, (int)wire.len);
    }
    cr_assert_eq(rc, -1);
    cr_assert(strstr(err.msg, "did not return a certificate"), "%s", err.msg);
    cr_assert_not(pt_tls_established(tls));
    pt_buf_fini(&plain);
    pt_buf_fini(&wire);
    pt_tls_destroy(tls);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
}

/* The server's flight, cut at every byte, never stands, never closes, never gives plain bytes; and the whole
 * conversation works when every byte comes alone. */
Test(tls, every_truncation_waits)
{
    struct pt_tls_ca *ca = make_ca(RUN, 3600);
    struct pt_tls_identity worker = issue(ca, "host/1/worker"), master = issue(ca, "master");
    struct pt_tls *client = connect_end(&worker, 0, "master"), *server = connect_end(&master, 1, NULL);
    struct pt_buf wire = {0}, plain = {0};
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_tls_send(client, "first", 5, &err), 0);
    cr_assert_eq(pt_tls_send(server, "second", 6, &err), 0);
    struct pt_tls *ends[2] = {server, client};
    for (int turn = 0; turn < 4; turn++) {
        pt_buf_clear(&wire);
        pt_tls_pull(ends[(turn + 1) % 2], &wire);
        for (size_t i = 0; i < wire.len; i++) {
            size_t before = plain.len;
            cr_assert_eq(pt_tls_feed(ends[turn % 2], wire.data + i, 1, &plain, &err), 0, "%s", err.msg);
            cr_assert(i + 1 == wire.len || turn > 0 || !pt_tls_established(server));
            cr_assert(pt_tls_established(ends[turn % 2]) || plain.len == before);
        }
    }
    cr_assert_eq(plain.len, 11);
    cr_assert(pt_tls_established(client) && pt_tls_established(server));
    pt_tls_close(server);
    pt_buf_clear(&wire);
    pt_tls_pull(server, &wire);
    for (size_t i = 0; i < wire.len; i++)
        cr_assert_eq(pt_tls_feed(client, wire.data + i, 1, &plain, &err), i + 1 == wire.len,
                     "closed by all of it");
    pt_buf_fini(&plain);
    pt_buf_fini(&wire);
    pt_tls_destroy(client);
    pt_tls_destroy(server);
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
}

Test(tls, a_changed_byte_ends_it)
{
    struct pt_tls_ca *ca = make_ca(RUN, 3600);
    struct pt_tls_identity worker = issue(ca, "host/1/worker"), master = issue(ca, "master");
    struct pair p = meet(&worker, &master, NULL);
    struct pt_buf wire = {0};
    cr_assert_eq(pt_tls_send(p.client, "message", 7, &p.client_err), 0);
    pt_tls_pull(p.client, &wire);
    wire.data[wire.len - 1] ^= 1;
    cr_assert_eq(pt_tls_feed(p.server, wire.data, wire.len, &p.at_server, &p.server_err), -1);
    cr_assert_eq(p.at_server.len, 0);
    pt_buf_fini(&wire);
    pair_fini(&p);
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
}

/* Flags of the mapping in which p lies, as /proc/self/smaps has them. */
static bool mapping_has(const void *p, const char *flag)
{
    char line[512];
    unsigned long from = 0;
    unsigned long to = 0;
    bool has = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    while (f && fgets(line, sizeof(line), f)) {
        unsigned long a;
        unsigned long b;
        if (sscanf(line, "%lx-%lx ", &a, &b) == 2) {
            from = a;
            to = b;
        } else if (strncmp(line, "VmFlags:", 8) == 0 && (unsigned long)p >= from && (unsigned long)p < to) {
            has = strstr(line, flag) != NULL;
        }
    }
    fclose(f);
    return has;
}

Test(tls, keys_are_in_memory_that_no_core_file_gets)
{
    struct pt_tls_ca *ca = make_ca(RUN, 60);
    struct pt_tls_identity id = issue(ca, "master");
    cr_assert(mapping_has(id.key_pem, " dd"), "MADV_DONTDUMP");
    cr_assert_not(mapping_has(id.cert_pem, " dd"), "what is no secret may be anywhere");
    pt_tls_identity_fini(&id);
    pt_tls_ca_destroy(ca);
}

/* Thousands of hosts: what does not fit there any more is elsewhere, and connections go on. */
Test(tls, more_keys_than_that_memory_holds)
{
    enum { MANY = 5000 };
    struct pt_tls_ca *ca = make_ca(RUN, 60);
    struct pt_tls_identity *ids = calloc(MANY, sizeof(*ids));
    for (int i = 0; i < MANY; i++)
        ids[i] = issue(ca, i ? "host/1/worker" : "master");
    struct pair p = meet(&ids[MANY - 1], &ids[0], NULL);
    cr_assert(pt_tls_established(p.server));
    pair_fini(&p);
    for (int i = 0; i < MANY; i++)
        pt_tls_identity_fini(&ids[i]);
    free(ids);
    pt_tls_ca_destroy(ca);
}

/* TLS 1.3 knows no renegotiation: a handshake message in the middle ends the connection. */
Test(tls, a_second_handshake_ends_it)
{
    struct pt_tls_ca *ca = make_ca(RUN, 3600);
    struct pt_tls_identity worker = issue(ca, "host/1/worker");
    struct pt_tls_identity master = issue(ca, "master");
    for (int how = 0; how < 2; how++) {
        struct pair p = meet(&worker, &master, NULL);
        struct pt_tls *again = connect_end(&worker, 0, "master");
        struct pt_buf wire = {0};
        cr_assert(pt_tls_established(p.server));
        pt_tls_pull(again, &wire); /* ClientHello, in the clear or as plain bytes of a record of 1.2 */
        if (how)
            wire.data[0] = 20;
        cr_assert_eq(pt_tls_feed(p.server, wire.data, wire.len, &p.at_server, &p.server_err), -1);
        cr_assert_eq(p.at_server.len, 0);
        pt_buf_fini(&wire);
        pt_tls_destroy(again);
        pair_fini(&p);
    }
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
}

/* Whoever records a conversation and says it again is not understood: the other end has fresh secrets. */
Test(tls, a_recorded_conversation_is_worth_nothing)
{
    struct pt_tls_ca *ca = make_ca(RUN, 3600);
    struct pt_tls_identity worker = issue(ca, "host/1/worker");
    struct pt_tls_identity master = issue(ca, "master");
    struct pt_tls *client = connect_end(&worker, 0, "master");
    struct pt_tls *server = connect_end(&master, 1, NULL);
    struct pt_buf record = {0};
    struct pt_buf back = {0};
    struct pt_buf plain = {0};
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_tls_send(client, "a report", 8, &err), 0);
    for (int turn = 0; turn < 3; turn++) {
        size_t had = record.len;
        pt_tls_pull(client, &record);
        cr_assert_eq(pt_tls_feed(server, record.data + had, record.len - had, &plain, &err), 0);
        pt_buf_clear(&back);
        pt_tls_pull(server, &back);
        pt_tls_feed(client, back.data, back.len, &plain, &err);
    }
    cr_assert_eq(plain.len, 8);
    pt_buf_clear(&plain);
    struct pt_tls *other = connect_end(&master, 1, NULL);
    cr_assert_eq(pt_tls_feed(other, record.data, record.len, &plain, &err), -1);
    cr_assert_not(pt_tls_established(other));
    cr_assert_eq(plain.len, 0);
    cr_assert_eq(pt_tls_feed(server, record.data, record.len, &plain, &err), -1, "nor here, again");
    cr_assert_eq(plain.len, 0);
    pt_buf_fini(&record);
    pt_buf_fini(&back);
    pt_buf_fini(&plain);
    pt_tls_destroy(client);
    pt_tls_destroy(server);
    pt_tls_destroy(other);
    pt_tls_identity_fini(&worker);
    pt_tls_identity_fini(&master);
    pt_tls_ca_destroy(ca);
}

Test(tls, bad_arguments)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_tls_identity id = {0};
    cr_assert_null(pt_tls_ca_create("a/b", 60, &err));
    cr_assert_null(pt_tls_ca_create("", 60, &err));
    cr_assert_null(pt_tls_create(&id, 0, RUN, "master", &err));
    struct pt_tls_ca *ca = make_ca(RUN, 60);
    cr_assert_eq(pt_tls_ca_issue(ca, "host/1\nworker", &id, &err), -1);
    cr_assert_eq(pt_tls_ca_issue(ca, "a,DNS:x", &id, &err), -1);
    id = issue(ca, "master");
    struct pt_tls_identity other = issue(ca, "master");
    char *key = id.key_pem;
    id.key_pem = other.key_pem;
    cr_assert_null(pt_tls_create(&id, 1, RUN, NULL, &err), "another's key");
    id.key_pem = strdup("not a key");
    cr_assert_null(pt_tls_create(&id, 1, RUN, NULL, &err));
    cr_assert(strncmp(err.msg, "TLS: ", 5) == 0, "%s", err.msg);
    free(id.key_pem);
    id.key_pem = key;
    pt_tls_identity_fini(&id);
    pt_tls_identity_fini(&other);
    cr_assert_null(id.key_pem);
    pt_tls_ca_destroy(ca);
}
