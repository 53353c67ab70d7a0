/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/least.h"

#include "common/auto.h"
#include "common/err.h"
#include "remote/agent/landlock.h"
#include "remote/agent/seccomp.h"

#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define BOOT "/proc/sys/kernel/random/boot_id" /* a tree's record says in which boot it was made */

/* Bytes, waiting, and the end, before which sanitizers ask for the stack of signals. */
static const int bytes[] = {
    SYS_read, SYS_write,      SYS_close,       SYS_ppoll, SYS_rt_sigreturn, SYS_restart_syscall,
    SYS_exit, SYS_exit_group, SYS_sigaltstack,
#ifdef SYS_poll
    SYS_poll,
#endif
#ifdef __SANITIZE_THREAD__ /* which has memory of its own */
    SYS_mmap, SYS_munmap,     SYS_madvise,     SYS_futex,
#endif
};

/* Programs, sockets of its own, the insides of others, and what only widens the kernel's surface. */
static const int power[] = {
    SYS_execve,
    SYS_execveat,
    SYS_socket,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_setns,
    SYS_unshare,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_add_key,
    SYS_keyctl,
    SYS_init_module,
    SYS_finit_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_open_by_handle_at,
    SYS_setuid,
    SYS_setgid,
#ifdef SYS_io_uring_setup
    SYS_io_uring_setup,
#endif
#ifdef SYS_userfaultfd
    SYS_userfaultfd,
#endif
};

/* What ends others; and devices, which no tree has. */
static const int ends[] = {
    SYS_kill,
    SYS_tkill,
    SYS_mknodat,
#ifdef SYS_pidfd_send_signal
    SYS_pidfd_send_signal,
#endif
#ifdef SYS_mknod
    SYS_mknod,
#endif
};

/* What any kernel has. */
static int give_up(struct pt_err *err)
{
    if (setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return pt_err_set(err, "no_new_privs: %m");
    return 0;
}

static int limit_calls(const int *calls, size_t n, bool without, struct pt_err *err)
{
    return pt_seccomp_is_there() ? pt_seccomp_limit(calls, n, without, err) : 0;
}

int pt_least_bytes(struct pt_err *err)
{
    if (give_up(err) < 0 || (pt_landlock_abi() > 0 && pt_landlock_limit(NULL, 0, NULL, err) < 0))
        return -1;
    return limit_calls(bytes, PT_COUNT(bytes), false, err);
}

int pt_least_files(const char *const *below, struct pt_err *err)
{
    size_t n = 0;
    while (below[n])
        n++;
    int wanted = n ? PT_LANDLOCK_MOVES : 1;
    if (give_up(err) < 0 ||
        (pt_landlock_abi() >= wanted && pt_landlock_limit(below, n, n ? BOOT : NULL, err) < 0))
        return -1;
    return limit_calls(ends, PT_COUNT(ends), true, err) < 0 ? -1
                                                            : limit_calls(power, PT_COUNT(power), true, err);
}

int pt_least_sweep(struct pt_err *err)
{
    return give_up(err) < 0 ? -1 : limit_calls(power, PT_COUNT(power), true, err);
}

bool pt_least_lacks(char line[200])
{
    bool landlock = pt_landlock_abi() >= PT_LANDLOCK_MOVES, seccomp = pt_seccomp_is_there();
    snprintf(line, 200, "this kernel has no %s: what passes bytes on, or unpacks, may do more than it needs",
             landlock  ? "seccomp"
             : seccomp ? "Landlock of Linux 5.19"
                       : "Landlock of Linux 5.19, and no seccomp");
    return !landlock || !seccomp;
}
