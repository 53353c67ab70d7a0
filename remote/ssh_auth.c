/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "common/err.h"
#include "common/quote.h"
#include "common/wire.h"
#include "remote/knownhosts.h"
#include "remote/ssh_session.h"
#include "remote/sshagent.h"
#include "remote/sshcodec.h"
#include "remote/sshkeys.h"

#include <stdio.h>
#include <string.h>

#define MAX_STAGES  8  /* servers may want several ways one after the other */
#define MAX_ROUNDS  10 /* questions of one keyboard-interactive try */
#define MAX_PROMPTS 16

/* One log-in under way. */
struct auth {
    struct pt_ssh *s;
    struct pt_sshkeys keys;
    size_t next_key;
    bool agent_done, kbdint_done, password_done;
    unsigned offered;
    char locked[256]; /* a key the server would take, whose passphrase nobody gave */
    struct pt_err *err;
};

/* What libssh's calls need in a step. */
struct call {
    ssh_key key;
    const char *secret;
};

/* SSH_AUTH_*, or SSH_AUTH_ERROR with err set when the step itself failed. */
static int step(struct auth *a, pt_ssh_call *fn, struct call *call, int ms)
{
    int rc;
    if (pt_ssh_step(a->s, fn, call, SSH_AUTH_AGAIN, ms, "log in", &rc, a->err) < 0)
        return SSH_AUTH_ERROR;
    if (rc != SSH_AUTH_ERROR || a->err->msg[0])
        return rc;
    if (ssh_is_connected(a->s->session))
        return SSH_AUTH_DENIED; /* a key that cannot be used, an agent that would not sign */
    const char *text = ssh_get_error(a->s->session);
    if (strstr(text, "Too many authentication failures") && a->s->asker.asked) {
        pt_err_set_kind(a->err, PT_ERR_INFRA, "permission denied for %s: too many wrong answers",
                        a->s->conf.user);
    } else if (strstr(text, "Too many authentication failures")) {
        pt_err_set_kind(a->err, PT_ERR_INFRA, "too many keys were refused for %s, the server hung up",
                        a->s->conf.user);
        pt_err_hint(a->err, "name the right key with IdentityFile and set IdentitiesOnly yes for this host");
    } else {
        pt_err_set_kind(a->err, PT_ERR_INFRA, "log in: %s", pt_ssh_reason(a->s));
    }
    return SSH_AUTH_ERROR;
}

static int call_none(struct pt_ssh *s, void *arg)
{
    (void)arg;
    return ssh_userauth_none(s->session, NULL);
}

static int call_agent(struct pt_ssh *s, void *arg)
{
    (void)arg;
    return ssh_userauth_agent(s->session, NULL);
}

static int call_query(struct pt_ssh *s, void *arg)
{
    return ssh_userauth_try_publickey(s->session, NULL, ((struct call *)arg)->key);
}

static int call_key(struct pt_ssh *s, void *arg)
{
    return ssh_userauth_publickey(s->session, NULL, ((struct call *)arg)->key);
}

static int call_password(struct pt_ssh *s, void *arg)
{
    return ssh_userauth_password(s->session, NULL, ((struct call *)arg)->secret);
}

static int call_kbdint(struct pt_ssh *s, void *arg)
{
    (void)arg;
    return ssh_userauth_kbdint(s->session, NULL, NULL);
}

/* --- keys --- */

static int offer_agent(struct auth *a)
{
    int fd = pt_agent_connect(a->s->conf.identity_agent), mine = -1;
    a->agent_done = true;
    struct pt_standin *standin =
        fd >= 0 ? pt_agent_standin(fd, &a->keys, a->s->options->cancel, &mine) : NULL;
    if (!standin)
        return SSH_AUTH_DENIED;
    int rc = SSH_AUTH_DENIED;
    if (ssh_set_agent_socket(a->s->session, mine) == SSH_OK)
        rc = step(a, call_agent, NULL, a->s->options->step_ms * 2);
    else
        close(mine);
    pt_agent_standin_stop(standin);
    return rc;
}

