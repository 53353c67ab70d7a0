/* SPDX-License-Identifier: Apache-2.0 */
/* The parser's answers are compared with those of `ssh -G -F FILE` where it is installed. */
#include "common/err.h"
#include "remote/sshconfig.h"

#include <criterion/criterion.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[96];

static void init(void)
{
    strcpy(dir, "/tmp/pt-conf-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/config", dir);
}

static void fini(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(sshconfig, .init = init, .fini = fini, .timeout = 100);

static void put(const char *name, const char *text)
{
    char file[128];
    snprintf(file, sizeof(file), "%s/%s", dir, name);
    FILE *f = fopen(file, "w");
    fputs(text, f);
    fclose(f);
}

static int get(const char *host, const char *user, int port, struct pt_sshconfig *conf, struct pt_err *err)
{
    struct pt_sshquery query = {.file = path, .host = host, .user = user, .port = port};
    *err = PT_ERR_INIT;
    return pt_sshconfig_read(&query, conf, err);
}

static void read_as(const char *host, struct pt_sshconfig *conf)
{
    struct pt_err err;
    cr_assert_eq(get(host, NULL, 0, conf, &err), 0, "%s", err.msg);
}

/* --- as ssh -G says --- */

/* ~ and tokens as ssh -G leaves them are replaced here only as far as the tests below use them. */
static void tilde(const char *text, char *out, size_t size)
{
    const char *home = getpwuid(getuid())->pw_dir;
    if (*text == '~')
        snprintf(out, size, "%s%s", home, text + 1);
    else
        snprintf(out, size, "%s", text);
}

static bool has(const struct pt_strings *list, const char *text)
{
    char want[512];
    tilde(text, want, sizeof(want));
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->items[i], want))
            return true;
    return false;
}

static void join(const struct pt_strings *list, char *out, size_t size)
{
    *out = '\0';
    for (size_t i = 0; i < list->n; i++)
        snprintf(out + strlen(out), size - strlen(out), "%s%s", i ? " " : "", list->items[i]);
}

static void same_line(const struct pt_sshconfig *c, const char *key, const char *value, const char *host)
{
    static const char *const ways[] = {"ask", "true", "false", "accept-new"};
    static const char *const families[] = {"any", "inet", "inet6"};
    char text[1024], number[16];
    const char *mine = NULL;
    if (!strcmp(key, "hostname"))
        mine = c->hostname;
    else if (!strcmp(key, "user"))
        mine = c->user;
    else if (!strcmp(key, "port"))
        snprintf(number, sizeof(number), "%d", c->port), mine = number;
    else if (!strcmp(key, "identitiesonly"))
        mine = c->identities_only ? "yes" : "no";
    else if (!strcmp(key, "batchmode"))
        mine = c->batch_mode ? "yes" : "no";
    else if (!strcmp(key, "hashknownhosts"))
        mine = c->hash_known_hosts ? "yes" : "no";
    else if (!strcmp(key, "passwordauthentication"))
        mine = c->password ? "yes" : "no";
    else if (!strcmp(key, "kbdinteractiveauthentication"))
        mine = c->kbdint ? "yes" : "no";
    else if (!strcmp(key, "stricthostkeychecking"))
        mine = ways[c->strict];
    else if (!strcmp(key, "addressfamily"))
        mine = families[c->family];
    else if (!strcmp(key, "hostkeyalias"))
        mine = c->host_key_alias ? c->host_key_alias : "";
    else if (!strcmp(key, "proxyjump"))
        mine = c->proxy_jump ? c->proxy_jump : "";
    else if (!strcmp(key, "proxycommand"))
        mine = c->proxy_command ? c->proxy_command : "";
    else if (!strcmp(key, "connecttimeout"))
        snprintf(number, sizeof(number), "%d", c->connect_timeout),
            mine = c->connect_timeout ? number : "none";
    else if (!strcmp(key, "numberofpasswordprompts"))
        snprintf(number, sizeof(number), "%d", c->prompts), mine = number;
    else if (!strcmp(key, "userknownhostsfile"))
        join(&c->user_known_hosts, text, sizeof(text)), mine = text;
    else if (!strcmp(key, "globalknownhostsfile"))
        join(&c->global_known_hosts, text, sizeof(text)), mine = text;
    if (mine)
        cr_assert_str_eq(mine, value, "%s of %s: '%s', ssh says '%s'", key, host, mine, value);
    if (!strcmp(key, "certificatefile"))
        cr_assert(has(&c->certificate_files, value), "%s of %s", value, host);
    /* default keys of kinds that cannot be offered are left out */
    if (!strcmp(key, "identityfile") && !strstr(value, "xmss") && !strstr(value, "dsa") &&
        !strchr(value, '%'))
        cr_assert(has(&c->identity_files, value) || strstr(value, "ecdsa"), "%s of %s", value, host);
}

