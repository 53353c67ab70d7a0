/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/sealed.h"
#include "common/io.h"

#include "common/auto.h"
#include "sync/digest.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_SIZE (1u << 30)

int pt_sealed_write(const char *path, const struct pt_buf *data)
{
    unsigned char digest[PT_DIGEST];
    if (data->bad || pt_digest_buffer(PT_DIGEST_BLAKE2B, data->data, data->len, digest, NULL) < 0) {
        errno = ENOMEM;
        return -1;
    }
    pt_auto_free char *temp = NULL;
    if (asprintf(&temp, "%s.XXXXXX", path) < 0) {
        temp = NULL;
        return -1;
    }
    pt_auto_fd int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (pt_write_all(fd, data->data, data->len) < 0 || pt_write_all(fd, digest, sizeof(digest)) < 0 ||
        rename(temp, path) < 0) {
        int saved = errno;
        unlink(temp);
        errno = saved;
        return -1;
    }
    return 0;
}

int pt_sealed_read(const char *path, struct pt_buf *out)
{
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < PT_DIGEST ||
        st.st_size > MAX_SIZE)
        return -1;
    size_t size = (size_t)st.st_size, got = 0;
    unsigned char *p = pt_buf_reserve(out, size);
    if (!p)
        return -1;
    while (got < size) {
        ssize_t n = read(fd, p + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        got += (size_t)n;
    }
    unsigned char digest[PT_DIGEST];
    size -= PT_DIGEST;
    if (pt_digest_buffer(PT_DIGEST_BLAKE2B, p, size, digest, NULL) < 0 ||
        memcmp(digest, p + size, PT_DIGEST) != 0)
        return -1;
    out->len += size;
    return 0;
}
