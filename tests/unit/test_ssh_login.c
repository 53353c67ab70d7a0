/* SPDX-License-Identifier: Apache-2.0 */
/* Every way into a real server, and every way to be kept out. */
#include "common/wire.h"
#include "remote/sshkeys.h"
#include "sshd_lab.h"

#include <sys/un.h>

TestSuite(login, .fini = lab_stop_all, .timeout = 100);

/* --- logging in --- */

Test(login, key)
{
    lab_start("");
    lab_works("h1");
}

Test(login, key_that_the_server_does_not_take)
{
    lab_start("");
    lab_keygen("other", "");
    lab_host("h2", &lab_servers[0], "other", " IdentitiesOnly yes\n");
    lab_fails("h2", "permission denied", "ssh-copy-id");
}

Test(login, key_file_open_to_others)
{
    lab_start("");
    chmod(lab_path("id"), 0644);
    lab_fails("h1", "permission denied", "chmod 600");
}

Test(login, rsa_and_ecdsa_keys)
{
    lab_start("");
    cr_assert_eq(
        lab_run("ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -f %s/rsa && ssh-keygen -q -t ecdsa -N '' -f "
                "%s/ec && cat %s/rsa.pub %s/ec.pub > %s/authorized_keys",
                lab_dir, lab_dir, lab_dir, lab_dir, lab_dir),
        0);
    lab_host("h2", &lab_servers[0], "rsa", "");
    lab_host("h3", &lab_servers[0], "ec", "");
    lab_works("h2");
    lab_works("h3");
}

Test(login, agent_key)
{
    lab_start("");
    lab_start_agent();
    cr_assert_eq(lab_run("ssh-add -q %s/id && rm %s/id %s/id.pub", lab_dir, lab_dir, lab_dir), 0);
    lab_works("h1");
}

static void fill_agent(int n)
{
    char name[16];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "extra%d", i);
        lab_keygen(name, "");
        cr_assert_eq(lab_run("ssh-add -q %s/%s", lab_dir, name), 0);
    }
}

Test(login, full_agent_without_identities_only_is_told)
{
    lab_start("MaxAuthTries 4\n");
    lab_start_agent();
    fill_agent(8);
    lab_keygen("other", "");
    lab_host("h2", &lab_servers[0], "other", "");
    lab_fails("h2", "too many keys", "IdentitiesOnly yes");
}

Test(login, full_agent_with_identities_only)
{
    lab_start("MaxAuthTries 2\n");
    lab_start_agent();
    fill_agent(8);
    cr_assert_eq(lab_run("ssh-add -q %s/id && rm %s/id", lab_dir, lab_dir), 0);
    lab_host("h2", &lab_servers[0], "id", " IdentitiesOnly yes\n");
    lab_works("h2"); /* by id.pub and the agent */
}

Test(login, agent_key_named_by_a_file_comes_first)
{
    lab_start("MaxAuthTries 2\n");
    lab_start_agent();
    fill_agent(8);
    cr_assert_eq(lab_run("ssh-add -q %s/id", lab_dir), 0);
    lab_works("h1");
}

Test(login, agent_that_does_not_answer_is_passed_over)
{
    lab_start("");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(
        lab_run("python3 -c \"import socket;s=socket.socket(socket.AF_UNIX);s.bind('%s/dead.sock')\"",
                lab_dir),
        0);
    setenv("SSH_AUTH_SOCK", lab_path("dead.sock"), 1);
    lab_works("h1");
    close(fd);
}

/* An agent that shows `id` and never signs: the user gives up while it is asked. */
static void *deaf_agent(void *arg)
{
    struct pt_keytext key;
    struct pt_buf b = {0};
    unsigned char request[4096];
    int listener = *(int *)arg, peer;
    cr_assert_eq(pt_keyfile_load(lab_path("id"), &key), 0);
    pt_put_u32(&b, 0);
    pt_put_u8(&b, 12);
    pt_put_u32(&b, 1);
    pt_put_bytes(&b, key.public.data, key.public.n);
    pt_put_str(&b, "");
    pt_set_u32(&b, 0, (uint32_t)b.len - 4);
    while ((peer = accept(listener, NULL, NULL)) >= 0)
        for (ssize_t n; (n = read(peer, request, sizeof(request))) > 0;) {
            if (n > 5)
                lab_cancel = 1; /* a request to sign */
            else if (send(peer, b.data, b.len, MSG_NOSIGNAL) < 0)
                break;
        }
    pt_buf_fini(&b);
    pt_keyfile_fini(&key);
    return NULL;
}

Test(login, giving_up_while_the_agent_waits_for_its_user)
{
    lab_start("");
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;
    struct pt_err err;
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", lab_path("deaf.sock"));
    cr_assert(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 4) == 0);
    setenv("SSH_AUTH_SOCK", at.sun_path, 1);
    cr_assert_eq(pthread_create(&thread, NULL, deaf_agent, &fd), 0);
    cr_assert_null(lab_open("h1", &err));
    cr_assert_eq(err.kind, PT_ERR_INTERRUPTED, "%s", err.msg);
    shutdown(fd, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(fd);
}