/* "user@host" as on ssh's command line. */
static void as_ssh(const char *to)
{
    char command[256], line[2048], copy[128];
    struct pt_sshconfig conf;
    struct pt_err err;
    if (access("/usr/bin/ssh", X_OK) < 0)
        cr_skip_test("no ssh");
    snprintf(copy, sizeof(copy), "%s", to);
    char *at = strchr(copy, '@');
    if (at)
        *at++ = '\0';
    snprintf(command, sizeof(command), "ssh -G -F %s '%s' 2>&1", path, to);
    FILE *f = popen(command, "r");
    int rc = get(at ? at : copy, at ? copy : NULL, 0, &conf, &err);
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        char *space = strchr(line, ' ');
        if (space && rc == 0) {
            *space = '\0';
            same_line(&conf, line, space + 1, to);
        }
    }
    int status = pclose(f);
    cr_assert_eq(status == 0, rc == 0, "%s: ssh ends with %d, we say: %s", to, status, err.msg);
    pt_sshconfig_fini(&conf);
}

Test(sshconfig, nothing)
{
    put("config", "");
    as_ssh("h1");
    as_ssh("MixedCase.Example.COM");
    as_ssh("me@h1");
}

Test(sshconfig, first_value_wins)
{
    put("config", "User first\nHost h1\n User second\n Port 2001\nHost *\n Port 2002\n HostName real-%h\n"
                  " ConnectTimeout 1m30s\n StrictHostKeyChecking accept-new\n");
    as_ssh("h1");
    as_ssh("h2");
    as_ssh("third@h1");
}

Test(sshconfig, patterns_and_negation)
{
    put("config", "Host *.example.com !bad.example.com h?\n Port 2001\nHost !h9 *\n User other\nHost "
                  "\"quoted name\" x\n"
                  " Port 2003\n");
    as_ssh("a.example.com");
    as_ssh("bad.example.com");
    as_ssh("A.EXAMPLE.COM");
    as_ssh("h1");
    as_ssh("h9");
    as_ssh("x");
}

Test(sshconfig, words_quotes_and_comments)
{
    put("config",
        "  # a comment\n\nPort=2001 # more\n User\t=\t\"the user\"\nUserKnownHostsFile ~/a \"/b c/d\" '/e'\n"
        "HostKeyAlias a\\\"b\nIDENTITYFILE /k1\nIdentityFile \"/k 2\" # last\nIdentityFile /k1\n"
        "HostName h.example.com   \t\n  ProxyJump   a,b@c:22  \n");
    as_ssh("h1");
}

Test(sshconfig, match)
{
    put("config",
        "Host alias\n HostName real.example.com\nMatch host real.example.com\n Port 2001\n"
        "Match originalhost alias user bob,eve\n HostKeyAlias bobs\nMatch user !bob,*\n HostKeyAlias others\n"
        "Match !host *.example.com\n User nobody\nMatch all\n ConnectTimeout 7\n"
        "Match localuser root,nobody\n BatchMode yes\n");
    as_ssh("alias");
    as_ssh("bob@alias");
    as_ssh("eve@alias");
    as_ssh("h1");
    as_ssh("bob@h1");
}

Test(sshconfig, match_final)
{
    put("config", "Host alias\n HostName real.example.com\nMatch final host real.example.com\n Port 2001\n"
                  "Match final all\n User late\nHost real.example.com\n HostKeyAlias second-pass\n");
    as_ssh("alias");
    as_ssh("h1");
}

