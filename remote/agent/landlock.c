/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/landlock.h"

#include "common/auto.h"
#include "common/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As the kernel has them on every architecture that has Landlock. */
#define CALL_CREATE   444
#define CALL_ADD_RULE 445
#define CALL_RESTRICT 446
#define ASK_ABI       1u
#define RULE_BENEATH  1

enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REMOVE_DIR = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_CHAR = 1 << 6,
    MAKE_DIR = 1 << 7,
    MAKE_REG = 1 << 8,
    MAKE_SOCK = 1 << 9,
    MAKE_FIFO = 1 << 10,
    MAKE_BLOCK = 1 << 11,
    MAKE_SYM = 1 << 12,
    REFER = 1 << 13,
    TRUNCATE = 1 << 14,
    IOCTL_DEV = 1 << 15,
};

#define FIRST      (EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | REMOVE_DIR | REMOVE_FILE | MAKE_CHAR | MAKE_DIR)
#define FIRST_MADE (MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_BLOCK | MAKE_SYM)
#define GRANTED                                                                                              \
    (WRITE_FILE | READ_FILE | READ_DIR | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER | \
     TRUNCATE)
#define ALL_OF_TWO 3u /* bind and connect; abstract sockets and signals */

struct ruleset {
    uint64_t files, net, scoped;
};

struct beneath {
    uint64_t granted;
    int32_t parent;
} __attribute__((packed));

int pt_landlock_abi(void)
{
    long abi = syscall(CALL_CREATE, NULL, (size_t)0, ASK_ABI);
    return abi > 0 ? (int)abi : 0;
}

/* What this kernel can forbid. What it does not know must not be asked of it. */
static struct ruleset all_of(int abi)
{
    struct ruleset r = {.files = FIRST | FIRST_MADE};
    r.files |= abi >= 2 ? REFER : 0;
    r.files |= abi >= 3 ? TRUNCATE : 0;
    r.files |= abi >= 5 ? IOCTL_DEV : 0;
    r.net = abi >= 4 ? ALL_OF_TWO : 0;
    r.scoped = abi >= 6 ? ALL_OF_TWO : 0;
    return r;
}

static int grant(int rules, const char *path, uint64_t rights, struct pt_err *err)
{
    pt_auto_fd int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == EACCES))
        return 0;
    struct beneath b = {.granted = rights, .parent = fd};
    if (fd < 0 || syscall(CALL_ADD_RULE, rules, RULE_BENEATH, &b, 0u) < 0)
        return pt_err_set(err, "Landlock: %s: %s", path, strerror(errno));
    return 0;
}

int pt_landlock_limit(const char *const *folders, size_t n, const char *file, struct pt_err *err)
{
    struct ruleset all = all_of(pt_landlock_abi());
    pt_auto_fd int rules = (int)syscall(CALL_CREATE, &all, sizeof(all), 0u);
    if (rules < 0)
        return pt_err_set(err, "Landlock: %s", strerror(errno));
    for (size_t i = 0; i < n; i++)
        if (grant(rules, folders[i], GRANTED & all.files, err) < 0)
            return -1;
    if (file && grant(rules, file, READ_FILE, err) < 0)
        return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(CALL_RESTRICT, rules, 0u) < 0)
        return pt_err_set(err, "Landlock: %s", strerror(errno));
    return 0;
}
