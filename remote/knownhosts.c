/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/knownhosts.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/wire.h"
#include "remote/sshcodec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#define MAX_LINE (64 << 10)
#define MAX_KEY  (16 << 10)

enum marker { PLAIN, REVOKED, AUTHORITY };

/* One line, taken apart in place. */
struct line {
    enum marker marker;
    char *hosts, *type, *key64;
    unsigned char key[MAX_KEY];
    size_t key_len;
};

/* Called for each line that says something; true: stop. */
typedef bool line_fn(void *arg, const struct line *line, const char *file, unsigned number);

void pt_knownname_text(const struct pt_knownname *name, char *out, size_t size)
{
    if (name->port == 0 || name->port == 22)
        snprintf(out, size, "%s", name->host);
    else
        snprintf(out, size, "[%s]:%d", name->host, name->port);
}

bool pt_key_type(const void *key, size_t n, char *out, size_t size)
{
    struct pt_reader r = {.p = key, .left = n};
    size_t len;
    const char *type = pt_get_bytes(&r, &len);
    if (r.bad || len == 0 || len >= size)
        return false;
    for (size_t i = 0; i < len; i++)
        if (type[i] <= ' ' || type[i] > '~' || type[i] == ',')
            return false;
    memcpy(out, type, len);
    out[len] = '\0';
    return true;
}

/* --- reading --- */

static char *next_word(char **s)
{
    *s += strspn(*s, " \t");
    char *word = *s;
    *s += strcspn(*s, " \t\r\n");
    if (**s)
        *(*s)++ = '\0';
    return *word ? word : NULL;
}

static bool take_apart(char *text, struct line *out)
{
    char *word = next_word(&text), type[64];
    out->marker = PLAIN;
    if (!word || *word == '#')
        return false;
    if (*word == '@') {
        if (!strcmp(word, "@revoked"))
            out->marker = REVOKED;
        else if (!strcmp(word, "@cert-authority"))
            out->marker = AUTHORITY;
        else
            return false;
        word = next_word(&text);
    }
    out->hosts = word;
    out->type = next_word(&text);
    out->key64 = next_word(&text);
    if (!out->key64 || strlen(out->key64) > MAX_KEY)
        return false;
    long n = pt_base64_decode(out->key64, strlen(out->key64), out->key);
    out->key_len = n < 0 ? 0 : (size_t)n;
    return n > 0 && pt_key_type(out->key, out->key_len, type, sizeof(type)) && !strcmp(type, out->type);
}

/* 0, or why not all of it was read: errno. */
static int each_line(const char *file, line_fn *fn, void *arg)
{
    FILE *f = fopen(file, "re");
    pt_auto_free struct line *line = malloc(sizeof(*line));
    pt_auto_free char *text = NULL;
    size_t cap = 0;
    ssize_t n;
    unsigned number = 0;
    bool stop = false;
    int why = f && line ? 0 : errno;
    while (!why && !stop) {
        errno = 0;
        if ((n = getline(&text, &cap, f)) <= 0) {
            why = feof(f) ? 0 : errno;
            break;
        }
        number++;
        if (n < MAX_LINE && strlen(text) == (size_t)n && take_apart(text, line))
            stop = fn(arg, line, file, number);
    }
    if (f)
        fclose(f);
    return why == ENOENT || why == ENOTDIR || why == EACCES ? 0 : why;
}

/* |1|SALT|HASH, both base64 */
static bool hashed_match(const char *host, const char *text)
{
    unsigned char salt[64], want[64], got[PT_SHA1_SIZE];
    size_t salt_len, hash_len;
    if (strncmp(text, "|1|", 3) != 0)
        return false;
    text += 3;
    salt_len = strcspn(text, "|");
    if (!text[salt_len] || salt_len > 80)
        return false;
    hash_len = strlen(text + salt_len + 1);
    if (hash_len > 80)
        return false;
    long n = pt_base64_decode(text, salt_len, salt);
    if (n <= 0 || pt_base64_decode(text + salt_len + 1, hash_len, want) != PT_SHA1_SIZE)
        return false;
    pt_hmac_sha1(salt, (size_t)n, host, strlen(host), got);
    return !memcmp(got, want, PT_SHA1_SIZE);
}