Test(sshconfig, match_exec_is_never_run)
{
    struct pt_sshconfig conf;
    char text[256], ran[96];
    snprintf(ran, sizeof(ran), "%s/ran", dir);
    snprintf(text, sizeof(text),
             "Match exec \"touch %s\"\n Port 2001\nMatch !exec \"touch %s\"\n Port 2002\n", ran, ran);
    put("config", text);
    read_as("h1", &conf);
    cr_assert_eq(conf.port, 22);
    cr_assert_lt(access(ran, F_OK), 0);
    pt_sshconfig_fini(&conf);
}

Test(sshconfig, include)
{
    char text[512];
    put("a.conf", "Port 2001\nHost h2\n User two\n");
    put("b.conf", "Host *\n ConnectTimeout 9\n");
    snprintf(text, sizeof(text),
             "Host h1 h2\n Include %s/a.conf %s/none-*.conf\n HostKeyAlias after\nInclude %s/b*\n", dir, dir,
             dir);
    put("config", text);
    as_ssh("h1");
    as_ssh("h2");
    as_ssh("h3");
}

Test(sshconfig, include_of_itself)
{
    char text[256];
    struct pt_sshconfig conf;
    struct pt_err err;
    snprintf(text, sizeof(text), "Include %s\n", path);
    put("config", text);
    cr_assert_eq(get("h1", NULL, 0, &conf, &err), -1);
    cr_assert(strstr(err.msg, "too deep"));
    pt_sshconfig_fini(&conf);
}

Test(sshconfig, proxies)
{
    put("config",
        "Host a\n ProxyJump j1\n ProxyCommand nc x\nHost b\n ProxyCommand nc %h %p # not a comment\n"
        " ProxyJump j1\nHost c\n ProxyJump none\nHost *\n ProxyJump last\n");
    as_ssh("b");
    as_ssh("d");
    struct pt_sshconfig conf;
    read_as("a", &conf);
    cr_assert_str_eq(conf.proxy_jump, "j1");
    cr_assert_null(conf.proxy_command);
    pt_sshconfig_fini(&conf);
    read_as("c", &conf);
    cr_assert_null(conf.proxy_jump);
    pt_sshconfig_fini(&conf);
}

Test(sshconfig, choices)
{
    put("config",
        "Host a\n AddressFamily inet6\n BatchMode yes\n IdentitiesOnly yes\n HashKnownHosts yes\n"
        " PasswordAuthentication no\n ChallengeResponseAuthentication no\n NumberOfPasswordPrompts 1\n"
        " StrictHostKeyChecking off\n CertificateFile ~/c1\n CertificateFile /c2\n"
        "Host b\n StrictHostKeyChecking YES\n GlobalKnownHostsFile /g1 /g2\n ConnectTimeout none\n"
        " AddressFamily inet\n");
    as_ssh("a");
    as_ssh("b");
}

Test(sshconfig, errors)
{
    static const char *const bad[] = {"Port 0\n",
                                      "Port 65536\n",
                                      "Port x\n",
                                      "Port\n",
                                      "User \"a\n",
                                      "IdentitiesOnly maybe\n",
                                      "ConnectTimeout soon\n",
                                      "StrictHostKeyChecking perhaps\n",
                                      "HostName a%zb\n",
                                      "Match\n",
                                      "Match host\n",
                                      "Match all host x y\n",
                                      "AddressFamily ipx\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char text[256];
        struct pt_sshconfig conf;
        struct pt_err err;
        snprintf(text, sizeof(text), "\n%s", bad[i]);
        put("config", text);
        cr_assert_eq(get("h1", NULL, 0, &conf, &err), -1, "%s", bad[i]);
        cr_assert_eq(err.kind, PT_ERR_USAGE);
        cr_assert(strstr(err.msg, "line 2") || strstr(err.msg, "HostName"), "%s", err.msg);
        pt_sshconfig_fini(&conf);
        as_ssh("h1");
    }
}

Test(sshconfig, keywords_of_others_are_skipped)
{
    put("config", "ForwardAgent yes\nSendEnv LANG LC_*\nNewThing of some later ssh\nServerAliveInterval "
                  "5\nPort 2001\n");
    struct pt_sshconfig conf;
    read_as("h1", &conf);
    cr_assert_eq(conf.port, 2001);
    pt_sshconfig_fini(&conf);
}

