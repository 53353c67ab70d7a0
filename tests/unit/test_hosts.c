/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "hosts.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct pt_hosts hosts;

static void fini(void)
{
    pt_hosts_fini(&hosts);
}

TestSuite(hosts, .fini = fini, .timeout = 100);

static void parses(const char *list)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_hosts_parse(list, &hosts, &err), 0, "%s: %s", list, err.msg);
}

static void is(size_t i, const char *name, const char *user, const char *host, unsigned slots, bool local)
{
    cr_assert_lt(i, hosts.n);
    const struct pt_host *h = &hosts.items[i];
    cr_assert_str_eq(h->name, name);
    cr_assert_str_eq(h->host, host);
    cr_assert(user ? h->user && !strcmp(h->user, user) : !h->user);
    cr_assert_eq(h->slots, slots);
    cr_assert_eq(h->local, local);
}

static void refused(const char *list, const char *quoted)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_hosts bad = {0};
    cr_assert_eq(pt_hosts_parse(list, &bad, &err), -1, "%s was taken", list);
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert(strstr(err.msg, quoted), "wanted %s in: %s", quoted, err.msg);
    pt_hosts_fini(&bad);
}

Test(hosts, all_forms)
{
    parses("h1:8,u@h2,u@h3.example.com:4096, local:2 ,[fe80::1%eth0]:3,me@[::1],x@y@h4");
    cr_assert_eq(hosts.n, 7);
    is(0, "h1", NULL, "h1", 8, false);
    is(1, "u@h2", "u", "h2", 0, false);
    is(2, "u@h3.example.com", "u", "h3.example.com", 4096, false);
    is(3, "local", NULL, "local", 2, true);
    is(4, "[fe80::1%eth0]", NULL, "fe80::1%eth0", 3, false);
    is(5, "me@[::1]", "me", "::1", 0, false);
    is(6, "x@y@h4", "x@y", "h4", 0, false);
}

Test(hosts, labels)
{
    parses("h1:8+gpu+big,h2:+gpu,h3:2,h+4");
    is(0, "h1", NULL, "h1", 8, false);
    is(1, "h2", NULL, "h2", 0, false);
    is(3, "h+4", NULL, "h+4", 0, false);
    uint64_t gpu = pt_hosts_label(&hosts, "gpu"), big = pt_hosts_label(&hosts, "big");
    cr_assert(gpu && big && gpu != big);
    cr_assert_eq(hosts.items[0].labels, gpu | big);
    cr_assert_eq(hosts.items[1].labels, gpu);
    cr_assert_eq(hosts.items[2].labels, 0);
    cr_assert_eq(pt_hosts_label(&hosts, "gp"), 0);
}

Test(hosts, more_of_them)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_hosts more = {0};
    parses("h1:8+gpu,u@h2");
    cr_assert_eq(pt_hosts_parse_more("h3:4+big+gpu,h1:2", &hosts, &more, &err), 0, "%s", err.msg);
    cr_assert_eq(hosts.n, 2);
    cr_assert_eq(pt_hosts_append(&hosts, &more, &err), 0, "%s", err.msg);
    cr_assert(more.n == 0 && more.nlabels == 0 && !more.items);
    cr_assert_eq(hosts.n, 4);
    is(0, "h1", NULL, "h1", 8, false);
    is(2, "h3", NULL, "h3", 4, false);
    is(3, "h1", NULL, "h1", 2, false);
    cr_assert_eq(hosts.nlabels, 2);
    cr_assert_eq(hosts.items[2].labels, hosts.items[0].labels | pt_hosts_label(&hosts, "big"));
    cr_assert_eq(pt_hosts_parse_more("h5,h5", &hosts, &more, &err), -1);
    pt_hosts_fini(&more);
    for (size_t i = hosts.n; i <= PT_HOSTS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%zu", i);
        cr_assert_eq(pt_hosts_parse(name, &more, &err), i - hosts.n < PT_HOSTS_MAX ? 0 : -1);
    }
    cr_assert_eq(pt_hosts_append(&hosts, &more, &err), -1);
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_eq(hosts.n, 4);
    cr_assert_eq(more.n, PT_HOSTS_MAX - 3);
    pt_hosts_fini(&more);
}

Test(hosts, too_many_labels)
{
    char list[1024] = "h1:1";
    for (int i = 0; i <= PT_LABELS_MAX; i++)
        sprintf(list + strlen(list), "+l%d", i);
    refused(list, "labels");
}

Test(hosts, local_of_another_user_goes_by_ssh)
{
    parses("u@local");
    is(0, "u@local", "u", "local", 0, false);
}

