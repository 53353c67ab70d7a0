/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file: whose it is, then its lines. */
#include "common/err.h"
#include "fuzz.h"
#include "options.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    struct pt_options opts;
    char program[] = "ptremote", hosts[] = "--hosts=h", keep[] = "--keep=a";
    char *argv[6] = {program, hosts, keep};
    static const char *const more[4][2] = {{NULL, NULL},
                                           {"--sync-only", "--dry-run"},
                                           {"--detach", "--dry-run"},
                                           {"--sync-only", "--shared-fs=/x"}};
    char path[300];
    uint8_t how = fuzz_byte(&in);
    snprintf(path, sizeof(path), "%s", fuzz_file("ptremote.conf", in.p, in.left));
    int argc = how & 2 ? 3 : 1;
    argv[argc] = NULL; /* and behind two more, if they come */
    for (int i = 0; i < 2 && more[how >> 6][i]; i++)
        argv[argc++] = (char *)(uintptr_t)more[how >> 6][i];
    if (pt_options_parse(argc, argv, &opts, &err) < 0) {
        FUZZ_CHECK(fuzz_starved());
        pt_options_fini(&opts);
        return;
    }
    int rc = pt_options_load_config(&opts, how & 1 ? PT_OPTIONS_PROJECT : PT_OPTIONS_USER, path, &err);
    FUZZ_CHECK(rc == 0 || (err.msg[0] && !strchr(err.msg, '\n')));
    if (rc == 0 && (how & 2) && !fuzz_starved())
        FUZZ_CHECK(strcmp(opts.hosts, "h") == 0 && opts.keep.n > 0);
    if (rc == 0 && (how & 1))
        FUZZ_CHECK(!pt_options_given(&opts, "nonexistent"));
    setenv("HOME", how & 4 ? "/dev/null" : fuzz_folder(), 1);
    setenv("XDG_CONFIG_HOME", how & 8 ? fuzz_folder() : "relative", 1);
    setenv("PTREMOTE_HOSTS", how & 16 ? "other:3" : "", 1);
    if (rc == 0 && pt_options_complete(&opts, how & 32 ? fuzz_folder() : NULL, &err) == 0)
        FUZZ_CHECK((opts.hosts || opts.hostfile) && opts.grace_ms && opts.mpi_grace_ms && opts.heartbeat_ms);
    FUZZ_CHECK(pt_options_load_config(&opts, PT_OPTIONS_USER, fuzz_folder(), &err) < 0);
    pt_options_fini(&opts);
}
