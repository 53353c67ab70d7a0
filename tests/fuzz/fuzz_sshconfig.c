/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenSSH client configuration. The input: the host's name, the user's (either may be empty), a file, and
 * the file that every Include names, each with a zero byte behind it. */
#include <glob.h>

static int fuzz_glob(const char *pattern, int flags, void *error, glob_t *out);
#define glob(pattern, flags, error, out) fuzz_glob(pattern, flags, error, out)
#include "remote/sshconfig.c"
#undef glob
#include "fuzz.h"

static char included[300];
static unsigned files; /* an Include that names itself has its own depth, not its width */

static int fuzz_glob(const char *pattern, int flags, void *error, glob_t *out)
{
    (void)error;
    return ++files > 40 || strchr(pattern, '!') ? GLOB_NOMATCH : glob(included, flags, NULL, out);
}

static void check_list(const struct pt_strings *list)
{
    FUZZ_CHECK(list->n <= 1024);
    for (size_t i = 0; i < list->n; i++)
        FUZZ_CHECK(list->items[i]);
}

static void check(const struct pt_sshconfig *c)
{
    FUZZ_CHECK(c->hostname && c->user && c->port > 0 && c->port < 65536);
    FUZZ_CHECK(c->connect_timeout >= 0 && c->connect_timeout <= INT_MAX / 1000); /* it is waited in ms */
    FUZZ_CHECK(c->strict >= 0 && c->family >= 0 && c->identities_only >= 0 && c->batch_mode >= 0);
    FUZZ_CHECK(c->pubkey >= 0 && c->password >= 0 && c->kbdint >= 0 && c->prompts > 0 && c->prompts <= 100);
    check_list(&c->identity_files);
    check_list(&c->certificate_files);
    check_list(&c->user_known_hosts);
    check_list(&c->global_known_hosts);
}

static void put_file(const char *name, struct fuzz_parts *in)
{
    const uint8_t *end = in->left ? memchr(in->p, 0, in->left) : NULL;
    size_t n = end ? (size_t)(end - in->p) : in->left;
    fuzz_file(name, in->p, n);
    in->p += n + (end != NULL);
    in->left -= n + (end != NULL);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    struct pt_sshconfig conf;
    char path[300];
    char *host = fuzz_text(&in), *user = fuzz_text(&in);
    put_file("config", &in);
    put_file("included", &in);
    if (in.left) /* then there are zero bytes in it */
        fuzz_file("included", in.p, in.left);
    snprintf(path, sizeof(path), "%s", fuzz_path("config"));
    snprintf(included, sizeof(included), "%s", fuzz_path("included"));
    files = 0;
    struct pt_sshquery query = {
        .file = path, .host = *host ? host : "host", .user = *user ? user : NULL, .port = (int)size % 3};
    int rc = pt_sshconfig_read(&query, &conf, &err);
    FUZZ_CHECK(rc == 0 || err.msg[0]);
    if (rc == 0)
        check(&conf);
    pt_sshconfig_fini(&conf);
    setenv("HOME", fuzz_folder(), 1);
    query.file = "/dev/null/none";
    FUZZ_CHECK(pt_sshconfig_read(&query, &conf, &err) < 0);
    pt_sshconfig_fini(&conf);
    query.file = "none";
    FUZZ_CHECK(pt_sshconfig_read(&query, &conf, &err) == 0 || fuzz_starved() || strchr(query.host, '%'));
    pt_sshconfig_fini(&conf);
    free(host);
    free(user);
}