Test(hosts, bad_lists)
{
    refused("", "an entry is empty");
    refused("h1,,h2", "an entry is empty");
    refused("h1,", "an entry is empty");
    refused("h1:", "'h1:'");
    refused("h1:0", "'h1:0'");
    refused("h1:4097", "'h1:4097'");
    refused("h1:8x", "'h1:8x'");
    refused("h1:-1", "'h1:-1'");
    refused("h1:+1", "label cannot be used");
    refused("h1:8+", "label cannot be used");
    refused("h1:8+gpu+", "label cannot be used");
    refused("h1:8+$(x)", "label cannot be used");
    refused("h1:+", "label cannot be used");
    refused("h1: 8", "'h1: 8'");
    refused("h1:00000000000000000008", "slots must be");
    refused("@h1", "'@h1'");
    refused("u@", "'u@'");
    refused(":8", "':8'");
    refused("-oProxyCommand=x", "cannot be used");
    refused("-u@h", "user name");
    refused("h 1", "'h 1'");
    refused("h1;reboot", "'h1;reboot'");
    refused("$(x)@h1", "user name");
    refused("fe80::1", "needs brackets");
    refused("[fe80::1", "bracket");
    refused("[]", "name is missing");
    refused("[fe80::1]8", "slots must be");
    refused("h\n1", "cannot be used");
}

Test(hosts, twice)
{
    refused("h1,h2,h1:4", "'h1' is given twice");
    refused("u@h1,H1", "twice");
    refused("local,local:2", "'local' is given twice");
    parses("h1");
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_hosts_parse("h1", &hosts, &err), -1);
}

Test(hosts, every_prefix_parses_or_is_refused)
{
    const char text[] = "u@h1:8,[fe80::1]:2+gpu+b,local:3,v@[::2]:4096,h5:+c";
    for (size_t n = 0; n < sizeof(text); n++) {
        char prefix[sizeof(text)];
        struct pt_hosts some = {0};
        struct pt_err err = PT_ERR_INIT;
        snprintf(prefix, sizeof(prefix), "%.*s", (int)n, text);
        int rc = pt_hosts_parse(prefix, &some, &err);
        cr_assert(rc == 0 || (err.msg[0] && err.kind == PT_ERR_USAGE), "%s", prefix);
        pt_hosts_fini(&some);
    }
}

Test(hosts, too_long)
{
    char name[400];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    refused(name, "cannot be used");
}

static char path[] = "/tmp/pt-hosts-XXXXXX";

static const char *file(const char *text)
{
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    fputs(text, f);
    fclose(f);
    return path;
}

static void file_refused(const char *text, const char *want)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_hosts bad = {0};
    strcpy(path, "/tmp/pt-hosts-XXXXXX");
    cr_assert_eq(pt_hosts_parse_file(file(text), &bad, &err), -1, "%s", text);
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert(strstr(err.msg, want), "wanted %s in: %s", want, err.msg);
    pt_hosts_fini(&bad);
    unlink(path);
}

Test(hosts, file_of_open_mpi)
{
    struct pt_err err = PT_ERR_INIT;
    const char *text =
        "# two machines\n\nh1 slots=8\n  u@h2\tslots = 4 max_slots=16 labels=gpu,big  # the old one\r\nh3\n"
        "[::1] max_slots=2\nlocal slots=1";
    cr_assert_eq(pt_hosts_parse_file(file(text), &hosts, &err), 0, "%s", err.msg);
    unlink(path);
    cr_assert_eq(hosts.n, 5);
    is(0, "h1", NULL, "h1", 8, false);
    is(1, "u@h2", "u", "h2", 4, false);
    is(2, "h3", NULL, "h3", 0, false);
    is(3, "[::1]", NULL, "::1", 0, false);
    is(4, "local", NULL, "local", 1, true);
    cr_assert_eq(hosts.items[1].labels, pt_hosts_label(&hosts, "gpu") | pt_hosts_label(&hosts, "big"));
    cr_assert_eq(hosts.items[2].labels, 0);
}

Test(hosts, bad_files)
{
    file_refused("h1 slots=8\nh2 slots=x\n", "line 2");
    file_refused("h1 slots=0\n", "'slots=0'");
    file_refused("h1 slots\n", "'slots'");
    file_refused("h1:8\n", "slots=N");
    file_refused("h1 labels=\n", "label cannot");
    file_refused("= 3\n", "name is missing");
    file_refused("h1\nh1\n", "given twice");
    file_refused("# nothing\n", "names no host");
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_hosts_parse_file("/nonexistent/hosts", &hosts, &err), -1);
    cr_assert(strstr(err.msg, "/nonexistent/hosts"));
    cr_assert_eq(pt_hosts_parse_file("/tmp", &hosts, &err), -1);
}