struct person {
    const char *answer;
    int asked;
    char prompt[256];
};

static int person_answers(void *arg, const char *host, const char *prompt, bool echo, char *answer,
                          size_t size)
{
    struct person *p = arg;
    (void)host;
    (void)echo;
    __atomic_add_fetch(&p->asked, 1, __ATOMIC_SEQ_CST);
    snprintf(p->prompt, sizeof(p->prompt), "%s", prompt);
    if (!p->answer)
        return -1;
    snprintf(answer, size, "%s", p->answer);
    return 0;
}

static struct person person;

static void encrypted_key(void)
{
    lab_start("PasswordAuthentication no\n");
    cr_assert_eq(
        lab_run("ssh-keygen -q -p -N 'open sesame' -f %s/id >/dev/null && rm %s/id.pub", lab_dir, lab_dir),
        0);
    lab_options.ask = person_answers;
    lab_options.arg = &person;
}

Test(login, encrypted_key_is_asked_for_once_by_all_lanes)
{
    encrypted_key();
    person.answer = "open sesame";
    cr_assert_eq(lab_lanes(4), 4);
    lab_works("h1");
    cr_assert_eq(person.asked, 1);
    cr_assert(strstr(person.prompt, "passphrase for key"));
}

Test(login, encrypted_key_and_a_person_who_gives_up)
{
    encrypted_key();
    lab_fails("h1", "permission denied", "ssh-add");
    lab_fails("h1", "permission denied", "ssh-add");
    cr_assert_eq(person.asked, 1);
}

Test(login, encrypted_key_and_a_wrong_passphrase)
{
    encrypted_key();
    person.answer = "open barley";
    lab_fails("h1", "permission denied", "ssh-add");
    cr_assert_eq(person.asked, 3);
}

Test(login, encrypted_key_without_a_terminal)
{
    encrypted_key();
    lab_options.ask = NULL;
    lab_fails("h1", "permission denied", "ssh-add");
}

Test(login, password_without_a_terminal)
{
    lab_start("PasswordAuthentication yes\n");
    lab_write("config", "Host h2\n IdentityFile none\n");
    lab_host("h2", &lab_servers[0], "missing", "");
    lab_fails("h2", "needs a password and there is no terminal", "use a key or ssh-agent");
}

/* A server that sees another password file: the password of root is "open sesame" there. */
static void password_server(const char *extra)
{
    if (getuid() != 0 || lab_run("unshare -m true 2>/dev/null") != 0)
        cr_skip_test("needs root to give a server another password file");
    lab_start("");
    char mount[256];
    lab_run("printf 'root:%%s:19000:0:99999:7:::\\n' \"$(openssl passwd -6 'open sesame')\" > %s/shadow",
            lab_dir);
    snprintf(mount, sizeof(mount), "mount --bind %s/shadow /etc/shadow &&", lab_dir);
    struct lab_sshd *s = lab_sshd("h2", extra, mount);
    lab_know(s, "h2");
    lab_write("config", "Host h2\n IdentityFile none\n");
    lab_host("h2", s, "missing", "");
    lab_options.ask = person_answers;
    lab_options.arg = &person;
}

Test(login, password)
{
    password_server("PasswordAuthentication yes\nPermitRootLogin yes\n");
    person.answer = "open sesame";
    lab_works("h2");
    lab_works("h2"); /* the second time it is remembered */
    cr_assert_eq(person.asked, 1);
    cr_assert(strstr(person.prompt, "'s password: "));
}

Test(login, wrong_password)
{
    password_server("PasswordAuthentication yes\nPermitRootLogin yes\n");
    person.answer = "open barley";
    lab_fails("h2", "permission denied", "ssh-copy-id");
    cr_assert_eq(person.asked, 3);
}

Test(login, two_ways_one_after_the_other)
{
    password_server(
        "PasswordAuthentication yes\nPermitRootLogin yes\nAuthenticationMethods publickey,password\n");
    lab_host("h3", &lab_servers[1], "id", "");
    person.answer = "open sesame";
    lab_works("h3");
    cr_assert_eq(person.asked, 1);
}

Test(login, keyboard_interactive)
{
    password_server("UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n");
    person.answer = "open sesame";
    lab_works("h2");
    cr_assert(strstr(person.prompt, "@h2) Password:"), "%s", person.prompt);
    person.answer = NULL;
    lab_fails("h2", "permission denied", "ssh-copy-id");
}

/* --- certificates --- */