Test(sshconfig, tokens)
{
    struct pt_sshconfig conf;
    struct pt_err err;
    const struct passwd *pw = getpwuid(getuid());
    char want[256];
    setenv("PT_TEST_DIR", "/envd", 1);
    put("config", "Host a*\n HostName %h.example.com\n User bob\n IdentityFile ~/k_%h_%p_%r_%n_%%\n"
                  " IdentityFile %d/%u_%i\n IdentityFile ${PT_TEST_DIR}/k\n UserKnownHostsFile ~/kh_%k none\n"
                  "Host b\n IdentityFile /x_%Z\nHost c\n IdentityFile ${PT_TEST_UNSET}/k\nHost d\n "
                  "IdentityFile none\n");
    read_as("a1", &conf);
    snprintf(want, sizeof(want), "%s/k_a1.example.com_22_bob_a1_%%", pw->pw_dir);
    cr_assert_str_eq(conf.identity_files.items[0], want);
    snprintf(want, sizeof(want), "%s/%s_%u", pw->pw_dir, pw->pw_name, (unsigned)getuid());
    cr_assert_str_eq(conf.identity_files.items[1], want);
    cr_assert_str_eq(conf.identity_files.items[2], "/envd/k");
    cr_assert_eq(conf.user_known_hosts.n, 1);
    pt_sshconfig_fini(&conf);
    cr_assert_eq(get("b", NULL, 0, &conf, &err), -1);
    pt_sshconfig_fini(&conf);
    cr_assert_eq(get("c", NULL, 0, &conf, &err), -1);
    pt_sshconfig_fini(&conf);
    read_as("d", &conf);
    cr_assert_eq(conf.identity_files.n, 0);
    pt_sshconfig_fini(&conf);
}

Test(sshconfig, file_that_is_not_there)
{
    struct pt_sshconfig conf;
    struct pt_err err;
    cr_assert_eq(get("h1", NULL, 0, &conf, &err), -1);
    cr_assert(strstr(err.msg, path));
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    pt_sshconfig_fini(&conf);
}

/* Any prefix of a file gives an answer or an error, never a crash. */
Test(sshconfig, every_prefix)
{
    const char text[] =
        "Host a* !ab\n  HostName \"%h.x\"\nMatch host a.x user !b,c\n IdentityFile ~/k\\ 1 '%d'\n"
        "Include /nonexistent/*\nConnectTimeout 1m2s\nProxyJump u@h:1,j2\nPort = 22\n";
    for (size_t n = 0; n < sizeof(text); n++) {
        char prefix[sizeof(text)];
        struct pt_sshconfig conf;
        struct pt_err err;
        snprintf(prefix, sizeof(prefix), "%.*s", (int)n, text);
        put("config", prefix);
        int rc = get("a", NULL, 0, &conf, &err);
        cr_assert(rc == 0 || err.msg[0]);
        pt_sshconfig_fini(&conf);
    }
}

Test(sshconfig, hops)
{
    struct pt_sshhop hop;
    cr_assert_eq(pt_sshhop_parse("u@h:2222,more", 8, &hop), 0);
    cr_assert_str_eq(hop.user, "u");
    cr_assert_str_eq(hop.host, "h");
    cr_assert_eq(hop.port, 2222);
    cr_assert_eq(pt_sshhop_parse("ssh://h/", 8, &hop), 0);
    cr_assert_str_eq(hop.host, "h");
    cr_assert_eq(hop.port, 0);
    cr_assert_null(hop.user);
    cr_assert_eq(pt_sshhop_parse("u@[::1]:22", 10, &hop), 0);
    cr_assert_str_eq(hop.host, "::1");
    static const char *const bad[] = {"",    "@h",  "u@",   "h:",     "h:0", "h:65536",
                                      "h:x", "::1", "[::1", "[::1]x", "a b", "u@:22"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_assert_eq(pt_sshhop_parse(bad[i], strlen(bad[i]), &hop), -1, "%s", bad[i]);
}
