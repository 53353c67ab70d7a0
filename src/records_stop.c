/* SPDX-License-Identifier: Apache-2.0 */
/* `ptremote stop`: SIGINT to the process of a run that goes on, which is what Ctrl-C at its terminal does. */
#include "common/auto.h"
#include "common/err.h"
#include "records_inside.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

/* The process, held so that its number cannot become another's; -1 with errno. */
static int hold(const struct pt_record_run *run)
{
    pt_auto_fd int fd = (int)syscall(SYS_pidfd_open, run->pid, 0);
    if (fd >= 0 && pt_master_state(run->master, NULL) != PT_MASTER_HERE) {
        errno = ESRCH;
        return -1;
    }
    return pt_steal_fd(&fd);
}

static int signal_and_wait(const struct pt_record_run *run, struct pt_err *err)
{
    pt_auto_fd int fd = hold(run);
    if (fd < 0 || syscall(SYS_pidfd_send_signal, fd, SIGINT, NULL, 0) < 0)
        return errno == ESRCH ? 0
                              : pt_err_set_kind(err, PT_ERR_INFRA, "run %s (process %ld): %s", run->name,
                                                run->pid, strerror(errno));
    printf("run %s stops: its hosts clean up\n", run->name);
    fflush(stdout);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, -1) < 0)
        if (errno != EINTR)
            return pt_err_set(err, "waiting for run %s: %s", run->name, strerror(errno));
    return 0;
}

int pt_record_stop(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err)
{
    struct pt_record_run run;
    if (pt_record_choose_live(l, o, &run, err) < 0 || signal_and_wait(&run, err) < 0 ||
        pt_record_get(l, run.id, &run, err) < 0)
        return -1;
    if (run.state != PT_RECORDED_ENDED)
        return pt_record_lost(&run, err);
    printf("run %s has ended; ptremote --resume %s goes on with it\n", run.name, run.name);
    return 0;
}
