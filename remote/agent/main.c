/* SPDX-License-Identifier: Apache-2.0 */
/* ptremote-agent ROLE: `proxy CACHE` on the exec channel becomes proxy, keeper and agent; `check DIGEST`
 * tells whether this file came whole; `printenv FILE` ends --init; `rsh ADDRESS WORDS...` is what an
 * mpirun over several hosts has for ssh. */
#include "common/auto.h"
#include "common/err.h"
#include "remote/agent/init.h"
#include "remote/agent/proxy.h"
#include "remote/agent/rsh.h"
#include "remote/agent/title.h"
#include "sync/digest.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* 0 when this very file has the digest, and is on the disk. */
static int check(const char *wanted)
{
    unsigned char digest[PT_DIGEST];
    char hex[PT_DIGEST_HEX];
    struct pt_err err = PT_ERR_INIT;
    if (pt_digest_file(PT_DIGEST_SHA256, "/proc/self/exe", digest, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    pt_digest_hex(digest, hex);
    if (strcmp(hex, wanted) != 0) {
        fprintf(stderr, "digest is %s\n", hex);
        return 1;
    }
    pt_auto_fd int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0;
}

int main(int argc, char **argv)
{
    pt_title_init(argc, argv);
    if (argc == 3 && strcmp(argv[1], "check") == 0)
        return check(argv[2]);
    if (argc == 3 && strcmp(argv[1], "proxy") == 0 && argv[2][0] == '/') {
        pt_auto_free char *cache = strdup(argv[2]); /* the title takes the place of argv */
        return cache ? pt_proxy_run(cache) : 1;
    }
    if (argc == 3 && strcmp(argv[1], "printenv") == 0)
        return pt_init_print(argv[2]);
    if (argc >= 2 && strcmp(argv[1], "rsh") == 0)
        return pt_rsh_run(argc - 2, argv + 2);
    fprintf(stderr, "ptremote-agent " PTREMOTE_VERSION ": started by ptremote, of no use by itself\n");
    return 4;
}
