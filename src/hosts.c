/* SPDX-License-Identifier: Apache-2.0 */
#include "hosts.h"

#include "common/auto.h"
#include "common/err.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_NAME 255
#define MAX_LINE 4096

static int refuse(struct pt_err *err, const char *what, const char *text, size_t n)
{
    return pt_err_set_kind(err, PT_ERR_USAGE, "hosts: %s in '%.*s'", what, (int)(n > 200 ? 200 : n), text);
}

/* 1 to PT_SLOTS_MAX, else 0. */
static unsigned slots_of(const char *text, size_t n)
{
    unsigned v = 0;
    if (n == 0 || n > 4)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (!isdigit((unsigned char)text[i]))
            return 0;
        v = v * 10 + (unsigned)(text[i] - '0');
    }
    return v <= PT_SLOTS_MAX ? v : 0;
}

static bool name_ok(const char *s, size_t n, bool brackets)
{
    if (n == 0 || n > MAX_NAME || *s == '-')
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (!(isalnum(c) || strchr("._-%+", c) || (brackets && c == ':') || c >= 0x80))
            return false;
    }
    return true;
}

static bool user_ok(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] <= ' ' || s[i] == 0x7f || strchr("\"'`;$&|<>(){}", s[i]))
            return false;
    return n > 0 && n <= MAX_NAME && *s != '-';
}

static void free_texts(struct pt_host *host)
{
    free(host->name);
    free(host->user);
    free(host->host);
}

void pt_hosts_fini(struct pt_hosts *hosts)
{
    for (size_t i = 0; i < hosts->n; i++) {
        free_texts(&hosts->items[i]);
    }
    for (unsigned i = 0; i < hosts->nlabels; i++)
        free(hosts->labels[i]);
    free(hosts->items);
    *hosts = (struct pt_hosts){0};
}

static bool known(const struct pt_hosts *hosts, const struct pt_host *host)
{
    for (size_t i = 0; i < hosts->n; i++)
        if (!strcasecmp(hosts->items[i].host, host->host))
            return true;
    return false;
}

/* Takes over the host's texts, also when it fails. */
static int add(struct pt_hosts *hosts, struct pt_host *host, struct pt_err *err)
{
    struct pt_host *items = NULL;
    int rc = -1;
    if (!host->name || !host->host)
        pt_err_set(err, "no memory for the list of hosts");
    else if (known(hosts, host))
        pt_err_set_kind(err, PT_ERR_USAGE, "hosts: '%s' is given twice", host->host);
    else if (hosts->n >= PT_HOSTS_MAX)
        pt_err_set_kind(err, PT_ERR_USAGE, "hosts: more than %d", PT_HOSTS_MAX);
    else if (!(items = realloc(hosts->items, (hosts->n + 1) * sizeof(*items))))
        pt_err_set(err, "no memory for the list of hosts");
    else
        rc = 0;
    if (rc < 0) {
        free_texts(host);
        return -1;
    }
    host->local = !host->user && !strcmp(host->host, "local");
    hosts->items = items;
    items[hosts->n++] = *host;
    return 0;
}

/* --- labels --- */

static uint64_t find_label(const struct pt_hosts *hosts, const char *label, size_t n)
{
    for (unsigned i = 0; i < hosts->nlabels; i++)
        if (strlen(hosts->labels[i]) == n && !memcmp(hosts->labels[i], label, n))
            return (uint64_t)1 << i;
    return 0;
}

uint64_t pt_hosts_label(const struct pt_hosts *hosts, const char *label)
{
    return find_label(hosts, label, strlen(label));
}

static int add_label(struct pt_hosts *hosts, const char *label, size_t n, uint64_t *labels,
                     struct pt_err *err)
{
    if (!name_ok(label, n, false) || !isalpha((unsigned char)*label) || memchr(label, '+', n))
        return refuse(err, "a label cannot be used (want a letter, then letters, digits, '.', '_', '-')",
                      label, n);
    uint64_t bit = find_label(hosts, label, n);
    if (!bit) {
        if (hosts->nlabels == PT_LABELS_MAX)
            return pt_err_set_kind(err, PT_ERR_USAGE, "hosts: more than %d labels", PT_LABELS_MAX);
        if (!(hosts->labels[hosts->nlabels] = strndup(label, n)))
            return pt_err_set(err, "no memory for the list of hosts");
        bit = (uint64_t)1 << hosts->nlabels++;
    }
    *labels |= bit;
    return 0;
}