static ssh_key public_of(const struct pt_sshkey *k)
{
    char type[64];
    ssh_key key = NULL;
    pt_auto_free char *text = malloc(k->offer.n / 3 * 4 + 8);
    if (!text || !pt_key_type(k->offer.data, k->offer.n, type, sizeof(type)))
        return NULL;
    pt_base64_encode(k->offer.data, k->offer.n, text);
    enum ssh_keytypes_e kind = ssh_key_type_from_name(type);
    int rc = k->cert ? ssh_pki_import_cert_base64(text, kind, &key)
                     : ssh_pki_import_pubkey_base64(text, kind, &key);
    return rc == SSH_OK ? key : NULL;
}

struct unlock {
    const char *text;
    ssh_key key;
};

static bool unlocks(void *arg, const char *secret)
{
    struct unlock *u = arg;
    ssh_key_free(u->key);
    u->key = NULL;
    return ssh_pki_import_privkey_base64(u->text, secret, NULL, NULL, &u->key) == SSH_OK;
}

/* The private key, decrypted if need be; NULL when it cannot be had. */
static ssh_key private_of(struct auth *a, const struct pt_sshkey *k)
{
    struct pt_keytext text;
    struct unlock u = {0};
    char answer[PT_SECRET_MAX], prompt[512];
    if (pt_keyfile_load(k->path, &text) == 0 && text.text) {
        u.text = text.text;
        if (!k->encrypted) {
            unlocks(&u, NULL);
        } else {
            snprintf(prompt, sizeof(prompt), "Enter passphrase for key '%s': ", k->path);
            if (pt_ask_once(&a->s->asker, k->path, prompt, a->s->conf.prompts, unlocks, &u, answer) < 0) {
                ssh_key_free(u.key);
                u.key = NULL;
                snprintf(a->locked, sizeof(a->locked), "%s", k->path);
            }
            explicit_bzero(answer, sizeof(answer));
        }
    }
    pt_keyfile_fini(&text);
    return u.key;
}

/* Let the certificate go with the key. */
static bool attach_cert(const struct pt_sshkey *k, ssh_key key)
{
    ssh_key cert = NULL;
    bool ok = ssh_pki_import_cert_file(k->cert, &cert) == SSH_OK &&
              ssh_pki_copy_cert_to_privkey(cert, key) == SSH_OK;
    ssh_key_free(cert);
    return ok;
}

static int offer_file(struct auth *a, const struct pt_sshkey *k)
{
    int rc = SSH_AUTH_DENIED, ms = a->s->options->step_ms;
    if (!k->path)
        return rc;
    if (k->encrypted && k->offer.n) { /* nobody is asked for a key that the server would not take */
        struct call query = {.key = public_of(k)};
        rc = query.key ? step(a, call_query, &query, ms) : SSH_AUTH_DENIED;
        ssh_key_free(query.key);
        if (rc != SSH_AUTH_SUCCESS)
            return rc;
    }
    struct call call = {.key = private_of(a, k)};
    rc = SSH_AUTH_DENIED;
    if (call.key && (!k->cert || attach_cert(k, call.key)))
        rc = step(a, call_key, &call, ms);
    ssh_key_free(call.key);
    return rc;
}

static unsigned methods(struct auth *a)
{
    unsigned list = (unsigned)ssh_userauth_list(a->s->session, NULL);
    a->offered |= list;
    return list;
}

/* Goes on where it stopped, so that a server which wants two keys gets another one. */
static int try_keys(struct auth *a)
{
    int rc = SSH_AUTH_DENIED;
    while (a->next_key < a->keys.n && rc == SSH_AUTH_DENIED) {
        const struct pt_sshkey *k = &a->keys.items[a->next_key++];
        if (!k->in_agent)
            rc = offer_file(a, k);
        else if (!a->agent_done)
            rc = offer_agent(a);
        unsigned list = methods(a);
        if (rc == SSH_AUTH_DENIED && list && !(list & SSH_AUTH_METHOD_PUBLICKEY))
            break;
    }
    return rc;
}

