/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails in turn in what reads text that a person wrote, and quotes it: hosts, the project,
 * ssh's files, words, JSON. */
#include "allocations.h"
#include "allocations_dir.h"

#include "common/err.h"
#include "common/quote.h"
#include "common/wire.h"
#include "hosts.h"
#include "json.h"
#include "lastfailed.h"
#include "project.h"
#include "remote/knownhosts.h"
#include "remote/sshconfig.h"
#include "remote/sshkeys.h"
#include "resume_options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the place of the one that unpacks what the program carries. */
char *pt_tools_python(const char *where, struct pt_err *err)
{
    (void)err;
    return strdup(where);
}

TestSuite(allocations_text, .init = make_dir, .fini = remove_dir, .timeout = 110);

/* --- hosts --- */

static bool list_hosts(void *arg)
{
    struct pt_hosts hosts = {0}, more = {0};
    struct pt_err err = PT_ERR_INIT;
    (void)arg;
    bool ok = allocations_told(pt_hosts_parse("u@h1:8+gpu,[::1]:+gpu+big,local:2", &hosts, &err), &err);
    size_t n = hosts.n;
    ok = ok && allocations_told(pt_hosts_parse_more("h1:2+big+new,x@h9", &hosts, &more, &err), &err);
    if (ok && !(ok = allocations_told(pt_hosts_append(&hosts, &more, &err), &err)))
        cr_assert(hosts.n == n && more.n == 2, "both stay");
    cr_assert(!ok || (hosts.n == 5 && hosts.nlabels == 3 && pt_hosts_label(&hosts, "new")));
    for (size_t i = 0; i < hosts.n; i++)
        cr_assert(hosts.items[i].name && hosts.items[i].host);
    pt_hosts_fini(&more);
    pt_hosts_fini(&hosts);
    return ok;
}

static bool file_of_hosts(void *arg)
{
    struct pt_hosts hosts = {0};
    struct pt_err err = PT_ERR_INIT;
    (void)arg;
    bool ok = allocations_told(pt_hosts_parse_file(at("hosts"), &hosts, &err), &err);
    cr_assert(!ok || hosts.n == 3, "%zu hosts, the file has 3", hosts.n);
    pt_hosts_fini(&hosts);
    return ok;
}

Test(allocations_text, hosts)
{
    ALLOCATIONS_CHECK("hosts", list_hosts, 20);
    put("hosts", "# ours\nu@h1 slots=4 labels=gpu,big\nh2 slots = 2\n\nh3 # last\n");
    ALLOCATIONS_CHECK("hosts (file)", file_of_hosts, 15);
}

/* --- the project --- */

static bool find_project(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    (void)arg;
    char *root = pt_project_find(NULL, &err);
    bool ok = root != NULL;
    cr_assert(root ? !strcmp(root, dir) : strstr(err.msg, "memory") != NULL, "'%s'", err.msg);
    ok = ok && allocations_told(pt_project_check(root, false, &err), &err);
    char *state = ok ? pt_project_state(root, "s") : NULL, *key = ok ? pt_project_key(root) : NULL;
    char *cwd = ok ? pt_project_cwd(root) : NULL, *here = NULL;
    if (ok && !(here = pt_project_state_here(NULL, NULL, &err)))
        cr_assert(strstr(err.msg, "memory"), "'%s'", err.msg);
    cr_assert(!cwd || !strcmp(cwd, "a/b"), "'%s'", cwd);
    ok = ok && state && key && cwd && here;
    free(root), free(state), free(key), free(cwd), free(here);
    return ok;
}

static bool find_record(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    (void)arg;
    char *state = pt_project_state_here(NULL, NULL, &err);
    cr_assert(state ? !strcmp(state, at(".ptremote")) : strstr(err.msg, "memory") != NULL, "'%s'", err.msg);
    free(state);
    return state != NULL;
}

static bool environment(void *arg)
{
    char one[] = "A=1", two[] = "TZ";
    char *items[] = {one, two};
    struct pt_words words = {.item = items, .n = 2};
    uint32_t n;
    (void)arg;
    struct pt_env *env = pt_project_env(&words, &n);
    bool ok = env && n >= 3 && env[n - 1].name && env[n - 1].value;
    if (env)
        pt_project_env_free(env, n);
    return ok;
}