/* Labels with `by` between them, up to the end of the n bytes. */
static int add_labels(struct pt_hosts *hosts, const char *s, size_t n, char by, uint64_t *labels,
                      struct pt_err *err)
{
    for (;;) {
        const char *end = memchr(s, by, n);
        size_t len = end ? (size_t)(end - s) : n;
        if (add_label(hosts, s, len, labels, err) < 0)
            return -1;
        if (!end)
            return 0;
        s += len + 1;
        n -= len + 1;
    }
}

/* Name, user and host of [user@]host; *used is where the host ends. */
static int take_host(const char *s, size_t n, struct pt_host *out, size_t *used, struct pt_err *err)
{
    const char *at = memrchr(s, '@', n);
    const char *host = at ? at + 1 : s;
    size_t left = n - (size_t)(host - s), len;
    bool brackets = left && *host == '[';
    if (at && !user_ok(s, (size_t)(at - s)))
        return refuse(err, "the user name cannot be used", s, n);
    if (brackets) {
        const char *end = memchr(++host, ']', left - 1);
        if (!end)
            return refuse(err, "a bracket is not closed", s, n);
        len = (size_t)(end - host);
        *used = (size_t)(end + 1 - s);
    } else {
        const char *colon = memchr(host, ':', left);
        len = colon ? (size_t)(colon - host) : left;
        *used = (size_t)(host + len - s);
    }
    if (len == 0)
        return refuse(err, "the host's name is missing", s, n);
    if (!name_ok(host, len, brackets))
        return refuse(err, "the host's name cannot be used", s, n);
    out->name = strndup(s, *used);
    out->host = strndup(host, len);
    out->user = at ? strndup(s, (size_t)(at - s)) : NULL;
    if (at && !out->user) { /* so that `add` says so */
        free(out->host);
        out->host = NULL;
    }
    return 0;
}

static bool bare_ipv6(const char *s, size_t n)
{
    const char *colon = memchr(s, ':', n);
    return colon && !memchr(s, '[', n) && memchr(colon + 1, ':', n - (size_t)(colon + 1 - s));
}

/* What stands behind a host, from `used` on: `:8`, `:8+gpu`, `:+gpu`. */
static int parse_room(const char *s, size_t n, size_t used, struct pt_hosts *hosts, struct pt_host *host,
                      struct pt_err *err)
{
    const char *plus = memchr(s + used, '+', n - used);
    const char *end = plus ? plus : s + n, *digits = s + used + 1;
    bool none = plus && digits == end;
    if (s[used] != ':' || (!none && !(host->slots = slots_of(digits, (size_t)(end - digits)))))
        return refuse(err, "slots must be a number from 1 to 4096", s, n);
    return plus ? add_labels(hosts, plus + 1, (size_t)(s + n - plus - 1), '+', &host->labels, err) : 0;
}

static int parse_one(const char *s, size_t n, struct pt_hosts *hosts, struct pt_err *err)
{
    struct pt_host host = {0};
    size_t used;
    while (n && isspace((unsigned char)*s))
        s++, n--;
    while (n && isspace((unsigned char)s[n - 1]))
        n--;
    if (n == 0)
        return pt_err_set_kind(err, PT_ERR_USAGE, "hosts: an entry is empty; want [user@]host[:slots],...");
    if (bare_ipv6(s, n))
        return refuse(err, "an IPv6 address needs brackets", s, n);
    if (take_host(s, n, &host, &used, err) < 0)
        return -1;
    if (used < n && parse_room(s, n, used, hosts, &host, err) < 0) {
        free_texts(&host);
        return -1;
    }
    return add(hosts, &host, err);
}

int pt_hosts_parse(const char *list, struct pt_hosts *hosts, struct pt_err *err)
{
    for (;;) {
        size_t n = strcspn(list, ",");
        if (parse_one(list, n, hosts, err) < 0)
            return -1;
        if (!list[n])
            return 0;
        list += n + 1;
    }
}

/* --- more of them --- */

int pt_hosts_parse_more(const char *list, const struct pt_hosts *hosts, struct pt_hosts *more,
                        struct pt_err *err)
{
    for (; more->nlabels < hosts->nlabels; more->nlabels++)
        if (!(more->labels[more->nlabels] = strdup(hosts->labels[more->nlabels])))
            return pt_err_set(err, "no memory for the list of hosts");
    return pt_hosts_parse(list, more, err);
}

