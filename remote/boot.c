/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/boot.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/shortage.h"

#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 8192u
#define PUSHES_MAX     4 /* one for each place that is tried, and none for ever */

#define MARK_BOOT  "PTREMOTE-BOOT "
#define MARK_AGENT "PTREMOTE-AGENT "

/* No newline, quote, '!' or backslash in here, and no whole marker: a login shell may echo the text. */
static const char command[] =
    "exec /bin/sh -c '"
    "IFS= read -r d && IFS= read -r r && read -r n m || exit 1; "
    "p=PTREMOTE; k=; w=; "
    "{ IFS= read -r k </proc/sys/kernel/arch; } 2>/dev/null; " /* saves a process where it tells the same */
    "if [ \"$k\" = \"$m\" ] || { k=$(uname -m); [ \"$k\" = \"$m\" ]; }; then :; "
    "else echo \"$p-BOOT need $k\"; exit 1; fi; "
    "case $r in \"~\"/*) r=$HOME/${r#\"~\"/};; /*|\"\") ;; *) r=$PWD/$r;; esac; "
    "if [ -n \"$r\" ]; then set -- \"$r\"; else set --; "
    "case $XDG_CACHE_HOME in /*) set -- \"$XDG_CACHE_HOME/ptremote\";; esac; "
    "case $HOME in /*) set -- \"$@\" \"$HOME/.cache/ptremote\";; esac; "
    "set -- \"$@\" \"/var/tmp/ptremote-$(id -u)\"; fi; "
    /* the agent that is there */
    "for c in \"$@\"; do a=$c/bin/$d/ptremote-agent; "
    "if [ -s \"$a\" ] && [ -x \"$a\" ] && [ -O \"$c\" ] && [ -O \"$a\" ]; then exec \"$a\" proxy \"$c\"; fi; "
    "done; "
    /* else the first place that takes it */
    "u=$(umask); umask 077; "
    "for c in \"$@\"; do b=$c/bin/$d; a=$b/ptremote-agent; t=; "
    "if [ -e \"$c\" ] && [ -d \"$c\" ] || e=$(LC_ALL=C mkdir -p \"$c\" 2>&1); then "
    "if [ -O \"$c\" ]; then "
    "if e=$(LC_ALL=C mkdir -p \"$b\" 2>&1) && e=$(LC_ALL=C mktemp \"$b/new.XXXXXXXX\" 2>&1); then t=$e; "
    "if e=$( (echo exit 0 >\"$t\" && chmod 700 \"$t\") 2>&1) && [ -s \"$t\" ]; then "
    "if (\"$t\") >/dev/null 2>&1; then "
    "echo \"$p-BOOT need $k\"; : >\"$t\"; " /* what cannot be started writes nothing */
    "e=$( { head -c \"$n\" | { LC_ALL=C cat 2>&1 >\"$t\" || cat >/dev/null; }; } 2>&1); "
    "[ -s \"$t\" ] || e=\"${e:-nothing could be written there}\"; "
    "if [ -z \"$e\" ]; then "
    "if e=$(\"$t\" check \"$d\" 2>&1); then "
    /* one that came meanwhile stays: hosts that share this place may run it */
    "if ln \"$t\" \"$a\" 2>/dev/null || \"$a\" check \"$d\" 2>/dev/null; then "
    "rm -f \"$t\"; umask \"$u\"; exec \"$a\" proxy \"$c\"; fi; "
    "if e=$(LC_ALL=C mv -f \"$t\" \"$a\" 2>&1); then umask \"$u\"; exec \"$a\" proxy \"$c\"; fi; "
    "else e=\"the program came damaged or does not run: $e\"; fi; fi; "
    "else e=\"programs cannot be executed there (noexec)\"; fi; "
    "else e=\"cannot write there: ${e:-No space left on device}\"; fi; fi; "
    "else e=\"belongs to another user\"; fi; "
    "elif [ -e \"$c\" ]; then e=\"is not a folder\"; fi; "
    "if [ -n \"$t\" ]; then rm -f \"$t\"; fi; "
    "echo \"ptremote: $c: $e\" >&2; w=\"$w$c: $e; \"; done; "
    "e=$(echo \"$w\" | tr \"[:cntrl:]\" \" \"); w=${e:-$w}; "
    "echo \"$p-BOOT fail ${w%; *}\"; exit 1'";

struct pt_boot {
    struct pt_boot_agent agent;
    struct pt_buf in;
    size_t noise;
    int pushes;
};

const char *pt_boot_command(void)
{
    return command;
}

struct pt_boot *pt_boot_create(const struct pt_boot_agent *agent, const char *remote_dir, struct pt_buf *out,
                               struct pt_err *err)
{
    if (strpbrk(remote_dir, "\r\n")) {
        pt_err_set_kind(err, PT_ERR_USAGE, "--remote-dir: a folder's name with a line break does not work");
        return NULL;
    }
    struct pt_boot *boot = calloc(1, sizeof(*boot));
    char numbers[128];
    int n = snprintf(numbers, sizeof(numbers), "\n%zu %s\n", agent->size, agent->machine);
    pt_buf_append(out, agent->digest, strlen(agent->digest));
    pt_buf_append(out, "\n", 1);
    pt_buf_append(out, remote_dir, strlen(remote_dir));
    pt_buf_append(out, numbers, (size_t)n < sizeof(numbers) ? (size_t)n : 0);
    if (!boot || out->bad) {
        pt_err_set(err, "boot: out of memory");
        pt_boot_destroy(boot);
        return NULL;
    }
    boot->agent = *agent;
    return boot;
}