static void sign(void)
{
    lab_start("");
    lab_keygen("ca", "");
    lab_keygen("signed", "");
    cr_assert_eq(lab_run("ssh-keygen -q -s %s/ca -I me -n %s %s/signed.pub && (printf 'cert-authority '; cat "
                         "%s/ca.pub) > %s/authorized_keys",
                         lab_dir, lab_user(), lab_dir, lab_dir, lab_dir),
                 0);
}

Test(login, certificate_beside_its_key)
{
    sign();
    lab_host("h2", &lab_servers[0], "signed", "");
    lab_works("h2");
}

Test(login, certificate_named_by_the_configuration)
{
    sign();
    char line[200];
    cr_assert_eq(lab_run("mv %s/signed-cert.pub %s/elsewhere.pub", lab_dir, lab_dir), 0);
    snprintf(line, sizeof(line), " CertificateFile %s/elsewhere.pub\n IdentitiesOnly yes\n", lab_dir);
    lab_host("h2", &lab_servers[0], "signed", line);
    lab_works("h2");
}

Test(login, certificate_for_a_key_in_the_agent)
{
    sign();
    lab_start_agent();
    char line[200];
    cr_assert_eq(lab_run("mv %s/signed-cert.pub %s/elsewhere.pub && ssh-add -q %s/signed && rm %s/signed",
                         lab_dir, lab_dir, lab_dir, lab_dir),
                 0);
    snprintf(line, sizeof(line), " CertificateFile %s/elsewhere.pub\n", lab_dir);
    lab_host("h2", &lab_servers[0], "signed", line);
    lab_works("h2");
}

Test(login, certificate_in_the_agent)
{
    sign();
    lab_start_agent();
    cr_assert_eq(lab_run("ssh-add -q %s/signed && rm %s/signed*", lab_dir, lab_dir), 0);
    lab_works("h1");
}

/* --- host keys --- */

Test(login, unknown_host_key)
{
    lab_start("");
    unlink(lab_path("known"));
    char want[64];
    snprintf(want, sizeof(want), "ssh-keyscan -p %d 127.0.0.1 >> ", lab_servers[0].port);
    lab_fails("h1", "is not known (ssh-ed25519 SHA256:", want);
}

Test(login, changed_host_key)
{
    lab_start("");
    lab_keygen("host_evil", "");
    unlink(lab_path("known"));
    lab_write("known", "# a comment\n");
    lab_know(&lab_servers[0], "evil");
    lab_fails("h1", "known line 2 has another", "ssh-keygen -f");
    lab_options.host_key = PT_HOST_KEY_ACCEPT_NEW;
    lab_fails("h1", "has changed", "-R '[127.0.0.1]:");
}

Test(login, revoked_host_key)
{
    lab_start("");
    lab_run("printf '@revoked * ' >> %s/known; cut -d' ' -f1,2 %s/host_h1.pub >> %s/known", lab_dir, lab_dir,
            lab_dir);
    lab_options.host_key = PT_HOST_KEY_ACCEPT_NEW;
    lab_fails("h1", "is revoked by", "do not log in");
}

Test(login, host_known_by_an_authority_only)
{
    lab_start("");
    unlink(lab_path("known"));
    lab_run("printf '@cert-authority * ' >> %s/known; cut -d' ' -f1,2 %s/host_h1.pub >> %s/known", lab_dir,
            lab_dir, lab_dir);
    lab_fails("h1", "certificate authority", "accept-new");
}

Test(login, accept_new_is_remembered)
{
    lab_start("");
    lab_write("config", "Host h2\n UserKnownHostsFile %s/sub/known\n HashKnownHosts yes\n", lab_dir);
    lab_host("h2", &lab_servers[0], "id", "");
    lab_options.host_key = PT_HOST_KEY_ACCEPT_NEW;
    lab_works("h2");
    struct stat st;
    cr_assert_eq(stat(lab_path("sub/known"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(stat(lab_path("sub"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0700);
    cr_assert_eq(
        lab_run("ssh-keygen -F '[127.0.0.1]:%d' -f %s/sub/known >/dev/null", lab_servers[0].port, lab_dir),
        0);
    lab_options.host_key = PT_HOST_KEY_STRICT;
    lab_works("h2");
}

Test(login, strict_in_the_configuration_wins_over_accept_new)
{
    lab_start("");
    unlink(lab_path("known"));
    lab_host("h2", &lab_servers[0], "id", " StrictHostKeyChecking yes\n");
    lab_options.host_key = PT_HOST_KEY_ACCEPT_NEW;
    lab_fails("h2", "is not known", "");
}

Test(login, the_known_type_is_asked_for)
{
    lab_start("");
    cr_assert_eq(lab_run("ssh-keygen -q -t ecdsa -N '' -f %s/host_ec", lab_dir), 0);
    char extra[128];
    snprintf(extra, sizeof(extra), "HostKey %s/host_ec\n", lab_dir);
    struct lab_sshd *s = lab_sshd("h2", extra, NULL);
    lab_know(s, "ec");
    lab_host("h2", s, "id", "");
    lab_works("h2");
}
