/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/quote.h"
#include "common/shortage.h"
#include "remote/knownhosts.h"
#include "remote/ssh_session.h"
#include "remote/sshcodec.h"

#include <ctype.h>
#include <fcntl.h>
#include <libssh/server.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define CIPHERS                                                                                              \
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,"     \
    "aes128-ctr"
#define HOST_KEYS                                                                                            \
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,"    \
    "sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256"
#define MAX_KNOCKS     8     /* connections tried when the server drops us before we log in */
#define SLOW_PERSON_MS 20000 /* a server may hang up while a person types that long: try again */
#define MAX_JUMPS      8

/* --- driving libssh --- */

const char *pt_ssh_reason(struct pt_ssh *s)
{
    const char *text = ssh_get_error(s->session);
    if (!*text || strstr(text, "Socket error: disconnected") || strstr(text, "Connection reset"))
        return "the server closed the connection";
    return text;
}

struct pollfd pt_ssh_pollfd(struct pt_ssh *s)
{
    int writing = ssh_get_poll_flags(s->session) & SSH_WRITE_PENDING;
    struct pollfd p = {.fd = ssh_get_fd(s->session), .events = (short)(writing ? POLLIN | POLLOUT : POLLIN)};
    if (s->tcp && p.fd >= 0)
        pt_dial_quickack(p.fd);
    return p;
}

int pt_ssh_pump(struct pt_ssh *s)
{
    return ssh_event_dopoll(s->event, 0) == SSH_ERROR || !ssh_is_connected(s->session) ? -1 : 0;
}

int pt_ssh_step(struct pt_ssh *s, pt_ssh_call *call, void *arg, int again, int ms, const char *what, int *rc,
                struct pt_err *err)
{
    struct pt_limit limit = pt_limit_after(ms, s->options->cancel);
    while ((*rc = call(s, arg)) == again) {
        int left = pt_limit_left(&limit);
        if (pt_limit_cancelled(&limit, err))
            return -1;
        if (!ssh_is_connected(s->session)) { /* libssh would have us wait for an answer for ever */
            *rc = SSH_ERROR;
            return 0;
        }
        if (left == 0) {
            pt_err_set_kind(err, PT_ERR_INFRA, "%s: timed out after %g s", what, ms / 1000.0);
            return pt_err_hint(err, "see that the host answers: %s true", s->command);
        }
        struct pollfd p = pt_ssh_pollfd(s);
        poll(&p, 1, left);
    }
    return 0;
}

/* --- the key exchange --- */

static int step_ms(const struct pt_ssh *s)
{
    return s->conf.connect_timeout ? s->conf.connect_timeout * 1000 : s->options->step_ms;
}

static void known_name(const struct pt_ssh *s, struct pt_knownname *out, char host[256])
{
    const char *name = s->conf.host_key_alias ? s->conf.host_key_alias : s->conf.hostname;
    size_t i = 0;
    for (; i < 255 && name[i]; i++)
        host[i] = (char)tolower((unsigned char)name[i]);
    host[i] = '\0';
    *out = (struct pt_knownname){
        .host = host, .port = s->conf.host_key_alias ? 0 : s->conf.port, .hashed = s->conf.hash_known_hosts};
}

static int all_known_files(const struct pt_sshconfig *conf, struct pt_strings *out)
{
    for (size_t i = 0; i < conf->user_known_hosts.n; i++)
        if (pt_strings_add(out, conf->user_known_hosts.items[i]) < 0)
            return -1;
    for (size_t i = 0; i < conf->global_known_hosts.n; i++)
        if (pt_strings_add(out, conf->global_known_hosts.items[i]) < 0)
            return -1;
    return 0;
}