static int plan_keys(struct auth *a)
{
    const struct pt_sshconfig *conf = &a->s->conf;
    struct pt_limit limit;
    struct pt_agentkeys held = {0};
    if (!conf->pubkey)
        return 0;
    limit = pt_limit_after(a->s->options->step_ms, a->s->options->cancel);
    pt_auto_fd int fd = pt_agent_connect(conf->identity_agent);
    bool agent = fd >= 0 && pt_agent_list(fd, &limit, &held) == 0;
    int rc = pt_sshkeys_plan(conf, agent ? &held : NULL, &a->keys);
    pt_agentkeys_fini(&held);
    return rc < 0 ? pt_err_set(a->err, "no memory for the keys") : 0;
}

/* --- the person --- */

/* Text that came from the server goes to a terminal: nothing in it may steer that. */
static void clean_prompt(const struct pt_ssh *s, const char *text, char *out, size_t size)
{
    struct pt_buf b = {0};
    pt_quote_print(&b, text, strnlen(text, 300), 1);
    snprintf(out, size, "(%s@%s) %.*s", s->conf.user, s->name, (int)(b.bad ? 0 : b.len),
             b.len ? (const char *)b.data : "");
    pt_buf_fini(&b);
}

static int answer_round(struct auth *a)
{
    ssh_session h = a->s->session;
    char prompt[1024], answer[PT_SECRET_MAX];
    int n = ssh_userauth_kbdint_getnprompts(h), rc = n < 0 || n > MAX_PROMPTS ? -1 : 0;
    for (int i = 0; rc == 0 && i < n; i++) {
        char echo = 0;
        const char *text = ssh_userauth_kbdint_getprompt(h, (unsigned)i, &echo);
        clean_prompt(a->s, text ? text : "", prompt, sizeof(prompt));
        rc = pt_ask(&a->s->asker, prompt, echo != 0, answer);
        if (rc == 0 && ssh_userauth_kbdint_setanswer(h, (unsigned)i, answer) < 0)
            rc = -1;
        explicit_bzero(answer, sizeof(answer));
    }
    return rc;
}

static int try_kbdint(struct auth *a)
{
    int rc = SSH_AUTH_DENIED;
    bool asked = true; /* a server that refuses without a question will do so again */
    for (int i = 0; asked && i < a->s->conf.prompts && rc == SSH_AUTH_DENIED; i++) {
        rc = step(a, call_kbdint, NULL, a->s->options->step_ms);
        asked = rc == SSH_AUTH_INFO;
        for (int round = 0; rc == SSH_AUTH_INFO; round++) {
            if (round >= MAX_ROUNDS || answer_round(a) < 0) {
                a->kbdint_done = true;
                return SSH_AUTH_DENIED;
            }
            rc = step(a, call_kbdint, NULL, a->s->options->step_ms);
        }
        if (rc == SSH_AUTH_DENIED && !(methods(a) & SSH_AUTH_METHOD_INTERACTIVE))
            break;
    }
    a->kbdint_done = rc == SSH_AUTH_DENIED;
    return rc;
}

static int try_password(struct auth *a)
{
    const struct pt_sshconfig *conf = &a->s->conf;
    char name[256], prompt[600], answer[PT_SECRET_MAX];
    int rc = SSH_AUTH_DENIED;
    snprintf(name, sizeof(name), "password %.60s@%.120s:%d", conf->user, conf->hostname, conf->port);
    snprintf(prompt, sizeof(prompt), "%s@%s's password: ", conf->user, a->s->name);
    for (int i = 0; i <= conf->prompts && rc == SSH_AUTH_DENIED; i++) {
        if (i == 0 ? pt_secret_find(name, answer) < 0 : pt_ask(&a->s->asker, prompt, false, answer) < 0) {
            if (i == 0)
                continue;
            break;
        }
        struct call call = {.secret = answer};
        rc = step(a, call_password, &call, a->s->options->step_ms);
        if (rc == SSH_AUTH_SUCCESS || rc == SSH_AUTH_PARTIAL)
            pt_secret_keep(name, answer);
        if (rc == SSH_AUTH_DENIED && !(methods(a) & SSH_AUTH_METHOD_PASSWORD))
            break;
    }
    explicit_bzero(answer, sizeof(answer));
    a->password_done = rc == SSH_AUTH_DENIED;
    return rc;
}

/* --- the end --- */

