/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "common/wire.h"
#include "remote/knownhosts.h"
#include "remote/sshcodec.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64];
static char *paths[] = {path};
static const struct pt_strings files = {.items = paths, .n = 1};

static void init(void)
{
    strcpy(path, "/tmp/pt-known-XXXXXX");
    close(mkstemp(path));
}

static void fini(void)
{
    unlink(path);
}

TestSuite(knownhosts, .init = init, .fini = fini, .timeout = 100);

/* Keys that differ in their last byte. */
static void make_key(struct pt_buf *out, const char *type, char last)
{
    char body[32] = "0123456789012345678901234567890";
    body[31] = last;
    pt_buf_clear(out);
    pt_put_str(out, type);
    pt_put_bytes(out, body, sizeof(body));
}

static void add_line(const char *hosts, const char *type, char last)
{
    struct pt_buf key = {0};
    char text[256];
    make_key(&key, type, last);
    pt_base64_encode(key.data, key.len, text);
    FILE *f = fopen(path, "a");
    fprintf(f, "%s %s %s comment\n", hosts, type, text);
    fclose(f);
    pt_buf_fini(&key);
}

static enum pt_known look(const char *host, int port, const char *type, char last, unsigned line)
{
    struct pt_buf key = {0};
    struct pt_knownname name = {.host = host, .port = port};
    struct pt_knownwhere where = {0};
    make_key(&key, type, last);
    enum pt_known got = pt_knownhosts_check(&files, &name, key.data, key.len, &where);
    pt_buf_fini(&key);
    if (got != PT_KNOWN_UNKNOWN)
        cr_assert_eq(where.line, line, "%s:%d line %u", host, port, where.line);
    return got;
}

#define ED "ssh-ed25519"
#define EC "ecdsa-sha2-nistp256"

Test(knownhosts, plain_names_patterns_and_negation)
{
    add_line("h1,h2", ED, 'a');
    add_line("*.example.com,!bad.example.com", ED, 'b');
    add_line("192.0.2.?", ED, 'c');
    cr_assert_eq(look("h1", 22, ED, 'a', 1), PT_KNOWN_OK);
    cr_assert_eq(look("h2", 0, ED, 'a', 1), PT_KNOWN_OK);
    cr_assert_eq(look("h2", 22, ED, 'x', 1), PT_KNOWN_CHANGED);
    cr_assert_eq(look("h2", 22, EC, 'x', 1), PT_KNOWN_OTHER);
    cr_assert_eq(look("h3", 22, ED, 'a', 0), PT_KNOWN_UNKNOWN);
    cr_assert_eq(look("good.example.com", 22, ED, 'b', 2), PT_KNOWN_OK);
    cr_assert_eq(look("bad.example.com", 22, ED, 'b', 0), PT_KNOWN_UNKNOWN);
    cr_assert_eq(look("192.0.2.7", 22, ED, 'c', 3), PT_KNOWN_OK);
    cr_assert_eq(look("192.0.2.77", 22, ED, 'c', 0), PT_KNOWN_UNKNOWN);
}

Test(knownhosts, ports)
{
    add_line("[h1]:2222", ED, 'a');
    add_line("h2", ED, 'b');
    cr_assert_eq(look("h1", 2222, ED, 'a', 1), PT_KNOWN_OK);
    cr_assert_eq(look("h1", 22, ED, 'a', 0), PT_KNOWN_UNKNOWN);
    cr_assert_eq(look("h1", 2223, ED, 'a', 0), PT_KNOWN_UNKNOWN);
    /* as ssh: a matching key of the bare name is enough, another key there says nothing */
    cr_assert_eq(look("h2", 2222, ED, 'b', 2), PT_KNOWN_OK);
    cr_assert_eq(look("h2", 2222, ED, 'x', 0), PT_KNOWN_UNKNOWN);
}

Test(knownhosts, markers)
{
    add_line("@revoked *", ED, 'r');
    add_line("h1", ED, 'r');
    add_line("@cert-authority *.example.com", ED, 'c');
    add_line("@new-marker h1", ED, 'n');
    cr_assert_eq(look("h1", 22, ED, 'r', 1), PT_KNOWN_REVOKED);
    cr_assert_eq(look("h9", 22, ED, 'r', 1), PT_KNOWN_REVOKED);
    cr_assert_eq(look("h1", 22, ED, 'n', 2), PT_KNOWN_CHANGED);
    cr_assert_eq(look("a.example.com", 22, ED, 'x', 3), PT_KNOWN_AUTHORITY);
    /* the authority's own key is no host key */
    cr_assert_eq(look("a.example.com", 22, ED, 'c', 3), PT_KNOWN_AUTHORITY);
    add_line("a.example.com", ED, 'x');
    cr_assert_eq(look("a.example.com", 22, ED, 'x', 5), PT_KNOWN_OK);
}

