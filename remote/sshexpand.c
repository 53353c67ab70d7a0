/* SPDX-License-Identifier: Apache-2.0 */
/* The end of reading a configuration: defaults, ~, %-tokens and ${NAME}. */
#include "common/auto.h"
#include "common/err.h"
#include "common/wire.h"
#include "remote/sshconfig.h"
#include "remote/sshconfig_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/utsname.h>

static const char *const default_keys[] = {"id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519",
                                           "id_ed25519_sk"};

int pt_sshself_init(struct pt_sshself *self, struct pt_err *err)
{
    char text[4096];
    struct passwd pw, *found = NULL;
    getpwuid_r(getuid(), &pw, text, sizeof(text), &found);
    const char *home = found ? pw.pw_dir : getenv("HOME");
    const char *login = found ? pw.pw_name : getenv("USER");
    if (!home || !login)
        return pt_err_set_kind(err, PT_ERR_INFRA, "user %u has no entry in the password file",
                               (unsigned)getuid());
    self->home = strdup(home);
    self->login = strdup(login);
    return self->home && self->login ? 0 : pt_err_set(err, "no memory for the ssh configuration");
}

void pt_sshself_fini(struct pt_sshself *self)
{
    free(self->home);
    free(self->login);
    *self = (struct pt_sshself){0};
}

char *pt_sshpath(const char *path, const char *home, const char *base)
{
    char *out = NULL;
    int n = path[0] == '~' && (path[1] == '/' || !path[1]) ? asprintf(&out, "%s%s", home, path + 1)
            : path[0] == '/' || !base                      ? asprintf(&out, "%s", path)
                                                           : asprintf(&out, "%s/%s", base, path);
    return n < 0 ? NULL : out;
}

static char *take(struct pt_buf *b)
{
    pt_put_u8(b, 0);
    if (b->bad) {
        pt_buf_fini(b);
        return NULL;
    }
    return (char *)b->data;
}

char *pt_sshexpand_host(const char *text, const char *host, struct pt_err *err)
{
    struct pt_buf b = {0};
    for (const char *s = text; *s; s++) {
        if (*s != '%') {
            pt_buf_append(&b, s, 1);
        } else if (*++s == 'h') {
            pt_buf_append(&b, host, strlen(host));
        } else if (*s == '%') {
            pt_buf_append(&b, "%", 1);
        } else {
            pt_buf_fini(&b);
            pt_err_set_kind(err, PT_ERR_USAGE, "HostName %s: only %%h and %%%% can stand there", text);
            return NULL;
        }
    }
    char *out = take(&b);
    if (!out)
        pt_err_set(err, "no memory for the ssh configuration");
    return out;
}

struct tokens {
    const struct pt_sshconfig *conf;
    const struct pt_sshquery *query;
    const struct pt_sshself *self;
    struct utsname here;
    struct pt_err *err;
};

static const char *token(const struct tokens *t, char c, char small[32])
{
    const struct pt_sshconfig *conf = t->conf;
    switch (c) {
    case '%':
        return "%";
    case 'd':
        return t->self->home;
    case 'h':
        return conf->hostname;
    case 'k':
        return conf->host_key_alias ? conf->host_key_alias : t->query->host;
    case 'n':
        return t->query->host;
    case 'r':
        return conf->user;
    case 'u':
        return t->self->login;
    case 'l':
        return t->here.nodename;
    case 'L':
        snprintf(small, 32, "%.*s", (int)strcspn(t->here.nodename, "."), t->here.nodename);
        return small;
    case 'p':
        snprintf(small, 32, "%d", conf->port);
        return small;
    case 'i':
        snprintf(small, 32, "%u", (unsigned)getuid());
        return small;
    default:
        return NULL;
    }
}

static int expand(const struct tokens *t, char **text)
{
    char small[32], name[128];
    struct pt_buf b = {0};
    pt_auto_free char *path = pt_sshpath(*text, t->self->home, NULL);
    for (const char *s = path; s && *s; s++) {
        const char *value = NULL;
        size_t n;
        if (*s == '%') {
            value = *++s ? token(t, *s, small) : NULL;
        } else if (s[0] == '$' && s[1] == '{' && (n = strcspn(s + 2, "}")) < sizeof(name) && s[2 + n]) {
            snprintf(name, sizeof(name), "%.*s", (int)n, s + 2);
            value = getenv(name);
            s += n + 2;
        } else {
            pt_buf_append(&b, s, 1);
            continue;
        }
        if (!value) {
            pt_buf_fini(&b);
            pt_err_set_kind(t->err, PT_ERR_USAGE, "ssh configuration: '%s' cannot be replaced in full",
                            *text);
            return pt_err_hint(t->err,
                               "known are %%d %%h %%i %%k %%l %%L %%n %%p %%r %%u and ${NAME} that is set");
        }
        pt_buf_append(&b, value, strlen(value));
    }
    char *out = path ? take(&b) : NULL;
    if (!out)
        return pt_err_set(t->err, "no memory for the ssh configuration");
    free(*text);
    *text = out;
    return 0;
}

