/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/sshconfig.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/quote.h"
#include "remote/sshcodec.h"
#include "remote/sshconfig_internal.h"

#include <ctype.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define MAX_DEPTH 16
#define MAX_LINE  (64 << 10)
#define MAX_WORDS 1024
#define MAX_TIME  (INT_MAX / 1000) /* seconds: they are waited in ms */
#define UNSET     (-1)

enum kind { WORD, RAW, JUMP, COMMAND, ADD, LIST, NUMBER, SECONDS, CHOICE, HOST, MATCH, INCLUDE };

struct choice {
    const char *name;
    int value;
};

static const struct choice yes_no[] = {{"yes", 1}, {"true", 1}, {"no", 0}, {"false", 0}, {NULL, 0}};
static const struct choice pubkey_ways[] = {{"yes", 1},     {"true", 1},       {"no", 0}, {"false", 0},
                                            {"unbound", 1}, {"host-bound", 1}, {NULL, 0}};
static const struct choice strict_ways[] = {{"ask", PT_STRICT_ASK},
                                            {"yes", PT_STRICT_YES},
                                            {"true", PT_STRICT_YES},
                                            {"no", PT_STRICT_NO},
                                            {"off", PT_STRICT_NO},
                                            {"false", PT_STRICT_NO},
                                            {"accept-new", PT_STRICT_ACCEPT_NEW},
                                            {NULL, 0}};
static const struct choice families[] = {
    {"any", PT_FAMILY_ANY}, {"inet", PT_FAMILY_INET}, {"inet6", PT_FAMILY_INET6}, {NULL, 0}};

struct row {
    const char *name;
    enum kind kind;
    size_t at; /* of the member in struct pt_sshconfig */
    const struct choice *choices;
    int max;
};

#define AT(member) offsetof(struct pt_sshconfig, member)

static const struct row rows[] = {
    {"host", HOST, 0, NULL, 0},
    {"match", MATCH, 0, NULL, 0},
    {"include", INCLUDE, 0, NULL, 0},
    {"hostname", WORD, AT(hostname), NULL, 0},
    {"user", WORD, AT(user), NULL, 0},
    {"port", NUMBER, AT(port), NULL, 65535},
    {"identityfile", ADD, AT(identity_files), NULL, 0},
    {"certificatefile", ADD, AT(certificate_files), NULL, 0},
    {"identitiesonly", CHOICE, AT(identities_only), yes_no, 0},
    {"identityagent", WORD, AT(identity_agent), NULL, 0},
    {"userknownhostsfile", LIST, AT(user_known_hosts), NULL, 0},
    {"globalknownhostsfile", LIST, AT(global_known_hosts), NULL, 0},
    {"hostkeyalias", WORD, AT(host_key_alias), NULL, 0},
    {"hashknownhosts", CHOICE, AT(hash_known_hosts), yes_no, 0},
    {"proxyjump", JUMP, AT(proxy_jump), NULL, 0},
    {"proxycommand", COMMAND, AT(proxy_command), NULL, 0},
    {"stricthostkeychecking", CHOICE, AT(strict), strict_ways, 0},
    {"connecttimeout", SECONDS, AT(connect_timeout), NULL, 0},
    {"addressfamily", CHOICE, AT(family), families, 0},
    {"batchmode", CHOICE, AT(batch_mode), yes_no, 0},
    {"pubkeyauthentication", CHOICE, AT(pubkey), pubkey_ways, 0},
    {"passwordauthentication", CHOICE, AT(password), yes_no, 0},
    {"kbdinteractiveauthentication", CHOICE, AT(kbdint), yes_no, 0},
    {"challengeresponseauthentication", CHOICE, AT(kbdint), yes_no, 0},
    {"numberofpasswordprompts", NUMBER, AT(prompts), NULL, 100},
};

struct parse {
    struct pt_sshconfig *conf;
    const struct pt_sshquery *query;
    const struct pt_sshself *self;
    bool final, final_wanted;
    struct pt_err *err;
};