Test(knownhosts, several_keys_of_a_host)
{
    char types[256];
    add_line("h1", EC, 'a');
    add_line("h1", ED, 'b');
    add_line("h1", ED, 'c');
    add_line("@cert-authority h1", "ssh-rsa", 'd');
    struct pt_knownname name = {.host = "h1", .port = 22};
    pt_knownhosts_types(&files, &name, types, sizeof(types));
    cr_assert_str_eq(types, EC "," ED);
    cr_assert_eq(look("h1", 22, ED, 'c', 3), PT_KNOWN_OK);
    name.host = "h2";
    pt_knownhosts_types(&files, &name, types, sizeof(types));
    cr_assert_str_eq(types, "");
}

Test(knownhosts, broken_lines_say_nothing)
{
    FILE *f = fopen(path, "w");
    fputs("h1\nh1 ssh-ed25519\nh1 ssh-ed25519 !!!!\nh1 ssh-ed25519 AAAA\n@revoked\n@revoked h1\n|1|x h1 "
          "y\n\n   \n",
          f);
    fputs("|1||| ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==\n# h1 ssh-ed25519 x\n", f);
    for (int i = 0; i < 100000; i++)
        fputc('a', f);
    fputs("\n", f);
    fclose(f);
    cr_assert_eq(look("h1", 22, ED, 'a', 0), PT_KNOWN_UNKNOWN);
    add_line("h1", ED, 'a');
    cr_assert_eq(look("h1", 22, ED, 'a', 13), PT_KNOWN_OK);
}

Test(knownhosts, type_must_be_the_keys_own)
{
    struct pt_buf key = {0};
    char text[256];
    make_key(&key, ED, 'a');
    pt_base64_encode(key.data, key.len, text);
    FILE *f = fopen(path, "w");
    fprintf(f, "h1 ssh-rsa %s\n", text);
    fclose(f);
    pt_buf_fini(&key);
    cr_assert_eq(look("h1", 22, ED, 'a', 0), PT_KNOWN_UNKNOWN);
}

Test(knownhosts, names_hashed_by_ssh_keygen)
{
    char command[512];
    if (access("/usr/bin/ssh-keygen", X_OK) < 0)
        cr_skip_test("no ssh-keygen");
    snprintf(command, sizeof(command),
             "ssh-keygen -q -t ed25519 -N '' -f %s.k && (echo -n 'h1,[h2]:2200 '; cut -d' ' -f1,2 %s.k.pub) "
             "> %s && "
             "ssh-keygen -H -f %s >/dev/null 2>&1 && ! grep -q '^[^|]' %s",
             path, path, path, path, path);
    cr_assert_eq(system(command), 0);
    char name_of_key[80], line[512];
    snprintf(name_of_key, sizeof(name_of_key), "%s.k.pub", path);
    FILE *f = fopen(name_of_key, "r");
    cr_assert(f && fgets(line, sizeof(line), f));
    fclose(f);
    char *b64 = strchr(line, ' ') + 1;
    unsigned char key[256];
    long n = pt_base64_decode(b64, strcspn(b64, " "), key);
    cr_assert_gt(n, 0);
    struct pt_knownname h1 = {.host = "h1", .port = 22}, h2 = {.host = "h2", .port = 2200},
                        h3 = {.host = "h3"};
    cr_assert_eq(pt_knownhosts_check(&files, &h1, key, (size_t)n, NULL), PT_KNOWN_OK);
    cr_assert_eq(pt_knownhosts_check(&files, &h2, key, (size_t)n, NULL), PT_KNOWN_OK);
    cr_assert_eq(pt_knownhosts_check(&files, &h3, key, (size_t)n, NULL), PT_KNOWN_UNKNOWN);
    snprintf(command, sizeof(command), "rm -f %s.*", path);
    cr_assert_eq(system(command), 0);
}

static void *add_one(void *arg)
{
    struct pt_buf key = {0};
    struct pt_err err = PT_ERR_INIT;
    struct pt_knownname name = {.host = "same", .port = 22, .hashed = arg != NULL};
    make_key(&key, ED, 'a');
    int rc = pt_knownhosts_add(path, &name, key.data, key.len, &err);
    pt_buf_fini(&key);
    cr_assert_eq(rc, 0, "%s", err.msg);
    return NULL;
}

static int lines(void)
{
    FILE *f = fopen(path, "r");
    int n = 0, c;
    while ((c = fgetc(f)) != EOF)
        n += c == '\n';
    fclose(f);
    return n;
}

Test(knownhosts, added_once_by_many)
{
    pthread_t threads[8];
    FILE *f = fopen(path, "w");
    fputs("# no newline at the end", f);
    fclose(f);
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, add_one, i % 2 ? path : NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(lines(), 2);
    cr_assert_eq(look("same", 22, ED, 'a', 2), PT_KNOWN_OK);
    cr_assert_eq(look("no", 22, ED, 'a', 0), PT_KNOWN_UNKNOWN);
}

Test(knownhosts, another_key_in_the_meantime_is_refused)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf key = {0};
    struct pt_knownname name = {.host = "h1", .port = 22};
    add_line("h1", ED, 'b');
    make_key(&key, ED, 'a');
    cr_assert_eq(pt_knownhosts_add(path, &name, key.data, key.len, &err), -1);
    cr_assert_eq(pt_knownhosts_add("/nonexistent/dir/known", &name, key.data, key.len, &err), -1);
    cr_assert(strstr(err.msg, "/nonexistent/dir/known"));
    pt_buf_fini(&key);
}