int pt_hosts_append(struct pt_hosts *hosts, struct pt_hosts *more, struct pt_err *err)
{
    if (more->n > PT_HOSTS_MAX - hosts->n)
        return pt_err_set_kind(err, PT_ERR_USAGE, "hosts: more than %d", PT_HOSTS_MAX);
    struct pt_host *items = realloc(hosts->items, (hosts->n + more->n) * sizeof(*items));
    if (!items)
        return pt_err_set(err, "no memory for the list of hosts");
    memcpy(items + hosts->n, more->items, more->n * sizeof(*items));
    hosts->items = items;
    hosts->n += more->n;
    more->n = 0;
    while (hosts->nlabels < more->nlabels) {
        hosts->labels[hosts->nlabels] = more->labels[hosts->nlabels];
        more->labels[hosts->nlabels++] = NULL;
    }
    pt_hosts_fini(more);
    return 0;
}

/* --- Open MPI's host files --- */

static int file_slots(const char *word, const char **value)
{
    static const char *const names[] = {"slots",     "cpu",     "count",    "max_slots",
                                        "max-slots", "cpu_max", "count_max"};
    for (size_t i = 0; i < PT_COUNT(names); i++) {
        size_t n = strlen(names[i]);
        if (!strncasecmp(word, names[i], n) && word[n] == '=') {
            *value = word + n + 1;
            return i < 3 ? 1 : 0;
        }
    }
    return -1;
}

/* `slots = 8` is the same as `slots=8`. */
static void join_equals(char *s)
{
    char *out = s;
    for (; *s; s++) {
        if (*s == '=') {
            while (out[-1] == ' ' || out[-1] == '\t')
                out--;
            *out++ = '=';
            while (s[1] == ' ' || s[1] == '\t')
                s++;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

static int parse_line(char *line, struct pt_hosts *hosts, struct pt_err *err)
{
    struct pt_host host = {0};
    size_t used;
    line[strcspn(line, "#\r\n")] = '\0';
    line += strspn(line, " \t");
    if (!*line)
        return 0;
    if (*line == '=')
        return refuse(err, "the host's name is missing", line, strlen(line));
    join_equals(line);
    char *save, *word = strtok_r(line, " \t", &save);
    unsigned slots = 0;
    uint64_t labels = 0;
    for (char *w = strtok_r(NULL, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
        const char *value = NULL;
        if (!strncasecmp(w, "labels=", 7)) {
            if (add_labels(hosts, w + 7, strlen(w + 7), ',', &labels, err) < 0)
                return -1;
            continue;
        }
        int kind = file_slots(w, &value);
        if (kind < 0)
            return refuse(err, "unknown word (want slots=N or labels=A,B)", w, strlen(w));
        if (kind == 1 && (slots = slots_of(value, strlen(value))) == 0)
            return refuse(err, "slots must be a number from 1 to 4096", w, strlen(w));
    }
    if (take_host(word, strlen(word), &host, &used, err) < 0)
        return -1;
    host.slots = slots;
    host.labels = labels;
    if (used == strlen(word))
        return add(hosts, &host, err);
    free_texts(&host);
    return refuse(err, "slots are written slots=N here", word, strlen(word));
}

int pt_hosts_parse_file(const char *path, struct pt_hosts *hosts, struct pt_err *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return pt_err_set_kind(err, PT_ERR_USAGE, "--hostfile: %s: %s", path, strerror(errno));
    pt_auto_free char *line = NULL;
    size_t cap = 0, before = hosts->n;
    unsigned number = 0;
    ssize_t n = 0;
    int rc = 0;
    while (rc == 0 && (n = getline(&line, &cap, f)) > 0) {
        number++;
        if (n > MAX_LINE || strlen(line) != (size_t)n)
            rc = pt_err_set_kind(err, PT_ERR_USAGE, "the line is too long or holds a zero byte");
        else
            rc = parse_line(line, hosts, err);
        if (rc < 0)
            pt_err_wrap(err, "%s line %u", path, number);
    }
    bool failed = rc == 0 && (n == 0 || !feof(f)); /* no memory for a line is no error of the file */
    int why = errno;
    fclose(f);
    if (failed)
        return pt_err_set_kind(err, PT_ERR_USAGE, "--hostfile: %s: %s", path, strerror(why));
    if (rc == 0 && hosts->n == before)
        return pt_err_set_kind(err, PT_ERR_USAGE, "--hostfile: %s names no host", path);
    return rc;
}
