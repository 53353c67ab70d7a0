/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/pack.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/files.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define PIPE_SIZE (1 << 20)
#define READ_SIZE (128u << 10)

struct pt_pack {
    const struct pt_manifest *manifest;
    const unsigned char *need;
    int in, out; /* ends of the pipe; out is the thread's */
    int root;
    pthread_t thread;
    bool running;
    atomic_bool stop;
    enum pt_packed result;
    struct pt_err err;
    struct pt_digest *digest;
    unsigned char buffer[READ_SIZE];
};

/* Once stopped, whatever the library still holds is swallowed: an archive that ends early must not look
 * whole, and one that saw an error is never closed properly by the library. */
static la_ssize_t write_out(struct archive *a, void *arg, const void *data, size_t n)
{
    struct pt_pack *p = arg;
    (void)a;
    while (!p->stop) {
        ssize_t done = write(p->out, data, n);
        if (done >= 0)
            return done;
        if (errno != EINTR)
            p->stop = true;
    }
    return (la_ssize_t)n;
}

static enum pt_packed changed(struct pt_pack *p, const char *path)
{
    pt_err_set(&p->err, "%s changed while it was sent", path);
    return PT_PACK_CHANGED;
}

static enum pt_packed unreadable(struct pt_pack *p, const char *path)
{
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
        return changed(p, path);
    pt_err_set_kind(&p->err, PT_ERR_USAGE, "cannot read %s: %s", path, strerror(errno));
    pt_files_hint(&p->err, path);
    return PT_PACK_FAILED;
}

static enum pt_packed broken(struct pt_pack *p, struct archive *a)
{
    pt_err_set(&p->err, "packing: %s", archive_error_string(a));
    return PT_PACK_FAILED;
}

static int write_header(struct archive *a, struct archive_entry *entry, const struct pt_entry *e)
{
    archive_entry_clear(entry);
    archive_entry_set_pathname(entry, e->path);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, (mode_t)e->mode);
    archive_entry_set_size(entry, (la_int64_t)e->size);
    return archive_write_header(a, entry);
}

/* The content of fd, exactly as long and of the digest that the manifest says. */
static enum pt_packed write_content(struct pt_pack *p, struct archive *a, const struct pt_entry *e, int fd)
{
    uint64_t left = e->size;
    while (!p->stop) {
        ssize_t n = read(fd, p->buffer, READ_SIZE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return unreadable(p, e->path);
        if ((uint64_t)n > left || (n == 0 && left > 0))
            return changed(p, e->path);
        if (n == 0)
            break;
        left -= (uint64_t)n;
        pt_digest_add(p->digest, p->buffer, (size_t)n);
        if (archive_write_data(a, p->buffer, (size_t)n) != n)
            return broken(p, a);
    }
    unsigned char digest[PT_DIGEST];
    if (pt_digest_end(p->digest, digest) < 0 || memcmp(digest, e->digest, PT_DIGEST) != 0)
        return changed(p, e->path);
    return PT_PACK_WHOLE;
}

static enum pt_packed write_file(struct pt_pack *p, struct archive *a, struct archive_entry *entry,
                                 const struct pt_entry *e)
{
    struct stat st;
    pt_auto_fd int fd = openat(p->root, e->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return unreadable(p, e->path);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != e->size || (st.st_mode & 0777) != e->mode)
        return changed(p, e->path);
    if (write_header(a, entry, e) != ARCHIVE_OK)
        return broken(p, a);
    return write_content(p, a, e, fd);
}

static bool is_needed(const struct pt_pack *p, size_t i)
{
    return p->need[i / 8] >> (i % 8) & 1 && pt_manifest_get(p->manifest, i)->type == PT_ENTRY_FILE;
}

static struct archive *open_archive(struct pt_pack *p)
{
    struct archive *a = archive_write_new();
    if (!a)
        return NULL;
    if (archive_write_set_format_pax(a) == ARCHIVE_OK && archive_write_add_filter_zstd(a) == ARCHIVE_OK &&
        archive_write_set_options(a, "pax:hdrcharset=BINARY,zstd:compression-level=1") == ARCHIVE_OK &&
        archive_write_set_bytes_per_block(a, (int)READ_SIZE) == ARCHIVE_OK &&
        archive_write_set_bytes_in_last_block(a, 1) == ARCHIVE_OK &&
        archive_write_open(a, p, NULL, write_out, NULL) == ARCHIVE_OK)
        return a;
    pt_err_set(&p->err, "packing: %s", archive_error_string(a));
    archive_write_free(a);
    return NULL;
}

static enum pt_packed write_archive(struct pt_pack *p)
{
    struct archive *a = open_archive(p);
    struct archive_entry *entry = archive_entry_new();
    enum pt_packed result = a && entry ? PT_PACK_WHOLE : PT_PACK_FAILED;
    size_t n = pt_manifest_count(p->manifest);
    for (size_t i = 0; result == PT_PACK_WHOLE && i < n && !p->stop; i++)
        if (is_needed(p, i))
            result = write_file(p, a, entry, pt_manifest_get(p->manifest, i));
    if (result == PT_PACK_WHOLE && archive_write_close(a) != ARCHIVE_OK)
        result = broken(p, a);
    if (result != PT_PACK_WHOLE)
        p->stop = true;
    archive_entry_free(entry);
    archive_write_free(a);
    return result;
}

static void *run(void *arg)
{
    struct pt_pack *p = arg;
    p->result = write_archive(p);
    close(pt_steal_fd(&p->out));
    return NULL;
}

/* The thread takes no signals: a closed pipe is an error of write(2). */
static int start_thread(struct pt_pack *p)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&p->thread, NULL, run, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    p->running = rc == 0;
    errno = rc;
    return rc ? -1 : 0;
}