static bool host_match(const char *host, const char *hosts)
{
    return *hosts == '|' ? hashed_match(host, hosts) : pt_pattern_list(host, hosts, true) == 1;
}

/* --- looking up --- */

struct lookup {
    char text[512];    /* as pt_knownname_text */
    const char *alone; /* the bare name when a port is given: a key that matches there counts too */
    const void *key;
    size_t n;
    char type[64];
    enum pt_known found;
    struct pt_knownwhere where;
};

static int gravity(enum pt_known k)
{
    static const int order[] = {
        [PT_KNOWN_REVOKED] = 6, [PT_KNOWN_UNREAD] = 5,    [PT_KNOWN_OK] = 4,     [PT_KNOWN_CHANGED] = 3,
        [PT_KNOWN_OTHER] = 2,   [PT_KNOWN_AUTHORITY] = 1, [PT_KNOWN_UNKNOWN] = 0};
    return order[k];
}

static void find(struct lookup *l, enum pt_known k, const struct pt_knownwhere *where)
{
    if (gravity(k) <= gravity(l->found))
        return;
    l->found = k;
    l->where = *where;
}

static bool weigh(void *arg, const struct line *line, const char *file, unsigned number)
{
    struct lookup *l = arg;
    bool same = line->key_len == l->n && !memcmp(line->key, l->key, l->n);
    bool named = host_match(l->text, line->hosts);
    bool alone = l->alone && host_match(l->alone, line->hosts);
    enum pt_known k = PT_KNOWN_UNKNOWN;
    if (line->marker == REVOKED)
        k = same && (named || alone) ? PT_KNOWN_REVOKED : PT_KNOWN_UNKNOWN;
    else if (line->marker == AUTHORITY)
        k = named ? PT_KNOWN_AUTHORITY : PT_KNOWN_UNKNOWN;
    else if (same && (named || alone))
        k = PT_KNOWN_OK;
    else if (named)
        k = strcmp(line->type, l->type) ? PT_KNOWN_OTHER : PT_KNOWN_CHANGED;
    find(l, k, &(struct pt_knownwhere){.file = file, .line = number});
    return false;
}

enum pt_known pt_knownhosts_check(const struct pt_strings *files, const struct pt_knownname *name,
                                  const void *key, size_t n, struct pt_knownwhere *where)
{
    struct lookup l = {.key = key, .n = n, .found = PT_KNOWN_UNKNOWN};
    pt_knownname_text(name, l.text, sizeof(l.text));
    l.alone = name->port && name->port != 22 ? name->host : NULL;
    if (!pt_key_type(key, n, l.type, sizeof(l.type)))
        return PT_KNOWN_UNKNOWN;
    for (size_t i = 0; i < files->n; i++) {
        int why = each_line(files->items[i], weigh, &l);
        if (why)
            find(&l, PT_KNOWN_UNREAD, &(struct pt_knownwhere){.file = files->items[i], .why = why});
    }
    if (where)
        *where = l.where;
    return l.found;
}

struct types {
    char text[512];
    const char *alone;
    char *out;
    size_t size;
};

static bool collect(void *arg, const struct line *line, const char *file, unsigned number)
{
    struct types *t = arg;
    size_t used = strlen(t->out), n = strlen(line->type);
    (void)file;
    (void)number;
    if (line->marker != PLAIN ||
        !(host_match(t->text, line->hosts) || (t->alone && host_match(t->alone, line->hosts))))
        return false;
    if (pt_pattern_list(line->type, t->out, false) != 1 && used + n + 2 <= t->size)
        snprintf(t->out + used, t->size - used, "%s%s", used ? "," : "", line->type);
    return false;
}

