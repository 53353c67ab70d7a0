/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/seccomp.h"

#include "common/err.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0
#endif

#define FOREIGN 0x40000000u /* x32 has the architecture of x86_64, and numbers from here on */
#define HEAD    6
#define DENY    (SECCOMP_RET_ERRNO | EPERM)
#define ALLOW   SECCOMP_RET_ALLOW

#ifndef SECCOMP_GET_ACTION_AVAIL
#define SECCOMP_GET_ACTION_AVAIL 2
#endif
#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1UL << 2)
#endif

bool pt_seccomp_is_there(void)
{
    unsigned action = SECCOMP_RET_ERRNO;
    return ARCHITECTURE && syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0u, &action) == 0;
}

static struct sock_filter load(size_t offset)
{
    return (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset);
}

/* The next one is left out unless it is as said. */
static struct sock_filter unless(unsigned short how, unsigned value, bool is)
{
    return (struct sock_filter)BPF_JUMP((unsigned short)(BPF_JMP | how | BPF_K), value, !is, is);
}

static struct sock_filter answer(unsigned what)
{
    return (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what);
}

int pt_seccomp_limit(const int *calls, size_t n, bool without, struct pt_err *err)
{
    struct sock_filter f[HEAD + 2 * PT_SECCOMP_CALLS + 1] = {
        load(offsetof(struct seccomp_data, arch)), unless(BPF_JEQ, ARCHITECTURE, false), answer(DENY),
        load(offsetof(struct seccomp_data, nr)),   unless(BPF_JGE, FOREIGN, true),       answer(DENY)};
    size_t at = HEAD;
    if (n > PT_SECCOMP_CALLS)
        return pt_err_set(err, "seccomp: %zu calls", n);
    for (size_t i = 0; i < n; i++) {
        f[at++] = unless(BPF_JEQ, (unsigned)calls[i], true);
        f[at++] = answer(without ? DENY : ALLOW);
    }
    f[at++] = answer(without ? ALLOW : DENY);
    struct sock_fprog program = {.len = (unsigned short)at, .filter = f};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return pt_err_set(err, "no_new_privs: %s", strerror(errno));
    /* Older kernels slow such a process down unless told not to, and oldest ones do not know how to be told.
     */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) == 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0ul, &program) == 0)
        return 0;
    return pt_err_set(err, "seccomp: %s", strerror(errno));
}
