/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/sshkeys.h"

#include "common/auto.h"
#include "common/wire.h"
#include "remote/knownhosts.h"
#include "remote/sshcodec.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FILE    (64 << 10)
#define CERT_SUFFIX "-cert-v01@openssh.com"

/* Key types that can be offered, and how many fields their public part has. Others would end the stand-in
 * agent's list for the library. */
static const struct {
    const char *name, *cert;
    unsigned fields;
} types[] = {
    {"ssh-ed25519", "ssh-ed25519" CERT_SUFFIX, 1},
    {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256" CERT_SUFFIX, 2},
    {"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384" CERT_SUFFIX, 2},
    {"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521" CERT_SUFFIX, 2},
    {"ssh-rsa", "ssh-rsa" CERT_SUFFIX, 2},
    {"sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519" CERT_SUFFIX, 2},
    {"sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256" CERT_SUFFIX, 3},
};

bool pt_blob_equal(const struct pt_blob *a, const struct pt_blob *b)
{
    return a->n && a->n == b->n && !memcmp(a->data, b->data, a->n);
}

int pt_blob_set(struct pt_blob *blob, const void *data, size_t n)
{
    unsigned char *copy = malloc(n ? n : 1);
    if (!copy)
        return -1;
    if (n)
        memcpy(copy, data, n);
    pt_blob_fini(blob);
    *blob = (struct pt_blob){.data = copy, .n = n};
    return 0;
}

void pt_blob_fini(struct pt_blob *blob)
{
    free(blob->data);
    *blob = (struct pt_blob){0};
}

void pt_agentkeys_fini(struct pt_agentkeys *keys)
{
    for (size_t i = 0; i < keys->n; i++)
        pt_blob_fini(&keys->items[i]);
    free(keys->items);
    *keys = (struct pt_agentkeys){0};
}

/* Index in types, -1 for a kind that cannot be offered. */
static int type_of(const struct pt_blob *blob, bool *cert)
{
    char name[64];
    if (!pt_key_type(blob->data, blob->n, name, sizeof(name)))
        return -1;
    for (size_t i = 0; i < PT_COUNT(types); i++) {
        *cert = !strcmp(types[i].cert, name);
        if (*cert || !strcmp(types[i].name, name))
            return (int)i;
    }
    return -1;
}

bool pt_cert_key(const struct pt_blob *cert, struct pt_blob *out)
{
    bool is_cert;
    int type = type_of(cert, &is_cert);
    if (type < 0 || !is_cert)
        return false;
    struct pt_reader r = {.p = cert->data, .left = cert->n};
    struct pt_buf b = {0};
    size_t n;
    pt_get_bytes(&r, &n); /* the type */
    pt_get_bytes(&r, &n); /* the nonce */
    pt_put_str(&b, types[type].name);
    for (unsigned i = 0; i < types[type].fields; i++) {
        const void *field = pt_get_bytes(&r, &n);
        if (!r.bad)
            pt_put_bytes(&b, field, n);
    }
    bool ok = !r.bad && !b.bad && pt_blob_set(out, b.data, b.len) == 0;
    pt_buf_fini(&b);
    return ok;
}

/* --- files --- */

static int slurp(const char *path, struct pt_keytext *out)
{
    struct stat st;
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MAX_FILE)
        return -1;
    if (!(out->text = calloc(1, (size_t)st.st_size + 1))) {
        out->starved = true;
        return -1;
    }
    ssize_t n = pread(fd, out->text, (size_t)st.st_size, 0);
    out->n = n > 0 ? (size_t)n : 0;
    out->open_to_others = st.st_uid == getuid() && (st.st_mode & 077);
    return n > 0 ? 0 : -1;
}