static bool kept_words(void *arg)
{
    char name[] = "ptremote", word[] = "--json=\xff\"x";
    char *argv[] = {name, word, name, NULL};
    (void)arg;
    char *words = pt_resume_words(3, argv);
    bool ok = words != NULL;
    free(words);
    return ok;
}

Test(allocations_text, project)
{
    setenv("HOME", "/tmp", 1);
    setenv("TZ", "UTC", 1);
    cr_assert(mkdir(at("a"), 0700) == 0 && mkdir(at("a/b"), 0700) == 0 && chdir(at("a/b")) == 0);
    cr_assert(mkdir(at(".ptremote"), 0700) == 0);
    put(".ptremote/ledger.sqlite", "");
    ALLOCATIONS_CHECK("project (record)", find_record, 4);
    cr_assert_eq(mkdir(at(".git"), 0700), 0);
    ALLOCATIONS_CHECK("project", find_project, 12);
    ALLOCATIONS_CHECK("project (environment)", environment, 6);
    ALLOCATIONS_CHECK("resume_options (words)", kept_words, 1);
    cr_assert_eq(chdir("/"), 0);
}

/* --- ssh --- */

static const unsigned char key[] = "\0\0\0\013ssh-ed25519\0\0\0\040abcdefghijklmnopqrstuvwxyz012345";
#define KEY64 "AAAAC3NzaC1lZDI1NTE5AAAAIGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1"

static bool known_hosts(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    char path[128], types[64];
    char *items[] = {path};
    struct pt_strings files = {.items = items, .n = 1};
    struct pt_knownname name = {.host = "h1", .port = 2222, .hashed = true};
    struct pt_knownwhere where = {0};
    (void)arg;
    strcpy(path, at("known"));
    put("known", "h1 ssh-ed25519 " KEY64 "\n@revoked h7 ssh-ed25519 " KEY64 "\nh2");
    enum pt_known known =
        pt_knownhosts_check(&files, &(struct pt_knownname){.host = "h7"}, key, sizeof(key) - 1, &where);
    cr_assert(known == PT_KNOWN_REVOKED || (known == PT_KNOWN_UNREAD && where.why == ENOMEM), "%d %d", known,
              where.why);
    bool ok = known == PT_KNOWN_REVOKED;
    name.host = "h3";
    ok = ok && allocations_told(pt_knownhosts_add(path, &name, key, sizeof(key) - 1, &err), &err);
    if (!ok)
        cr_assert(holds("known", "h1 ssh-ed25519 " KEY64 "\n@revoked h7 ssh-ed25519 " KEY64 "\nh2"),
                  "half a line");
    if (ok) {
        known = pt_knownhosts_check(&files, &name, key, sizeof(key) - 1, &where);
        cr_assert(known == PT_KNOWN_OK || (known == PT_KNOWN_UNREAD && where.why == ENOMEM));
        ok = known == PT_KNOWN_OK;
    }
    bool stopped = allocations_stop();
    pt_knownhosts_types(&files, &(struct pt_knownname){.host = "h1"}, types, sizeof(types));
    cr_assert_str_eq(types, "ssh-ed25519");
    return ok && !stopped;
}

static bool ssh_config(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_sshconfig conf;
    struct pt_sshquery query = {.file = at("config"), .host = "h1", .user = "me"};
    (void)arg;
    bool ok = allocations_told(pt_sshconfig_read(&query, &conf, &err), &err);
    cr_assert(!ok || (conf.port == 77 && !strcmp(conf.hostname, "h1.x") && !strcmp(conf.proxy_jump, "j:22") &&
                      conf.identity_files.n == 2 && !strcmp(conf.identity_agent, "/run/a")));
    pt_sshconfig_fini(&conf);
    return ok;
}

static bool keys(void *arg)
{
    static struct pt_sshconfig conf;
    char first[128], second[128];
    char *files[] = {first, second};
    struct pt_blob held = {.data = (unsigned char *)(uintptr_t)key, .n = sizeof(key) - 1};
    struct pt_agentkeys agent = {.items = &held, .n = 1};
    struct pt_sshkeys out;
    (void)arg;
    strcpy(first, at("id"));
    strcpy(second, at("only_public"));
    conf.identity_files = (struct pt_strings){.items = files, .n = 2};
    bool ok = pt_sshkeys_plan(&conf, &agent, &out) == 0;
    cr_assert(!ok || (out.n == 2 && out.items[0].in_agent && out.items[1].path && out.items[1].offer.n),
              "%zu", out.n);
    pt_sshkeys_fini(&out);
    return ok;
}

