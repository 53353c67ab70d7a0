/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- allocations that fail: the linker has our code call these (--wrap) --- */

static __thread unsigned fail_at; /* of this thread alone, so that an input always does the same */
static __thread bool starved;

static bool fails(void)
{
    if (fail_at == 0 || --fail_at > 0)
        return false;
    starved = true;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
    return fails() ? NULL : __real_strndup(s, n);
}

int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list args;
    if (fails())
        return -1;
    va_start(args, format);
    int n = vasprintf(out, format, args);
    va_end(args);
    return n;
}

bool fuzz_starved(void)
{
    return starved;
}

void fuzz_feed(void)
{
    fail_at = 0;
}

unsigned fuzz_hold(void)
{
    unsigned held = fail_at;
    fail_at = 0;
    return held;
}

void fuzz_release(unsigned held)
{
    fail_at = held;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    starved = false;
    fail_at = data[0];
    fuzz_one(data + 1, size - 1);
    fail_at = 0;
    return 0;
}

#ifdef FUZZ_DRIVEN
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

/* In most inputs memory does not end; where it does, any of the first allocations is as good as another. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    uint8_t before = data[0];
    size_t n = LLVMFuzzerMutate(data + 1, size - 1, most - 1);
    data[0] = seed % 8 == 0 ? (uint8_t)(seed / 8 % 100) : seed % 2 ? before : 0;
    return n + 1;
}
#endif

/* --- parts --- */

uint8_t fuzz_byte(struct fuzz_parts *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->p++;
}

char *fuzz_text(struct fuzz_parts *in)
{
    const uint8_t *end = in->left ? memchr(in->p, 0, in->left) : NULL;
    size_t n = end ? (size_t)(end - in->p) : in->left;
    char *text = __real_malloc(n + 1);
    if (n)
        memcpy(text, in->p, n);
    text[n] = '\0';
    in->p += n + (end != NULL);
    in->left -= n + (end != NULL);
    return text;
}

struct fuzz_parts fuzz_part(struct fuzz_parts *in)
{
    size_t n = fuzz_byte(in);
    n = n << 8 | fuzz_byte(in);
    struct fuzz_parts part = {in->p, n < in->left ? n : in->left};
    in->p += part.left;
    in->left -= part.left;
    return part;
}

/* --- files --- */

static char folder[256];
static pid_t owner;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag;
    return ftw->level == 0 && strcmp(path, folder) == 0 ? 0 : remove(path);
}

void fuzz_remove(const char *name)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s", *name ? fuzz_path(name) : fuzz_folder());
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_folder(void)
{
    if (getpid() != owner)
        return;
    fuzz_remove("");
    rmdir(folder);
}

const char *fuzz_folder(void)
{
    if (folder[0])
        return folder;
    const char *above = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/ptremote-fuzz-XXXXXX", above && *above ? above : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        abort();
    }
    owner = getpid();
    atexit(remove_folder);
    return folder;
}

const char *fuzz_path(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
    return path;
}

static void put(int fd, const void *data, size_t n)
{
    for (const char *p = data; n > 0;) {
        ssize_t put = write(fd, p, n);
        if (put < 0) {
            perror("fuzz: write");
            abort();
        }
        p += put;
        n -= (size_t)put;
    }
}

const char *fuzz_file(const char *name, const void *data, size_t n)
{
    const char *path = fuzz_path(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        perror(path);
        abort();
    }
    put(fd, data, n);
    close(fd);
    return path;
}

int fuzz_fd(const void *data, size_t n)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    if (fd < 0)
        abort();
    put(fd, data, n);
    lseek(fd, 0, SEEK_SET);
    return fd;
}