/* Where we are; `active`: lines count; `never`: no Host or Match may make them count. */
struct place {
    const char *file;
    unsigned line;
    int depth;
    bool user_file, active, never;
};

static int read_file(struct parse *p, struct place *at, bool check);

static int bad(struct parse *p, const struct place *at, const char *what, const char *text)
{
    pt_err_set_kind(p->err, PT_ERR_USAGE, "%s line %u: %s%s%s%s", at->file, at->line, what, text ? " '" : "",
                    text ? text : "", text ? "'" : "");
    return pt_err_hint(p->err, "correct that line, or give another file with --ssh-config");
}

static int no_memory(struct parse *p)
{
    return pt_err_set(p->err, "no memory for the ssh configuration");
}

/* --- words --- */

int pt_strings_add(struct pt_strings *list, const char *text)
{
    char **items = realloc(list->items, (list->n + 1) * sizeof(*items));
    if (!items)
        return -1;
    list->items = items;
    if (!(items[list->n] = strdup(text)))
        return -1;
    list->n++;
    return 0;
}

void pt_strings_fini(struct pt_strings *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct pt_strings){0};
}

/* Copy one word to out and step over it; false on an open quote. */
static bool one_word(const char **line, char *out)
{
    const char *s = *line;
    char quote = 0;
    for (; *s; s++) {
        if (*s == '\\' && (s[1] == '\'' || s[1] == '"' || s[1] == '\\' || (!quote && s[1] == ' ')))
            *out++ = *++s;
        else if (!quote && (*s == ' ' || *s == '\t'))
            break;
        else if (!quote && (*s == '"' || *s == '\''))
            quote = *s;
        else if (quote && *s == quote)
            quote = 0;
        else
            *out++ = *s;
    }
    *out = '\0';
    *line = s;
    return !quote;
}

int pt_sshwords(const char *line, struct pt_strings *out)
{
    pt_auto_free char *word = malloc(strlen(line) + 1);
    if (!word)
        return -1;
    for (;;) {
        line += strspn(line, " \t");
        if (!*line || *line == '#')
            return 0;
        if (!one_word(&line, word) || out->n >= MAX_WORDS || pt_strings_add(out, word) < 0)
            return -1;
    }
}

/* --- Host and Match --- */

static bool host_line(const struct parse *p, const struct pt_strings *words)
{
    const char *host = p->final ? p->conf->hostname : p->query->host;
    bool active = false;
    for (size_t i = 0; i < words->n; i++) {
        const char *pattern = words->items[i];
        bool negated = *pattern == '!';
        if (!pt_pattern_match(host, pattern + negated, false))
            continue;
        if (negated)
            return false;
        active = true;
    }
    return active;
}

/* What `Match host` looks at: the name as far as it is known by now. */
static char *host_by_now(const struct parse *p)
{
    if (p->final || !p->conf->hostname)
        return strdup(p->final ? p->conf->hostname : p->query->host);
    return pt_sshexpand_host(p->conf->hostname, p->query->host, NULL);
}

/* 1 it does, 0 not, -1 unknown, -2 with err. */
static int match_one(struct parse *p, const char *what, const char *list)
{
    if (!strcmp(what, "host")) {
        errno = 0;
        pt_auto_free char *host = host_by_now(p);
        if (!host && errno == ENOMEM)
            return no_memory(p) - 1;
        return host && pt_pattern_list(host, list, true) == 1;
    }
    if (!strcmp(what, "originalhost"))
        return pt_pattern_list(p->query->host, list, true) == 1;
    if (!strcmp(what, "user"))
        return pt_pattern_list(p->conf->user ? p->conf->user : p->self->login, list, false) == 1;
    if (!strcmp(what, "localuser"))
        return pt_pattern_list(p->self->login, list, false) == 1;
    return -1;
}