/* "TYPE BASE64 [comment]", as in a .pub file. */
static bool public_line(const char *text, struct pt_keytext *out)
{
    size_t n = strcspn(text, " \t\r\n");
    const char *key = text + n + strspn(text + n, " \t");
    size_t len = strcspn(key, " \t\r\n");
    char type[64];
    pt_auto_free unsigned char *raw = malloc(len + 4);
    out->starved |= !raw;
    long got = raw && len ? pt_base64_decode(key, len, raw) : -1;
    if (got <= 0 || !pt_key_type(raw, (size_t)got, type, sizeof(type)) || strlen(type) != n ||
        strncmp(type, text, n) != 0)
        return false;
    bool ok = pt_blob_set(&out->public, raw, (size_t)got) == 0;
    out->starved |= !ok;
    return ok;
}

/* The container of OpenSSH's own format shows the public key even when the private one is encrypted. */
static bool container(const unsigned char *data, size_t len, struct pt_keytext *out)
{
    static const char magic[] = "openssh-key-v1";
    struct pt_reader r = {.p = data, .left = len};
    size_t n, cipher_len;
    const void *head = pt_get_raw(&r, sizeof(magic));
    if (r.bad || memcmp(head, magic, sizeof(magic)) != 0)
        return false;
    const char *cipher = pt_get_bytes(&r, &cipher_len);
    pt_get_bytes(&r, &n); /* how the key is derived */
    pt_get_bytes(&r, &n); /* and its options */
    uint32_t count = pt_get_u32(&r);
    const void *key = pt_get_bytes(&r, &n);
    if (r.bad || count != 1)
        return false;
    out->encrypted = cipher_len != 4 || memcmp(cipher, "none", 4) != 0;
    bool ok = pt_blob_set(&out->public, key, n) == 0;
    out->starved |= !ok;
    return ok;
}

static bool openssh_private(struct pt_keytext *out)
{
    static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----", end[] = "-----END ";
    const char *from = strstr(out->text, begin), *to = from ? strstr(from + sizeof(begin) - 1, end) : NULL;
    if (!to)
        return false;
    from += sizeof(begin) - 1;
    size_t n = 0, room = (size_t)(to - from);
    char *flat = malloc(room + 1);
    unsigned char *raw = malloc(room + 4);
    out->starved |= !flat || !raw;
    for (; flat && from < to; from++)
        if (!strchr(" \t\r\n", *from))
            flat[n++] = *from;
    long got = flat && raw ? pt_base64_decode(flat, n, raw) : -1;
    bool ok = got > 0 && container(raw, (size_t)got, out);
    if (flat)
        explicit_bzero(flat, n);
    if (raw && got > 0)
        explicit_bzero(raw, (size_t)got);
    free(flat);
    free(raw);
    return ok;
}

static void public_beside(const char *path, struct pt_keytext *out)
{
    struct pt_keytext beside = {0};
    pt_auto_free char *name = NULL;
    bool named = asprintf(&name, "%s.pub", path) >= 0;
    if (named && slurp(name, &beside) == 0)
        public_line(beside.text, out);
    out->starved |= !named || beside.starved;
    pt_keyfile_fini(&beside);
}

int pt_keyfile_load(const char *path, struct pt_keytext *out)
{
    *out = (struct pt_keytext){0};
    if (slurp(path, out) < 0) {
        /* the private key may be in the agent only */
        public_beside(path, out);
        out->kind = out->public.n ? PT_KEYFILE_PUBLIC : PT_KEYFILE_NONE;
        return out->kind == PT_KEYFILE_NONE ? -1 : 0;
    }
    if (public_line(out->text, out)) {
        out->kind = PT_KEYFILE_PUBLIC;
    } else if (openssh_private(out)) {
        out->kind = PT_KEYFILE_PRIVATE;
    } else if (strstr(out->text, "PRIVATE KEY-----")) {
        out->kind = PT_KEYFILE_PRIVATE;
        out->encrypted = strstr(out->text, "BEGIN ENCRYPTED PRIVATE KEY") || strstr(out->text, ",ENCRYPTED");
        public_beside(path, out);
    }
    return out->kind == PT_KEYFILE_NONE ? -1 : 0;
}