Test(allocations_text, ssh)
{
    ALLOCATIONS_CHECK("knownhosts", known_hosts, 12);
    put("more", "IdentityFile ~/two\nIdentityAgent \"/run/a\"\n");
    char text[512];
    snprintf(text, sizeof(text),
             "Host other\nPort 1\nHost h?\nHostName %%h.x\nMatch host h1.x user me\nPort 77\nProxyJump j:22\n"
             "Include %s\nMatch final host h1.x\nIdentityFile /k/%%h\n",
             at("more*"));
    put("config", text);
    ALLOCATIONS_CHECK("sshconfig", ssh_config, 60);
    put("id",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAA\n"
        "AAtzc2gtZWQyNTUxOQAAACBBYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NQ==\n-----END OPENSSH PRIVATE "
        "KEY-----\n");
    put("only_public.pub", "ssh-ed25519 " KEY64 " me\n");
    ALLOCATIONS_CHECK("sshkeys", keys, 15);
}

/* --- words and quotes --- */

static bool quotes(void *arg)
{
    struct pt_buf b = {0};
    (void)arg;
    pt_quote_sh(&b, "it's");
    pt_quote_print(&b, "a\033[1m\xff", 6, 0);
    char *quoted = pt_quoted("a b", true), *bare = pt_quoted("ab", true);
    bool ok = !b.bad && quoted && bare;
    cr_assert(!quoted || !strcmp(quoted, "'a b'"));
    free(quoted), free(bare);
    pt_buf_fini(&b);
    return ok;
}

Test(allocations_text, words)
{
    ALLOCATIONS_CHECK("quote", quotes, 3);
}

/* --- JSON --- */

static bool json(void *arg)
{
    static const char text[] = "{\"a\":[1,2.5,true,null,\"\\u0000\\ud800x\"],\"b\":{\"c\":\"\\\"\"}}";
    struct pt_err err = PT_ERR_INIT;
    struct pt_json *doc = pt_json_parse(text, sizeof(text) - 1, &err);
    struct pt_buf b = {0};
    struct pt_json_out o;
    (void)arg;
    if (!doc) {
        cr_assert(strstr(err.msg, "out of memory") && errno == ENOMEM, "'%s'", err.msg);
        return false;
    }
    bool ok = pt_json_print(doc, &b) == 0;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    pt_json_put(&o, "doc", doc);
    pt_json_put_str(&o, "bytes", "\xff\n");
    pt_json_put_micros(&o, "n", 0.125);
    pt_json_close(&o);
    ok = pt_json_out_end(&o) == 0 && ok;
    pt_buf_fini(&o.buf);
    pt_buf_fini(&b);
    pt_json_destroy(doc);
    return ok;
}

static bool last_failed(void *arg)
{
    static const char before[] = "{\"old.py::t\": true}";
    struct pt_err err = PT_ERR_INIT;
    (void)arg;
    put("cache/v/cache/lastfailed", before);
    allocations_pause();
    struct pt_suite *suite = pt_suite_create(NULL);
    struct pt_verdict *verdict = pt_verdict_create(NULL);
    for (uint32_t i = 0; i < 3; i++) {
        char id[16];
        snprintf(id, sizeof(id), "a.py::t%u", i);
        pt_suite_add(suite, pt_suite_file(suite, "a.py"), id, 0);
        pt_verdict_set(verdict, pt_verdict_add_test(verdict), 1, i ? PT_OUTCOME_FAILED : PT_OUTCOME_PASSED,
                       NULL, 0);
    }
    allocations_resume();
    bool ok = allocations_told(pt_lastfailed_update(at("cache"), suite, verdict, &err), &err);
    cr_assert(holds("cache/v/cache/lastfailed",
                    ok ? "{\"old.py::t\":true,\"a.py::t1\":true,\"a.py::t2\":true}" : before));
    pt_verdict_destroy(verdict);
    pt_suite_destroy(suite);
    return ok;
}

Test(allocations_text, json)
{
    ALLOCATIONS_CHECK("json", json, 15);
    cr_assert(mkdir(at("cache"), 0700) == 0 && mkdir(at("cache/v"), 0700) == 0 &&
              mkdir(at("cache/v/cache"), 0700) == 0);
    ALLOCATIONS_CHECK("lastfailed", last_failed, 12);
}
