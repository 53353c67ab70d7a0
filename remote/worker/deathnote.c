/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/deathnote.h"

#include "common/auto.h"
#include "common/message.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define OUTPUT_TAIL (64u << 10)
#define FILE_TAIL   (256u << 10)

/* Append the last `max` bytes of the file, none from before `since`; NULs become '?'. Where in the file they
 * begin. */
static off_t read_tail(int fd, off_t since, size_t max, struct pt_buf *out)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return 0;
    if (since > st.st_size)
        since = 0;
    off_t from = st.st_size - since > (off_t)max ? st.st_size - (off_t)max : since;
    size_t want = (size_t)(st.st_size - from), start = out->len;
    char *room = want ? pt_buf_reserve(out, want) : NULL;
    ssize_t n = room ? pread(fd, room, want, from) : -1;
    if (n <= 0)
        return from;
    out->len += (size_t)n;
    for (size_t i = start; i < out->len; i++)
        if (!out->data[i])
            out->data[i] = '?';
    return from;
}

/* Where `what` starts a line; the last such place when `last`. n when there is none. */
static size_t find_line(const char *text, size_t n, const char *what, bool last)
{
    size_t len = strlen(what), found = n;
    for (size_t i = 0; i + len <= n; i++) {
        if ((i && text[i - 1] != '\n') || memcmp(text + i, what, len) != 0)
            continue;
        found = i;
        if (!last)
            break;
    }
    return found;
}

/* Where the first thread's stack begins. */
static size_t find_threads(const char *text, size_t n)
{
    static const char *const threads[] = {"Current thread 0x", "Thread 0x", "Stack (most recent call first)"};
    size_t at = n;
    for (size_t i = 0; i < PT_COUNT(threads); i++) {
        size_t here = find_line(text, n, threads[i], false);
        at = here < at ? here : at;
    }
    return at;
}

/* faulthandler starts with the reason; a stack without one starts with a thread. */
static size_t find_stack(const char *text, size_t n)
{
    size_t at = find_line(text, n, "Fatal Python error", true);
    return at < n ? at : find_threads(text, n);
}

/* faulthandler writes for these alone: a stack found after another death is of some other process. */
static bool left_stack(uint32_t status)
{
    int sig = WIFSIGNALED((int)status) ? WTERMSIG((int)status) : 0;
    return sig == SIGABRT || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGSEGV;
}

/* Bytes [from, to) as a string. */
static char *copy(const struct pt_buf *buf, size_t from, size_t to)
{
    char *s = calloc(1, to - from + 1);
    if (s && to > from)
        memcpy(s, buf->data + from, to - from);
    return s;
}

void pt_deathnote_read(struct pt_death *death, int file, off_t since, off_t dumped, const int capture[2])
{
    struct pt_buf written = {0}, captured = {0};
    off_t first = read_tail(file, since, FILE_TAIL, &written);
    read_tail(capture[0], 0, OUTPUT_TAIL / 2, &captured);
    read_tail(capture[1], 0, OUTPUT_TAIL / 2, &captured);
    size_t stack = written.len;
    if (written.len && dumped >= 0 && dumped - first < (off_t)written.len) {
        size_t from = dumped > first ? (size_t)(dumped - first) : 0;
        stack = from + find_threads((const char *)written.data + from, written.len - from);
    } else if (left_stack(death->status)) {
        stack = find_stack((const char *)written.data, written.len);
    }
    size_t from = stack > OUTPUT_TAIL ? stack - OUTPUT_TAIL : 0;
    death->stack = copy(&written, stack, written.len);
    if (captured.len)
        death->output = copy(&captured, 0, captured.len);
    else
        death->output = copy(&written, from, stack);
    pt_buf_fini(&written);
    pt_buf_fini(&captured);
}