static int expand_list(const struct tokens *t, struct pt_strings *list)
{
    size_t kept = 0;
    int rc = 0;
    for (size_t i = 0; i < list->n; i++) {
        bool none = !strcasecmp(list->items[i], "none");
        if (none)
            free(list->items[i]);
        else
            list->items[kept++] = list->items[i];
        if (!none && rc == 0)
            rc = expand(t, &list->items[kept - 1]);
    }
    list->n = kept;
    return rc;
}

static int add_paths(struct pt_strings *list, const char *dir, const char *const *names, size_t n)
{
    char path[4096];
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        if (pt_strings_add(list, path) < 0)
            return -1;
    }
    return 0;
}

static int fill_lists(struct pt_sshconfig *conf)
{
    static const char *const user_files[] = {"known_hosts", "known_hosts2"};
    static const char *const system_files[] = {"ssh_known_hosts", "ssh_known_hosts2"};
    if (!conf->identity_files.n &&
        add_paths(&conf->identity_files, "~/.ssh", default_keys, PT_COUNT(default_keys)) < 0)
        return -1;
    if (!conf->user_known_hosts.n && add_paths(&conf->user_known_hosts, "~/.ssh", user_files, 2) < 0)
        return -1;
    if (!conf->global_known_hosts.n && add_paths(&conf->global_known_hosts, "/etc/ssh", system_files, 2) < 0)
        return -1;
    return 0;
}

static void fill(int *value, int standard)
{
    if (*value < 0)
        *value = standard;
}

static void fill_numbers(struct pt_sshconfig *conf)
{
    fill(&conf->port, 22);
    fill(&conf->strict, PT_STRICT_ASK);
    fill(&conf->family, PT_FAMILY_ANY);
    fill(&conf->connect_timeout, 0);
    fill(&conf->identities_only, 0);
    fill(&conf->batch_mode, 0);
    fill(&conf->hash_known_hosts, 0);
    fill(&conf->pubkey, 1);
    fill(&conf->password, 1);
    fill(&conf->kbdint, 1);
    fill(&conf->prompts, 3);
}

static void drop_none(char **text)
{
    if (*text && !strcasecmp(*text, "none")) {
        free(*text);
        *text = NULL;
    }
}

/* The values of IdentityAgent that name a variable. */
static int resolve_agent(const struct tokens *t, char **agent)
{
    if (!*agent || !strcasecmp(*agent, "none"))
        return 0;
    const char *name = !strcmp(*agent, "SSH_AUTH_SOCK")       ? *agent
                       : **agent == '$' && (*agent)[1] != '{' ? *agent + 1
                                                              : NULL;
    if (!name)
        return expand(t, agent);
    const char *value = getenv(name);
    char *copy = strdup(value && *value ? value : "none");
    if (!copy)
        return pt_err_set(t->err, "no memory for the ssh configuration");
    free(*agent);
    *agent = copy;
    return 0;
}

int pt_sshconfig_resolve(struct pt_sshconfig *conf, const struct pt_sshquery *query,
                         const struct pt_sshself *self, struct pt_err *err)
{
    struct tokens t = {.conf = conf, .query = query, .self = self, .err = err};
    uname(&t.here);
    fill_numbers(conf);
    drop_none(&conf->proxy_jump);
    drop_none(&conf->proxy_command);
    if ((!conf->user && !(conf->user = strdup(self->login))) || fill_lists(conf) < 0)
        return pt_err_set(err, "no memory for the ssh configuration");
    if (expand_list(&t, &conf->identity_files) < 0 || expand_list(&t, &conf->certificate_files) < 0 ||
        expand_list(&t, &conf->user_known_hosts) < 0 || expand_list(&t, &conf->global_known_hosts) < 0)
        return -1;
    if (conf->proxy_jump && expand(&t, &conf->proxy_jump) < 0)
        return -1;
    return resolve_agent(&t, &conf->identity_agent);
}

int pt_sshhop_parse(const char *text, size_t n, struct pt_sshhop *out)
{
    *out = (struct pt_sshhop){0};
    if (n >= 6 && !strncasecmp(text, "ssh://", 6)) {
        text += 6;
        n -= 6;
    }
    if (n == 0 || n >= sizeof(out->store) || memchr(text, '\0', n))
        return -1;
    memcpy(out->store, text, n);
    char *s = out->store, *at = strrchr(s, '@'), *colon;
    if (s[n - 1] == '/')
        s[n - 1] = '\0';
    if (at) {
        *at = '\0';
        out->user = s;
        s = at + 1;
    }
    if (*s == '[') {
        char *end = strchr(++s, ']');
        if (!end || (end[1] && end[1] != ':'))
            return -1;
        *end = '\0';
        colon = end[1] ? end + 1 : NULL;
    } else if ((colon = strchr(s, ':')) && strchr(colon + 1, ':')) {
        return -1;
    }
    if (colon) {
        char *end;
        *colon = '\0';
        long port = strtol(colon + 1, &end, 10);
        if (end == colon + 1 || *end || port < 1 || port > 65535)
            return -1;
        out->port = (int)port;
    }
    out->host = s;
    return *s && (!out->user || *out->user) && !strpbrk(s, " \t\"'") ? 0 : -1;
}