/* --- the encodings below --- */

/* What it says cannot be known, so no key is new: not to be taken, nor to be written. */
Test(knownhosts, a_file_that_cannot_be_read_now)
{
    struct rlimit all, none = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
    struct pt_buf key = {0};
    struct pt_knownname name = {.host = "h1", .port = 22};
    struct pt_knownwhere where = {0};
    make_key(&key, "ssh-ed25519", 'b');
    add_line("h1", "ssh-ed25519", 'a');
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
    none.rlim_max = all.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    enum pt_known got = pt_knownhosts_check(&files, &name, key.data, key.len, &where);
    setrlimit(RLIMIT_NOFILE, &all);
    cr_expect_eq(got, PT_KNOWN_UNREAD);
    cr_expect(where.why == EMFILE && where.file == path);
    cr_expect_eq(pt_knownhosts_check(&files, &name, key.data, key.len, NULL), PT_KNOWN_CHANGED);
    unlink(path);
    cr_expect_eq(pt_knownhosts_check(&files, &name, key.data, key.len, NULL), PT_KNOWN_UNKNOWN,
                 "none is empty");
    mkdir(path, 0700);
    cr_expect_eq(pt_knownhosts_check(&files, &name, key.data, key.len, &where), PT_KNOWN_UNREAD);
    cr_expect_eq(where.why, EISDIR);
    rmdir(path);
    pt_buf_fini(&key);
}

Test(knownhosts, base64_there_and_back)
{
    unsigned char data[70], back[80];
    char text[100];
    for (size_t n = 1; n < sizeof(data); n++) {
        for (size_t i = 0; i < n; i++)
            data[i] = (unsigned char)(i * 37 + n);
        pt_base64_encode(data, n, text);
        cr_assert_eq(pt_base64_decode(text, strlen(text), back), (long)n);
        cr_assert_arr_eq(data, back, n);
        for (size_t cut = 1; cut < 4; cut++)
            cr_assert_eq(pt_base64_decode(text, strlen(text) - cut, back), -1);
    }
    cr_assert_eq(pt_base64_decode("", 0, back), -1);
    cr_assert_eq(pt_base64_decode("A===", 4, back), -1);
    cr_assert_eq(pt_base64_decode("AA=A", 4, back), -1);
    cr_assert_eq(pt_base64_decode("AB*D", 4, back), -1);
}

static void hex(const unsigned char *p, char *out)
{
    for (int i = 0; i < PT_SHA1_SIZE; i++)
        sprintf(out + 2 * i, "%02x", p[i]);
}

Test(knownhosts, sha1_and_hmac_of_the_standards)
{
    unsigned char sum[PT_SHA1_SIZE];
    char text[41], million[1000];
    pt_sha1("abc", 3, sum);
    hex(sum, text);
    cr_assert_str_eq(text, "a9993e364706816aba3e25717850c26c9cd0d89d");
    pt_sha1("", 0, sum);
    hex(sum, text);
    cr_assert_str_eq(text, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    pt_sha1(two, strlen(two), sum);
    hex(sum, text);
    cr_assert_str_eq(text, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    pt_hmac_sha1("Jefe", 4, "what do ya want for nothing?", 28, sum);
    hex(sum, text);
    cr_assert_str_eq(text, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    memset(million, 0xdd, 50);
    pt_hmac_sha1("\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa", 20,
                 million, 50, sum);
    hex(sum, text);
    cr_assert_str_eq(text, "125d7342b9ac11cd91a39af48aa17b4f63f175d3");
}

Test(knownhosts, patterns)
{
    cr_assert(pt_pattern_match("abc", "a*", false));
    cr_assert(pt_pattern_match("abc", "*c", false));
    cr_assert(pt_pattern_match("abc", "a?c", false));
    cr_assert(pt_pattern_match("abc", "***", false));
    cr_assert(pt_pattern_match("", "*", false));
    cr_assert(!pt_pattern_match("", "?", false));
    cr_assert(!pt_pattern_match("abc", "ab", false));
    cr_assert(!pt_pattern_match("abc", "ABC", false));
    cr_assert(pt_pattern_match("abc", "ABC", true));
    cr_assert(pt_pattern_match("aXbXc", "a*b*c", false));
    cr_assert(!pt_pattern_match("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*c",
                                false));
    cr_assert_eq(pt_pattern_list("h1", "h1,h2", false), 1);
    cr_assert_eq(pt_pattern_list("h3", "h1,h2", false), 0);
    cr_assert_eq(pt_pattern_list("h1", "h*,!h1", false), -1);
    cr_assert_eq(pt_pattern_list("h1", "!h1", false), -1);
    cr_assert_eq(pt_pattern_list("h1", "", false), 0);
    cr_assert_eq(pt_pattern_list("h1", ",,!,", false), 0);
}