void pt_keyfile_fini(struct pt_keytext *key)
{
    if (key->text)
        explicit_bzero(key->text, key->n);
    free(key->text);
    pt_blob_fini(&key->public);
    *key = (struct pt_keytext){0};
}

/* --- the plan --- */

static void key_fini(struct pt_sshkey *key)
{
    free(key->path);
    free(key->cert);
    pt_blob_fini(&key->offer);
    pt_blob_fini(&key->held);
}

void pt_sshkeys_fini(struct pt_sshkeys *keys)
{
    for (size_t i = 0; i < keys->n; i++)
        key_fini(&keys->items[i]);
    free(keys->items);
    keys->items = NULL;
    keys->n = 0;
}

/* Takes over what the key owns. */
static int push(struct pt_sshkeys *out, struct pt_sshkey *key)
{
    struct pt_sshkey *items = realloc(out->items, (out->n + 1) * sizeof(*items));
    if (items) {
        out->items = items;
        items[out->n++] = *key;
    } else {
        key_fini(key);
    }
    *key = (struct pt_sshkey){0};
    return items ? 0 : -1;
}

static bool agent_has(const struct pt_agentkeys *agent, const struct pt_blob *blob)
{
    for (size_t i = 0; agent && i < agent->n; i++)
        if (pt_blob_equal(&agent->items[i], blob))
            return true;
    return false;
}

/* A key file (or, with cert, the certificate for it) as something to offer. 1 yes, 0 passed over, -1 memory.
 */
static int from_file(struct pt_sshkeys *note, const char *path, const char *cert, struct pt_sshkey *out)
{
    struct pt_keytext text, cert_text = {0};
    bool is_cert = false;
    int rc = 0;
    *out = (struct pt_sshkey){0};
    int loaded = pt_keyfile_load(path, &text);
    if (text.starved)
        rc = -1;
    if (loaded < 0 || text.starved)
        goto done;
    if (text.kind == PT_KEYFILE_PRIVATE && text.open_to_others) {
        snprintf(note->skipped, sizeof(note->skipped), "%s can be read by others: chmod 600 it", path);
        goto done;
    }
    if (cert && (pt_keyfile_load(cert, &cert_text) < 0 || cert_text.starved ||
                 type_of(&cert_text.public, &is_cert) < 0 || !is_cert)) {
        rc = cert_text.starved ? -1 : 0;
        goto done;
    }
    const struct pt_blob *offer = cert ? &cert_text.public : &text.public;
    if (offer->n && type_of(offer, &is_cert) < 0)
        goto done;
    out->encrypted = text.encrypted;
    if ((text.kind == PT_KEYFILE_PRIVATE && !(out->path = strdup(path))) ||
        (cert && !(out->cert = strdup(cert))) || pt_blob_set(&out->offer, offer->data, offer->n) < 0 ||
        pt_blob_set(&out->held, text.public.data, text.public.n) < 0) {
        key_fini(out);
        *out = (struct pt_sshkey){0};
        rc = -1;
    } else {
        rc = 1;
    }
done:
    pt_keyfile_fini(&text);
    pt_keyfile_fini(&cert_text);
    return rc;
}

static int add_file(struct pt_sshkeys *files, const char *path, const char *cert)
{
    struct pt_sshkey key;
    int rc = from_file(files, path, cert, &key);
    return rc == 1 ? push(files, &key) : rc;
}

/* Everything the configuration names, certificates beside the keys too. */
static int list_files(const struct pt_sshconfig *conf, struct pt_sshkeys *files)
{
    for (size_t i = 0; i < conf->identity_files.n; i++) {
        const char *path = conf->identity_files.items[i];
        pt_auto_free char *cert = NULL;
        if (add_file(files, path, NULL) < 0)
            return -1;
        if (conf->certificate_files.n)
            continue;
        if (asprintf(&cert, "%s-cert.pub", path) < 0 || add_file(files, path, cert) < 0)
            return -1;
    }
    return 0;
}

