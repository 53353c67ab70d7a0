/* SPDX-License-Identifier: Apache-2.0 */
/* A known_hosts file. The input: how, the host's name with a zero byte behind it, the file. */
#include "common/err.h"
#include "fuzz.h"
#include "remote/knownhosts.h"
#include "remote/sshcodec.h"

#include <unistd.h>

static size_t make_key(uint8_t last, unsigned char key[64])
{
    struct pt_buf b = {0};
    unsigned char point[32] = {1, 2, 3, [31] = last};
    unsigned held = fuzz_hold();
    pt_put_str(&b, "ssh-ed25519");
    pt_put_bytes(&b, point, sizeof(point));
    fuzz_release(held);
    size_t n = b.len;
    memcpy(key, b.data, n);
    pt_buf_fini(&b);
    return n;
}

static void check_base64(const uint8_t *data, size_t n)
{
    unsigned char back[64];
    char text[96];
    n = n < 48 ? n : 48;
    pt_base64_encode(data, n, text);
    long got = pt_base64_decode(text, strlen(text), back);
    FUZZ_CHECK(n == 0 ? got < 0 : got == (long)n && memcmp(back, data, n) == 0);
}

/* What is added is known from then on, unless something speaks against it. */
static void add(const struct pt_strings *files, const struct pt_knownname *name, const void *key, size_t n,
                enum pt_known before)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_knownwhere where;
    int rc = pt_knownhosts_add(files->items[0], name, key, n, &err);
    if (fuzz_starved())
        return;
    bool free_place = before == PT_KNOWN_UNKNOWN || before == PT_KNOWN_AUTHORITY || before == PT_KNOWN_OK;
    FUZZ_CHECK(rc == 0 ? free_place : err.msg[0] != '\0');
    fuzz_feed();
    FUZZ_CHECK(rc < 0 || pt_knownhosts_check(files, name, key, n, &where) == PT_KNOWN_OK);
}

static bool is_host_name(const char *s)
{
    return *s && strlen(s) < 300 && !strpbrk(s, " \t\r\n,*?!|#@[]") && (unsigned char)s[0] > ' ';
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    unsigned char key[64], other[64];
    char path[300], types[64];
    uint8_t how = fuzz_byte(&in);
    size_t n = make_key(9, key);
    make_key(how, other);
    char *host = fuzz_text(&in);
    snprintf(path, sizeof(path), "%s", fuzz_file("known", in.p, in.left));
    char *items[] = {path, (char *)"/dev/null/none"};
    struct pt_strings files = {.items = items, .n = 2};
    struct pt_knownname name = {.host = host, .port = how & 1 ? 2222 : how & 2 ? 22 : 0, .hashed = how & 4};
    struct pt_knownwhere where = {.file = NULL};
    enum pt_known found = pt_knownhosts_check(&files, &name, key, n, &where);
    FUZZ_CHECK(found == PT_KNOWN_UNKNOWN || (where.file && (where.line || where.why)));
    pt_knownhosts_check(&files, &name, key, n / 2, NULL);
    pt_knownhosts_types(&files, &name, types, sizeof(types));
    FUZZ_CHECK(strlen(types) < sizeof(types));
    check_base64(in.p, in.left);
    if (is_host_name(host))
        add(&files, &name, key, n, found);
    fuzz_feed();
    char *folder[] = {(char *)(uintptr_t)fuzz_folder()};
    struct pt_strings unread = {.items = folder, .n = 1};
    FUZZ_CHECK(pt_knownhosts_check(&unread, &name, key, n, &where) == PT_KNOWN_UNREAD);
    FUZZ_CHECK(pt_knownhosts_add("/dev/null/a/b", &name, other, n, &(struct pt_err){.kind = 0}) < 0);
    free(host);
}