void pt_boot_destroy(struct pt_boot *boot)
{
    if (!boot)
        return;
    pt_buf_fini(&boot->in);
    free(boot);
}

bool pt_boot_pushed(const struct pt_boot *boot)
{
    return boot->pushes > 0;
}

static int on_need(struct pt_boot *boot, const char *machine, struct pt_buf *out, struct pt_err *err)
{
    if (strcmp(machine, boot->agent.machine) != 0) {
        pt_err_set_kind(err, PT_ERR_INFRA, "is %.64s, this ptremote carries programs for %s", machine,
                        boot->agent.machine);
        return pt_err_hint(err, "build ptremote on a %.64s machine and start it from there", machine);
    }
    if (boot->pushes >= PUSHES_MAX)
        return pt_err_set_kind(err, PT_ERR_INFRA, "asks for the agent again and again");
    boot->pushes++;
    pt_buf_append(out, boot->agent.data, boot->agent.size);
    return out->bad ? pt_err_set(err, "boot: out of memory") : 0;
}

static int on_fail(const char *reason, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_INFRA, "no place for our programs: %.900s", reason);
    if (strstr(reason, "No space left") || strstr(reason, "quota"))
        return pt_err_hint(err, "make room there, or name another folder with --remote-dir");
    const char *next = pt_shortage_next(reason);
    if (next)
        return pt_err_hint(err, "%s", next);
    if (strstr(reason, "noexec"))
        return pt_err_hint(err, "name a folder on a file system without noexec with --remote-dir");
    if (strstr(reason, "lets nobody name a folder")) /* deploy/forced-command.sh */
        return pt_err_hint(err, "leave out --remote-dir");
    return pt_err_hint(err, "name a folder of yours that can be written with --remote-dir");
}

static int on_agent(const char *version, struct pt_err *err)
{
    if (strcmp(version, "1") == 0)
        return 1;
    return pt_err_set_kind(err, PT_ERR_INFRA, "the agent there speaks version '%.32s', this ptremote 1",
                           version);
}

/* Where the first marker of either kind begins, or NULL. */
static const char *find_marker(const struct pt_buf *in)
{
    const char *data = (const char *)in->data;
    const char *boot = memmem(data, in->len, MARK_BOOT, strlen(MARK_BOOT));
    const char *agent = memmem(data, in->len, MARK_AGENT, strlen(MARK_AGENT));
    return !boot || (agent && agent < boot) ? agent : boot;
}

static int skip_noise(struct pt_boot *boot, size_t n, struct pt_err *err)
{
    boot->noise += n;
    pt_buf_consume(&boot->in, n);
    if (boot->noise <= PT_BOOT_NOISE)
        return 0;
    pt_err_set_kind(err, PT_ERR_INFRA, "the login shell printed more than %u KB and never ran our command",
                    PT_BOOT_NOISE >> 10);
    return pt_err_hint(err, "see what 'ssh HOST true' prints, and make its rc files quiet");
}

/* One line that starts with a marker; its text is cut in place. */
static int on_line(struct pt_boot *boot, char *line, struct pt_buf *out, struct pt_err *err)
{
    line[strcspn(line, "\r\n")] = '\0';
    if (strncmp(line, MARK_AGENT, strlen(MARK_AGENT)) == 0)
        return on_agent(line + strlen(MARK_AGENT), err);
    line += strlen(MARK_BOOT);
    if (strncmp(line, "need ", 5) == 0)
        return on_need(boot, line + 5, out, err);
    if (strncmp(line, "fail ", 5) == 0)
        return on_fail(line + 5, err);
    return pt_err_set_kind(err, PT_ERR_INFRA, "said '%.64s' and no word we know", line);
}

/* 1 when the agent speaks, 0 when more bytes are needed, -1; 2 when the next line may follow at once. */
static int step(struct pt_boot *boot, struct pt_buf *out, struct pt_err *err)
{
    const char *mark = boot->in.len ? find_marker(&boot->in) : NULL;
    size_t keep = strlen(MARK_AGENT) - 1;
    size_t noise = mark                  ? (size_t)(mark - (const char *)boot->in.data)
                   : boot->in.len > keep ? boot->in.len - keep
                                         : 0;
    if (skip_noise(boot, noise, err) < 0)
        return -1;
    if (!mark)
        return 0;
    char *line = (char *)boot->in.data;
    char *end = memchr(line, '\n', boot->in.len);
    if (!end)
        return boot->in.len < LINE_MAX_BYTES ? 0
                                             : pt_err_set_kind(err, PT_ERR_INFRA, "sent a line without end");
    *end = '\0';
    size_t used = (size_t)(end - line) + 1;
    int rc = on_line(boot, line, out, err);
    pt_buf_consume(&boot->in, used);
    return rc == 0 ? 2 : rc;
}

int pt_boot_feed(struct pt_boot *boot, const void *data, size_t n, struct pt_buf *out, struct pt_buf *rest,
                 struct pt_err *err)
{
    pt_buf_append(&boot->in, data, n);
    if (boot->in.bad)
        return pt_err_set(err, "boot: out of memory");
    int rc;
    do
        rc = step(boot, out, err);
    while (rc == 2);
    if (rc == 1) {
        pt_buf_append(rest, boot->in.data, boot->in.len);
        pt_buf_clear(&boot->in);
        if (rest->bad)
            return pt_err_set(err, "boot: out of memory");
    }
    return rc;
}