/* Algorithms whose key is known come first, so that a server with several keys shows that one. */
static void order_host_keys(const char *known, char *out, size_t size)
{
    char all[] = HOST_KEYS, *save;
    const char *names[16];
    size_t n = 0;
    for (char *a = strtok_r(all, ",", &save); a && n < PT_COUNT(names); a = strtok_r(NULL, ",", &save))
        names[n++] = a;
    *out = '\0';
    for (int wanted = 1; wanted >= 0; wanted--)
        for (size_t i = 0; i < n; i++) {
            const char *type = strncmp(names[i], "rsa-", 4) ? names[i] : "ssh-rsa";
            size_t used = strlen(out);
            if ((pt_pattern_list(type, known, false) == 1) == wanted)
                snprintf(out + used, size - used, "%s%s", used ? "," : "", names[i]);
        }
}

/* What a server has no business to ask for (libssh would keep it all for a reader that never comes). */
static int refuse_request(ssh_session session, ssh_message message, void *arg)
{
    (void)session;
    (void)message;
    (void)arg;
    return 1;
}

static int set_options(struct pt_ssh *s, int fd, struct pt_err *err)
{
    const bool no = false;
    const long wait_s = step_ms(s) / 1000 + 1;
    const unsigned port = (unsigned)s->conf.port;
    const int quiet = SSH_LOG_NOLOG;
    char known[512], order[512], host[256];
    struct pt_knownname name;
    struct pt_strings files = {0};
    if (all_known_files(&s->conf, &files) < 0) {
        pt_strings_fini(&files);
        return pt_err_set(err, "no memory for a connection");
    }
    known_name(s, &name, host);
    pt_knownhosts_types(&files, &name, known, sizeof(known));
    pt_strings_fini(&files);
    order_host_keys(known, order, sizeof(order));
    ssh_session h = s->session;
    /* the name is only a label: the descriptor is given, the host key checked by us */
    if (ssh_options_set(h, SSH_OPTIONS_PROCESS_CONFIG, &no) < 0 ||
        ssh_options_set(h, SSH_OPTIONS_LOG_VERBOSITY, &quiet) < 0 ||
        ssh_options_set(h, SSH_OPTIONS_HOST, "host") < 0 || ssh_options_set(h, SSH_OPTIONS_PORT, &port) < 0 ||
        ssh_options_set(h, SSH_OPTIONS_USER, s->conf.user) < 0 ||
        ssh_options_set(h, SSH_OPTIONS_KNOWNHOSTS, "/dev/null") < 0 ||
        ssh_options_set(h, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") < 0 ||
        ssh_options_set(h, SSH_OPTIONS_TIMEOUT, &wait_s) < 0 ||
        ssh_options_set(h, SSH_OPTIONS_CIPHERS_C_S, CIPHERS) < 0 ||
        ssh_options_set(h, SSH_OPTIONS_CIPHERS_S_C, CIPHERS) < 0 ||
        ssh_options_set(h, SSH_OPTIONS_HOSTKEYS, order) < 0 || ssh_options_set(h, SSH_OPTIONS_FD, &fd) < 0)
        return pt_err_set(err, "libssh refuses an option: %s", ssh_get_error(h));
    ssh_set_blocking(h, 0);
    ssh_set_message_callback(h, refuse_request, NULL);
    return 0;
}

static int call_connect(struct pt_ssh *s, void *arg)
{
    int rc = ssh_connect(s->session), fd = ssh_get_fd(s->session);
    (void)arg;
    if (fd >= 0) /* libssh makes it blocking once it is connected */
        fcntl(fd, F_SETFL, O_NONBLOCK);
    return rc;
}

/* Takes over fd. *dropped: worth knocking again. */
static int handshake(struct pt_ssh *s, int fd, bool *dropped, struct pt_err *err)
{
    int rc;
    if (!(s->session = ssh_new()) || set_options(s, fd, err) < 0) {
        close(fd);
        return s->session ? -1 : pt_err_set(err, "no memory for a connection");
    }
    if (pt_ssh_step(s, call_connect, NULL, SSH_AGAIN, step_ms(s), "key exchange", &rc, err) < 0)
        return -1;
    if (rc == SSH_OK)
        return 0;
    const char *text = ssh_get_error(s->session);
    *dropped = !*text || strstr(text, "disconnected") || strstr(text, "reset") || strstr(text, "Broken pipe");
    pt_err_set_kind(err, PT_ERR_INFRA, "key exchange: %s", pt_ssh_reason(s));
    if (*dropped)
        return pt_err_hint(
            err, "too many connections at once (MaxStartups), or a firewall or fail2ban: try %s true",
            s->name);
    return pt_err_hint(err, "see that port %d is sshd's: %s -v true", s->conf.port, s->command);
}

/* --- the host key --- */

struct server_key {
    unsigned char *blob;
    size_t n;
    char type[64];
    char *print; /* SHA256:... */
};

static int get_server_key(struct pt_ssh *s, struct server_key *out, struct pt_err *err)
{
    ssh_key key = NULL;
    char *text = NULL;
    unsigned char *hash = NULL;
    size_t n;
    int rc = -1;
    if (ssh_get_server_publickey(s->session, &key) == SSH_OK &&
        ssh_pki_export_pubkey_base64(key, &text) == SSH_OK && (out->blob = malloc(strlen(text) + 4))) {
        long got = pt_base64_decode(text, strlen(text), out->blob);
        out->n = got > 0 ? (size_t)got : 0;
        rc = pt_key_type(out->blob, out->n, out->type, sizeof(out->type)) ? 0 : -1;
    }
    if (rc == 0 && ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &n) == SSH_OK) {
        out->print = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, n);
        ssh_clean_pubkey_hash(&hash);
    }
    ssh_string_free_char(text);
    ssh_key_free(key);
    return rc == 0 && out->print ? 0 : pt_err_set(err, "the server's host key cannot be read");
}