/* 1 the block counts, 0 not, -1 with err. */
static int match_line(struct parse *p, const struct place *at, const struct pt_strings *words)
{
    bool active = true, all = false;
    if (words->n == 0)
        return bad(p, at, "Match without a condition", NULL);
    for (size_t i = 0; i < words->n; i++) {
        const char *word = words->items[i];
        bool negated = *word == '!', ok = true;
        word += negated;
        if (!strcasecmp(word, "all")) {
            all = true;
        } else if (!strcasecmp(word, "final") || !strcasecmp(word, "canonical")) {
            p->final_wanted |= !strcasecmp(word, "final");
            ok = p->final && !strcasecmp(word, "final");
        } else {
            char key[32];
            size_t n = strcspn(word, "=");
            snprintf(key, sizeof(key), "%.*s", (int)n, word);
            for (char *c = key; *c; c++)
                *c = (char)tolower((unsigned char)*c);
            const char *value = word[n] ? word + n + 1 : i + 1 < words->n ? words->items[++i] : NULL;
            if (!value)
                return bad(p, at, "Match lacks a pattern after", word);
            int got = !strcmp(key, "exec") ? 0 : match_one(p, key, value);
            if (got < -1)
                return -1;
            if (got < 0) /* a condition of a newer ssh: as safe as not matching */
                return 0;
            if (!strcmp(key, "exec"))
                negated = false;
            ok = got;
        }
        active &= ok != negated;
    }
    if (all && words->n > 2)
        return bad(p, at, "Match all cannot be combined", NULL);
    return active;
}

/* --- values --- */

static int seconds(const char *text)
{
    static const struct choice units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
    long sum = 0;
    if (!strcasecmp(text, "none"))
        return 0;
    do {
        char *end;
        long v = strtol(text, &end, 10), unit = 1;
        if (end == text || v < 0 || v > 10000000 || !isdigit((unsigned char)*text))
            return -1;
        for (size_t i = 0; *end && i < PT_COUNT(units); i++)
            if (tolower((unsigned char)*end) == units[i].name[0])
                unit = units[i].value;
        if (*end && !strchr("sSmMhHdDwW", *end))
            return -1;
        sum = sum + v * unit < MAX_TIME ? sum + v * unit : MAX_TIME;
        text = end + (*end != '\0');
    } while (*text);
    return (int)sum;
}

static int set_int(struct parse *p, const struct place *at, const struct row *row, const char *text)
{
    int *value = (int *)((char *)p->conf + row->at), got = -1;
    if (row->kind == CHOICE) {
        for (const struct choice *c = row->choices; c->name && got < 0; c++)
            if (!strcasecmp(text, c->name))
                got = c->value;
    } else if (row->kind == SECONDS) {
        got = seconds(text);
    } else {
        char *end;
        long v = strtol(text, &end, 10);
        got = *text && !*end && v > 0 && v <= row->max ? (int)v : -1;
    }
    if (got < 0) {
        char what[64];
        snprintf(what, sizeof(what), "%s cannot be", row->name);
        return bad(p, at, what, text);
    }
    if (at->active && *value == UNSET)
        *value = got;
    return 0;
}

static int set_text(struct parse *p, const struct place *at, const struct row *row, const char *text)
{
    char **value = (char **)((char *)p->conf + row->at);
    /* whichever of the two comes first switches the other off */
    bool other =
        (row->kind == COMMAND && p->conf->proxy_jump) || (row->kind == JUMP && p->conf->proxy_command);
    if (!at->active || *value || other)
        return 0;
    return (*value = strdup(text)) ? 0 : no_memory(p);
}

static int set_list(struct parse *p, const struct place *at, const struct row *row,
                    const struct pt_strings *words)
{
    struct pt_strings *list = (struct pt_strings *)((char *)p->conf + row->at);
    if (!at->active || (row->kind == LIST && list->n))
        return 0;
    for (size_t i = 0; i < (row->kind == LIST ? words->n : 1); i++) {
        bool known = false;
        for (size_t k = 0; row->kind == ADD && k < list->n; k++)
            known |= !strcmp(list->items[k], words->items[i]);
        if (!known && list->n < 100 && pt_strings_add(list, words->items[i]) < 0)
            return no_memory(p);
    }
    return 0;
}