/* A certificate that the configuration names goes with whatever private key fits. */
static int add_certificate(const struct pt_sshkeys *files, const struct pt_agentkeys *agent, const char *cert,
                           struct pt_sshkeys *out)
{
    struct pt_keytext text;
    struct pt_sshkey key = {0};
    errno = 0;
    bool whole = pt_keyfile_load(cert, &text) == 0 && pt_cert_key(&text.public, &key.held);
    int rc = text.starved || (!whole && errno == ENOMEM) ? -1 : 0;
    if (whole && rc == 0) {
        const char *path = NULL;
        for (size_t i = 0; i < files->n && !path; i++)
            if (pt_blob_equal(&files->items[i].offer, &key.held)) {
                path = files->items[i].path;
                key.encrypted = files->items[i].encrypted;
            }
        key.in_agent = agent_has(agent, &text.public) || agent_has(agent, &key.held);
        if (agent_has(agent, &text.public) && pt_blob_set(&key.held, text.public.data, text.public.n) < 0)
            rc = -1;
        if (rc == 0 && (path || key.in_agent)) {
            key.cert = strdup(cert);
            key.path = path ? strdup(path) : NULL;
            rc = key.cert && (key.path || !path) &&
                         pt_blob_set(&key.offer, text.public.data, text.public.n) == 0
                     ? push(out, &key)
                     : -1;
        }
    }
    key_fini(&key);
    pt_keyfile_fini(&text);
    return rc;
}

/* Agent keys: first (named == true) those that a file names, then the others. */
static int add_agent(const struct pt_agentkeys *agent, struct pt_sshkeys *files, bool named,
                     struct pt_sshkeys *out)
{
    for (size_t i = 0; i < agent->n; i++) {
        struct pt_sshkey key = {0};
        bool is_cert;
        size_t at = 0;
        while (at < files->n && !pt_blob_equal(&files->items[at].offer, &agent->items[i]))
            at++;
        if (type_of(&agent->items[i], &is_cert) < 0 || (at < files->n) != named)
            continue;
        if (named) {
            key = files->items[at];
            memmove(&files->items[at], &files->items[at + 1], (--files->n - at) * sizeof(key));
        }
        key.in_agent = true;
        bool seen = false;
        for (size_t k = 0; k < out->n; k++)
            seen |= pt_blob_equal(&out->items[k].offer, &agent->items[i]);
        if (seen)
            key_fini(&key);
        else if (pt_blob_set(&key.offer, agent->items[i].data, agent->items[i].n) < 0 ||
                 pt_blob_set(&key.held, agent->items[i].data, agent->items[i].n) < 0) {
            key_fini(&key);
            return -1;
        } else if (push(out, &key) < 0) {
            return -1;
        }
    }
    return 0;
}

int pt_sshkeys_plan(const struct pt_sshconfig *conf, const struct pt_agentkeys *agent, struct pt_sshkeys *out)
{
    static const struct pt_agentkeys nobody;
    struct pt_sshkeys files = {0};
    *out = (struct pt_sshkeys){0};
    if (!agent)
        agent = &nobody;
    int rc = list_files(conf, &files);
    for (size_t i = 0; rc == 0 && i < conf->certificate_files.n; i++)
        rc = add_certificate(&files, agent, conf->certificate_files.items[i], out);
    if (rc == 0)
        rc = add_agent(agent, &files, true, out);
    if (rc == 0 && !conf->identities_only)
        rc = add_agent(agent, &files, false, out);
    for (size_t i = 0; rc == 0 && i < files.n; i++) {
        struct pt_sshkey *key = &files.items[i];
        key->in_agent = key->cert && agent_has(agent, &key->held);
        if (key->path || key->in_agent)
            rc = push(out, key);
    }
    memcpy(out->skipped, files.skipped, sizeof(out->skipped));
    pt_sshkeys_fini(&files);
    return rc;
}