static void unknown_hint(const struct pt_ssh *s, const char *file, struct pt_err *err)
{
    pt_auto_free char *host = pt_quoted(s->conf.hostname, true);
    pt_auto_free char *word = *file == '~' ? strdup(file) : pt_quoted(file, true);
    if (!host || !word || s->jump || s->conf.host_key_alias)
        pt_err_hint(err,
                    "compare the fingerprint, then log in once with ssh, or run with --host-key accept-new");
    else
        pt_err_hint(
            err,
            "compare the fingerprint, then: ssh-keyscan -p %d %s >> %s; or run with --host-key accept-new",
            s->conf.port, host, word);
}

static int changed_hint(const char *file, const char *name, struct pt_err *err)
{
    pt_auto_free char *word = pt_quoted(file, true);
    pt_auto_free char *host = pt_quoted(name, false);
    return pt_err_hint(err, "somebody may listen in; if the change is known: ssh-keygen -f %s -R %s",
                       word ? word : "FILE", host ? host : "HOST");
}

static int refuse_key(const struct pt_ssh *s, enum pt_known known, const struct pt_knownwhere *where,
                      const struct server_key *key, const char *name, struct pt_err *err)
{
    const char *file = s->conf.user_known_hosts.n ? s->conf.user_known_hosts.items[0] : "~/.ssh/known_hosts";
    switch (known) {
    case PT_KNOWN_REVOKED:
        pt_err_set_kind(err, PT_ERR_INFRA, "host key of %s is revoked by %s line %u (%s %s)", name,
                        where->file, where->line, key->type, key->print);
        return pt_err_hint(err, "do not log in there: ask who runs the host");
    case PT_KNOWN_CHANGED:
    case PT_KNOWN_OTHER:
        pt_err_set_kind(err, PT_ERR_INFRA,
                        "host key of %s has changed: it shows %s %s, %s line %u has another", name, key->type,
                        key->print, where->file, where->line);
        return changed_hint(where->file, name, err);
    case PT_KNOWN_UNREAD:
        pt_err_set_kind(err, PT_ERR_INFRA, "host key of %s cannot be looked up: %s: %s", name, where->file,
                        strerror(where->why));
        return pt_shortage_hint(err);
    case PT_KNOWN_AUTHORITY:
        pt_err_set_kind(err, PT_ERR_INFRA,
                        "host key of %s is known only by the certificate authority of %s line %u, and "
                        "host certificates cannot be checked here (%s %s)",
                        name, where->file, where->line, key->type, key->print);
        unknown_hint(s, file, err);
        return -1;
    default:
        pt_err_set_kind(err, PT_ERR_INFRA, "host key of %s is not known (%s %s)", name, key->type,
                        key->print);
        unknown_hint(s, file, err);
        return -1;
    }
}