struct pt_pack *pt_pack_start(const struct pt_manifest *manifest, const unsigned char *need,
                              struct pt_err *err)
{
    int ends[2];
    struct pt_pack *p = calloc(1, sizeof(*p));
    if (!p) {
        pt_err_set(err, "packing: out of memory");
        return NULL;
    }
    p->manifest = manifest;
    p->need = need;
    p->in = p->out = p->root = -1;
    p->err = PT_ERR_INIT;
    p->digest = pt_digest_create(pt_manifest_algorithm(manifest), err);
    if (!p->digest)
        goto error;
    p->root = open(pt_manifest_folder(manifest), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->root < 0) {
        pt_err_set_kind(err, PT_ERR_USAGE, "%s: %s", pt_manifest_folder(manifest), strerror(errno));
        goto error;
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        pt_err_set(err, "packing: %s", strerror(errno));
        goto error;
    }
    p->in = ends[0];
    p->out = ends[1];
    fcntl(p->out, F_SETPIPE_SZ, PIPE_SIZE);
    if (fcntl(p->in, F_SETFL, O_NONBLOCK) < 0 || start_thread(p) < 0) {
        pt_err_set(err, "packing: %s", strerror(errno));
        goto error;
    }
    return p;
error:
    pt_pack_destroy(p);
    return NULL;
}

void pt_pack_destroy(struct pt_pack *p)
{
    if (!p)
        return;
    int saved = errno;
    p->stop = true;
    if (p->in >= 0)
        close(p->in);
    if (p->running)
        pthread_join(p->thread, NULL);
    if (p->out >= 0)
        close(p->out);
    if (p->root >= 0)
        close(p->root);
    pt_digest_destroy(p->digest);
    free(p);
    errno = saved;
}

int pt_pack_fd(const struct pt_pack *p)
{
    return p->in;
}

enum pt_packed pt_pack_result(struct pt_pack *p, struct pt_err *err)
{
    if (p->running)
        pthread_join(p->thread, NULL);
    p->running = false;
    if (p->result != PT_PACK_WHOLE && err)
        *err = p->err;
    return p->result;
}