/* --- lines and files --- */

static int include(struct parse *p, const struct place *at, const struct pt_strings *words)
{
    if (at->depth >= MAX_DEPTH)
        return bad(p, at, "Include goes too deep", NULL);
    for (size_t i = 0; i < words->n; i++) {
        char dir[PATH_MAX];
        snprintf(dir, sizeof(dir), "%s/.ssh", p->self->home);
        pt_auto_free char *path =
            pt_sshpath(words->items[i], p->self->home, at->user_file ? dir : "/etc/ssh");
        if (!path)
            return no_memory(p);
        glob_t found;
        int rc = glob(path, 0, NULL, &found);
        if (rc == GLOB_NOSPACE)
            return no_memory(p);
        if (rc != 0)
            continue;
        for (size_t k = 0; k < found.gl_pathc && rc == 0; k++) {
            struct place in = {.file = found.gl_pathv[k],
                               .depth = at->depth + 1,
                               .user_file = at->user_file,
                               .active = at->active,
                               .never = at->never || !at->active};
            rc = read_file(p, &in, false);
        }
        globfree(&found);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static const struct row *find_row(const char *name, size_t n)
{
    for (size_t i = 0; i < PT_COUNT(rows); i++)
        if (strlen(rows[i].name) == n && !strncasecmp(rows[i].name, name, n))
            return &rows[i];
    return NULL;
}

static int apply(struct parse *p, struct place *at, const struct row *row, const char *rest,
                 const struct pt_strings *words)
{
    int got;
    switch (row->kind) {
    case HOST:
        at->active = !at->never && host_line(p, words);
        return 0;
    case MATCH:
        if ((got = match_line(p, at, words)) < 0)
            return -1;
        at->active = !at->never && got;
        return 0;
    case INCLUDE:
        return include(p, at, words);
    case JUMP:
    case COMMAND:
    case RAW:
        return set_text(p, at, row, rest);
    case WORD:
        return set_text(p, at, row, words->items[0]);
    case ADD:
    case LIST:
        return set_list(p, at, row, words);
    default:
        return set_int(p, at, row, words->items[0]);
    }
}

static int one_line(struct parse *p, struct place *at, char *line)
{
    for (size_t n = strlen(line); n && strchr(" \t\r\n\f", line[n - 1]); n--)
        line[n - 1] = '\0';
    line += strspn(line, " \t");
    if (!*line || *line == '#')
        return 0;
    size_t n = strcspn(line, " \t=");
    const struct row *row = find_row(line, n);
    if (!row)
        return 0;
    char *rest = line + n + strspn(line + n, " \t");
    if (*rest == '=')
        rest += 1 + strspn(rest + 1, " \t");
    if (!*rest)
        return bad(p, at, "no value after", row->name);
    struct pt_strings words = {0};
    errno = 0;
    int rc = pt_sshwords(rest, &words);
    if (rc < 0 && errno == ENOMEM)
        no_memory(p);
    else if (rc < 0)
        bad(p, at, "a quote is not closed", NULL);
    else if (words.n == 0 || (row->kind != HOST && !*words.items[0]))
        rc = bad(p, at, "no value after", row->name);
    else
        rc = apply(p, at, row, rest, &words);
    pt_strings_fini(&words);
    return rc;
}

/* A file that others can write is not the user's word. */
static int check_owner(struct parse *p, const struct place *at, FILE *f)
{
    struct stat st;
    if (fstat(fileno(f), &st) == 0 && (st.st_uid == 0 || st.st_uid == getuid()) && !(st.st_mode & 022))
        return 0;
    pt_err_set_kind(p->err, PT_ERR_USAGE, "%s belongs to or can be written by others", at->file);
    pt_auto_free char *file = pt_quoted(at->file, true);
    return pt_err_hint(p->err, "chmod 600 %s", file ? file : "FILE");
}

static int read_file(struct parse *p, struct place *at, bool check)
{
    FILE *f = fopen(at->file, "re");
    if (!f)
        return errno == ENOMEM ? no_memory(p) : 0;
    pt_auto_free char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int rc = check ? check_owner(p, at, f) : 0;
    errno = 0;
    while (rc == 0 && (n = getline(&line, &cap, f)) > 0) {
        at->line++;
        if (n > MAX_LINE || strlen(line) != (size_t)n)
            rc = bad(p, at, "the line is too long or holds a zero byte", NULL);
        else
            rc = one_line(p, at, line);
        errno = 0;
    }
    if (rc == 0 && !feof(f) && errno == ENOMEM)
        rc = no_memory(p);
    fclose(f);
    return rc;
}

static int read_all(struct parse *p)
{
    const char *given = p->query->file;
    char user_file[PATH_MAX];
    snprintf(user_file, sizeof(user_file), "%s/.ssh/config", p->self->home);
    struct place mine = {.file = given ? given : user_file, .user_file = true, .active = true};
    struct place theirs = {.file = "/etc/ssh/ssh_config", .active = true};
    if (given && !strcasecmp(given, "none"))
        return 0;
    if (given && access(given, R_OK) < 0) {
        pt_err_set_kind(p->err, PT_ERR_USAGE, "--ssh-config: %s: %s", given, strerror(errno));
        return -1;
    }
    if (read_file(p, &mine, !given) < 0)
        return -1;
    return given ? 0 : read_file(p, &theirs, false);
}

/* The host's name as ssh would take it now. */
static int settle_host(struct parse *p)
{
    struct pt_sshconfig *conf = p->conf;
    char *host;
    if (conf->hostname) {
        host = pt_sshexpand_host(conf->hostname, p->query->host, p->err);
    } else if ((host = strdup(p->query->host))) {
        for (char *c = host; *c; c++)
            *c = (char)tolower((unsigned char)*c);
    } else {
        no_memory(p);
    }
    if (!host)
        return -1;
    free(conf->hostname);
    conf->hostname = host;
    return 0;
}

int pt_sshconfig_read(const struct pt_sshquery *query, struct pt_sshconfig *out, struct pt_err *err)
{
    struct pt_sshself self = {0};
    *out = (struct pt_sshconfig){.port = query->port > 0 ? query->port : UNSET,
                                 .strict = UNSET,
                                 .family = UNSET,
                                 .connect_timeout = UNSET,
                                 .identities_only = UNSET,
                                 .batch_mode = UNSET,
                                 .hash_known_hosts = UNSET,
                                 .pubkey = UNSET,
                                 .password = UNSET,
                                 .kbdint = UNSET,
                                 .prompts = UNSET};
    struct parse p = {.conf = out, .query = query, .self = &self, .err = err};
    int rc = -1;
    if (pt_sshself_init(&self, err) < 0)
        goto done;
    if (query->user && !(out->user = strdup(query->user))) {
        no_memory(&p);
        goto done;
    }
    if (read_all(&p) < 0 || settle_host(&p) < 0)
        goto done;
    p.final = true;
    if (p.final_wanted && read_all(&p) < 0)
        goto done;
    rc = pt_sshconfig_resolve(out, query, &self, err);
done:
    pt_sshself_fini(&self);
    return rc;
}

void pt_sshconfig_fini(struct pt_sshconfig *conf)
{
    free(conf->hostname);
    free(conf->user);
    free(conf->host_key_alias);
    free(conf->proxy_jump);
    free(conf->proxy_command);
    free(conf->identity_agent);
    pt_strings_fini(&conf->identity_files);
    pt_strings_fini(&conf->certificate_files);
    pt_strings_fini(&conf->user_known_hosts);
    pt_strings_fini(&conf->global_known_hosts);
    *conf = (struct pt_sshconfig){0};
}