static int check_host_key(struct pt_ssh *s, struct pt_err *err)
{
    struct server_key key = {0};
    struct pt_strings files = {0};
    struct pt_knownname name;
    struct pt_knownwhere where = {0};
    char host[256], text[300];
    int rc = -1;
    known_name(s, &name, host);
    pt_knownname_text(&name, text, sizeof(text));
    if (get_server_key(s, &key, err) < 0)
        goto done;
    if (all_known_files(&s->conf, &files) < 0) {
        pt_err_set(err, "no memory for a connection");
        goto done;
    }
    bool accept = s->options->host_key == PT_HOST_KEY_ACCEPT_NEW && s->conf.strict != PT_STRICT_YES;
    enum pt_known known = pt_knownhosts_check(&files, &name, key.blob, key.n, &where);
    if (known == PT_KNOWN_OK)
        rc = 0;
    else if (known == PT_KNOWN_UNKNOWN && accept && s->conf.user_known_hosts.n)
        rc = pt_knownhosts_add(s->conf.user_known_hosts.items[0], &name, key.blob, key.n, err);
    else
        rc = refuse_key(s, known, &where, &key, text, err);
done:
    pt_strings_fini(&files);
    free(key.blob);
    ssh_string_free_char(key.print);
    return rc;
}

/* --- connecting --- */

static void drop_session(struct pt_ssh *s)
{
    if (s->event) {
        ssh_event_remove_session(s->event, s->session);
        ssh_event_free(s->event);
        s->event = NULL;
    }
    if (s->session)
        ssh_free(s->session); /* closes the descriptor too */
    s->session = NULL;
}

void pt_ssh_destroy(struct pt_ssh *s)
{
    if (!s)
        return;
    int saved = errno;
    drop_session(s);
    pt_jump_put(s->jump);
    pt_sshconfig_fini(&s->conf);
    free(s->name);
    free(s->command);
    free(s);
    errno = saved;
}

/* One try. *again: the server hung up at a point where another try makes sense. */
static int knock(struct pt_ssh *s, const char *gate_name, bool *again, struct pt_err *err)
{
    struct pt_limit limit = pt_limit_after(0, s->options->cancel);
    struct pt_gate *gate = pt_gate_enter(gate_name, &limit, err);
    if (!gate)
        return -1;
    limit = pt_limit_after(step_ms(s), s->options->cancel);
    int rc = -1, fd = s->jump ? pt_jump_dial(s->jump, s->conf.hostname, s->conf.port, &limit, err)
                              : pt_dial(s->conf.hostname, s->conf.port, s->conf.family, &limit, err);
    s->asker.asked = 0;
    s->asker.asked_ms = 0;
    if (fd >= 0 && handshake(s, fd, again, err) == 0 && check_host_key(s, err) == 0) {
        rc = pt_ssh_auth(s, err);
        *again = rc < 0 && !ssh_is_connected(s->session) && s->asker.asked_ms > SLOW_PERSON_MS;
    }
    pt_gate_leave(gate);
    if (rc == 0 && (!(s->event = ssh_event_new()) || ssh_event_add_session(s->event, s->session) != SSH_OK))
        return pt_err_set(err, "no memory for a connection");
    return rc;
}

