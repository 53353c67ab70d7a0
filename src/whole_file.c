/* SPDX-License-Identifier: Apache-2.0 */
#include "whole_file.h"

#include "common/auto.h"
#include "common/err.h"

#include <fcntl.h>
#include <string.h>

#define STEP (64u << 10)

int pt_whole_file(const char *path, size_t max, struct pt_buf *out, struct pt_err *err)
{
    size_t before = out->len;
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        bool none = errno == ENOENT;
        pt_err_set_kind(err, PT_ERR_USAGE, "%s", strerror(errno));
        return none ? 1 : -1;
    }
    while (out->len - before <= max) {
        void *at = pt_buf_reserve(out, STEP);
        if (!at)
            return pt_err_set(err, "out of memory");
        ssize_t n = read(fd, at, STEP);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return pt_err_set_kind(err, PT_ERR_USAGE, "%s", strerror(errno));
        out->len += n > 0 ? (size_t)n : 0;
    }
    return pt_err_set_kind(err, PT_ERR_USAGE, "longer than %zu bytes", max);
}