void pt_knownhosts_types(const struct pt_strings *files, const struct pt_knownname *name, char *out,
                         size_t size)
{
    struct types t = {.out = out, .size = size};
    pt_knownname_text(name, t.text, sizeof(t.text));
    t.alone = name->port && name->port != 22 ? name->host : NULL;
    *out = '\0';
    for (size_t i = 0; i < files->n; i++)
        each_line(files->items[i], collect, &t);
}

/* --- adding --- */

static void make_folder(const char *file)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", file);
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = '\0';
        mkdir(dir, 0700);
    }
}

static int format_line(const struct pt_knownname *name, const void *key, size_t n, bool newline,
                       struct pt_buf *out)
{
    char host[512], type[64], *key64 = malloc(n / 3 * 4 + 8);
    int rc = -1;
    pt_knownname_text(name, host, sizeof(host));
    if (key64 && pt_key_type(key, n, type, sizeof(type))) {
        if (name->hashed) {
            unsigned char salt[PT_SHA1_SIZE], hash[PT_SHA1_SIZE];
            char salt64[64], hash64[64];
            if (getrandom(salt, sizeof(salt), 0) != sizeof(salt))
                goto done;
            pt_hmac_sha1(salt, sizeof(salt), host, strlen(host), hash);
            pt_base64_encode(salt, sizeof(salt), salt64);
            pt_base64_encode(hash, sizeof(hash), hash64);
            snprintf(host, sizeof(host), "|1|%s|%s", salt64, hash64);
        }
        pt_base64_encode(key, n, key64);
        const char *parts[] = {newline ? "\n" : "", host, " ", type, " ", key64, "\n"};
        for (size_t i = 0; i < PT_COUNT(parts); i++)
            pt_buf_append(out, parts[i], strlen(parts[i]));
        rc = out->bad ? -1 : 0;
    }
done:
    free(key64);
    return rc;
}

static bool lacks_newline(int fd)
{
    char last;
    off_t end = lseek(fd, 0, SEEK_END);
    return end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n';
}

static int append(const char *file, int fd, const struct pt_knownname *name, const void *key, size_t n,
                  struct pt_err *err)
{
    char *path = strdup(file);
    struct pt_strings one = {.items = &path, .n = 1};
    struct pt_knownwhere where = {.why = ENOMEM};
    enum pt_known now = path ? pt_knownhosts_check(&one, name, key, n, &where) : PT_KNOWN_UNREAD;
    free(path);
    if (now == PT_KNOWN_UNREAD)
        return pt_err_set_kind(err, PT_ERR_INFRA, "%s: %s", file, strerror(where.why));
    if (now == PT_KNOWN_OK)
        return 0;
    if (now != PT_KNOWN_UNKNOWN && now != PT_KNOWN_AUTHORITY)
        return pt_err_set_kind(err, PT_ERR_INFRA, "%s: another key was recorded at the same time", file);
    struct pt_buf line = {0};
    int rc = format_line(name, key, n, lacks_newline(fd), &line);
    if (rc == 0 && write(fd, line.data, line.len) != (ssize_t)line.len)
        rc = -1;
    if (rc < 0)
        pt_err_set_kind(err, PT_ERR_INFRA, "cannot record the host key in %s: %s", file, strerror(errno));
    pt_buf_fini(&line);
    return rc;
}

int pt_knownhosts_add(const char *file, const struct pt_knownname *name, const void *key, size_t n,
                      struct pt_err *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    int rc = -1;
    make_folder(file);
    pt_auto_fd int fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0) {
        pt_err_set_kind(err, PT_ERR_INFRA, "cannot record the host key in %s: %s", file, strerror(errno));
        pt_err_hint(err, "make it writable, or set UserKnownHostsFile");
    } else {
        flock(fd, LOCK_EX); /* where the file system has no locks, the append alone must do */
        rc = append(file, fd, name, key, n, err);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}