static int knock_until_open(struct pt_ssh *s, struct pt_err *err)
{
    char gate[600];
    struct pt_limit limit = {.cancel = s->options->cancel};
    snprintf(gate, sizeof(gate), "%s:%d via %p", s->conf.hostname, s->conf.port, (void *)s->jump);
    for (int i = 1;; i++) {
        bool again = false;
        unsigned dice = 0;
        if (knock(s, gate, &again, err) == 0)
            return 0;
        drop_session(s);
        if (!again || i >= MAX_KNOCKS || pt_limit_cancelled(&limit, err))
            return -1;
        if (getrandom(&dice, sizeof(dice), GRND_NONBLOCK) < 0)
            dice = (unsigned)pt_now_ms();
        pt_limit_sleep(&limit, (100 << (i < 4 ? i - 1 : 3)) + (int)(dice % 200));
    }
}

/* A circle would make lanes wait for each other for ever, so it is looked for before the first connection. */
static int check_chain(const char *chain, const struct pt_transport_options *options, struct pt_err *err)
{
    pt_auto_free char *now = strdup(chain);
    for (int depth = 0; now; depth++) {
        struct pt_sshhop hop;
        struct pt_sshconfig conf;
        size_t n = strcspn(now, ",");
        if (pt_sshhop_parse(now, n, &hop) < 0)
            return pt_err_set_kind(err, PT_ERR_INFRA, "ProxyJump '%s' does not parse", now);
        struct pt_sshquery query = {
            .file = options->ssh_config, .host = hop.host, .user = hop.user, .port = hop.port};
        int rc = pt_sshconfig_read(&query, &conf, err);
        free(now);
        now = rc == 0 && conf.proxy_jump ? strdup(conf.proxy_jump) : NULL;
        pt_sshconfig_fini(&conf);
        if (rc < 0)
            return -1;
        if (depth >= MAX_JUMPS) {
            pt_err_set_kind(err, PT_ERR_INFRA, "ProxyJump goes in a circle at '%s'", hop.host);
            return pt_err_hint(err, "exempt the jump host: Host * !%s", hop.host);
        }
    }
    return 0;
}

static int prepare(struct pt_ssh *s, const struct pt_ssh_where *where, struct pt_err *err)
{
    struct pt_sshquery query = {
        .file = s->options->ssh_config, .host = where->host, .user = where->user, .port = where->port};
    if (pt_sshconfig_read(&query, &s->conf, err) < 0)
        return -1;
    pt_auto_free char *file = s->options->ssh_config ? pt_quoted(s->options->ssh_config, true) : NULL;
    pt_auto_free char *name = pt_quoted(where->name, true);
    if (!(s->name = strdup(where->name)) || !name || (s->options->ssh_config && !file) ||
        asprintf(&s->command, "ssh%s%s %s", file ? " -F " : "", file ? file : "", name) < 0)
        return pt_err_set(err, "no memory for a connection");
    if (s->conf.proxy_command) {
        pt_err_set_kind(err, PT_ERR_INFRA, "ProxyCommand is set for it, and not supported");
        return pt_err_hint(err, "use ProxyJump, or set ProxyCommand none for this host");
    }
    s->asker = (struct pt_asker){.options = s->options, .host = s->name, .batch = s->conf.batch_mode};
    const char *via = where->via ? where->via : s->conf.proxy_jump;
    s->tcp = !via;
    if (!via)
        return 0;
    if (!where->is_jump && check_chain(via, s->options, err) < 0)
        return -1;
    return (s->jump = pt_jump_get(via, s->options, err)) ? 0 : -1;
}

struct pt_ssh *pt_ssh_connect(const struct pt_ssh_where *where, const struct pt_transport_options *options,
                              struct pt_err *err)
{
    struct pt_ssh *s = calloc(1, sizeof(*s));
    if (!s) {
        pt_err_set(err, "no memory for a connection");
        return NULL;
    }
    s->options = options;
    if (prepare(s, where, err) == 0 && knock_until_open(s, err) == 0)
        return s;
    pt_ssh_destroy(s);
    return NULL;
}