static void method_names(unsigned list, char *out, size_t size)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{SSH_AUTH_METHOD_PUBLICKEY, "publickey"},
                 {SSH_AUTH_METHOD_INTERACTIVE, "keyboard-interactive"},
                 {SSH_AUTH_METHOD_PASSWORD, "password"},
                 {SSH_AUTH_METHOD_HOSTBASED, "hostbased"},
                 {SSH_AUTH_METHOD_GSSAPI_MIC, "gssapi-with-mic"}};
    *out = '\0';
    for (size_t i = 0; i < PT_COUNT(names); i++) {
        size_t used = strlen(out);
        if (list & names[i].bit)
            snprintf(out + used, size - used, "%s%s", used ? ", " : "", names[i].name);
    }
}

static int locked_hint(struct auth *a)
{
    pt_auto_free char *word = pt_quoted(a->locked, true);
    return pt_err_hint(a->err, "%s fits but needs its passphrase: ssh-add %s", a->locked,
                       word ? word : "KEY");
}

static int denied(struct auth *a)
{
    const struct pt_ssh *s = a->s;
    char ways[128];
    bool asks = a->offered & (SSH_AUTH_METHOD_PASSWORD | SSH_AUTH_METHOD_INTERACTIVE);
    bool could = asks && (s->conf.password || s->conf.kbdint) && !pt_can_ask(&s->asker);
    method_names(a->offered, ways, sizeof(ways));
    if (could && a->keys.n == 0 && !a->keys.skipped[0])
        pt_err_set_kind(a->err, PT_ERR_INFRA, "needs a password and there is no terminal");
    else
        pt_err_set_kind(a->err, PT_ERR_INFRA,
                        "permission denied for %s (%zu key%s tried; the server takes %s)%s", s->conf.user,
                        a->keys.n, a->keys.n == 1 ? "" : "s", ways[0] ? ways : "nothing known",
                        could ? "; there is no terminal to ask for a password" : "");
    if (a->locked[0])
        return locked_hint(a);
    if (a->keys.skipped[0])
        return pt_err_hint(a->err, "%s", a->keys.skipped);
    if (could && a->keys.n == 0)
        return pt_err_hint(a->err, "use a key or ssh-agent");
    pt_auto_free char *name = pt_quoted(s->name, true);
    return pt_err_hint(a->err, "check user and key: %s -v true; put a key there: ssh-copy-id %s", s->command,
                       name ? name : "HOST");
}

static int try_next(struct auth *a, int rc)
{
    const struct pt_sshconfig *conf = &a->s->conf;
    unsigned list = methods(a);
    if ((list & SSH_AUTH_METHOD_PUBLICKEY) && rc == SSH_AUTH_PARTIAL && a->next_key < a->keys.n)
        return try_keys(a);
    bool can = pt_can_ask(&a->s->asker);
    if ((list & SSH_AUTH_METHOD_INTERACTIVE) && conf->kbdint && can && !a->kbdint_done)
        return try_kbdint(a);
    if ((list & SSH_AUTH_METHOD_PASSWORD) && conf->password && can && !a->password_done)
        return try_password(a);
    return SSH_AUTH_ERROR;
}

int pt_ssh_auth(struct pt_ssh *s, struct pt_err *err)
{
    struct pt_err local = PT_ERR_INIT;
    struct auth a = {.s = s, .err = &local};
    int rc = SSH_AUTH_ERROR;
    if (plan_keys(&a) == 0)
        rc = try_keys(&a);
    if (rc == SSH_AUTH_DENIED && !methods(&a)) /* nothing was sent yet */
        rc = step(&a, call_none, NULL, s->options->step_ms);
    for (int i = 0; i < MAX_STAGES && (rc == SSH_AUTH_DENIED || rc == SSH_AUTH_PARTIAL); i++)
        rc = try_next(&a, rc);
    if (rc != SSH_AUTH_SUCCESS && !local.msg[0] && !(s->options->cancel && *s->options->cancel))
        denied(&a);
    else if (rc != SSH_AUTH_SUCCESS && !local.msg[0])
        pt_err_set_kind(&local, PT_ERR_INTERRUPTED, "given up on request");
    pt_sshkeys_fini(&a.keys);
    if (rc == SSH_AUTH_SUCCESS)
        return 0;
    if (err)
        *err = local;
    return -1;
}
