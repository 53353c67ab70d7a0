/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/output.h"

#include "common/message.h"
#include "remote/worker/tell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIM_STEP (1 << 20)

struct pt_output_mark {
    off_t upto;
    uint32_t bundle, test;
};

void pt_output_init(struct pt_output *output, int fd)
{
    *output = (struct pt_output){.fd = fd};
}

void pt_output_fini(struct pt_output *output)
{
    free(output->marks);
    *output = (struct pt_output){.fd = -1};
}

static off_t marked(const struct pt_output *output)
{
    return output->nmarks ? output->marks[output->nmarks - 1].upto : output->sent;
}

off_t pt_output_left(const struct pt_output *output)
{
    return marked(output) - output->sent;
}

static off_t size_of(const struct pt_output *output)
{
    struct stat st = {.st_size = 0};
    return fstat(output->fd, &st) == 0 ? st.st_size : 0;
}

off_t pt_output_unread(const struct pt_output *output)
{
    off_t size = size_of(output);
    return size > output->sent ? size - output->sent : 0;
}

int pt_output_mark(struct pt_output *output, uint32_t bundle, uint32_t test)
{
    off_t size = size_of(output);
    if (size < output->sent) /* somebody emptied it */
        output->sent = output->freed = 0;
    if (size <= marked(output))
        return 0;
    struct pt_output_mark *last = output->nmarks ? &output->marks[output->nmarks - 1] : NULL;
    if (last && last->bundle == bundle && last->test == test) {
        last->upto = size;
        return 0;
    }
    if (output->nmarks == output->room) {
        size_t room = output->room ? 2 * output->room : 16;
        struct pt_output_mark *more = realloc(output->marks, room * sizeof(*more));
        if (!more)
            return -1;
        output->marks = more;
        output->room = room;
    }
    output->marks[output->nmarks++] = (struct pt_output_mark){.upto = size, .bundle = bundle, .test = test};
    return 0;
}

static void drop_first(struct pt_output *output)
{
    output->nmarks--;
    memmove(output->marks, output->marks + 1, output->nmarks * sizeof(*output->marks));
}

/* What cannot be read (a file that somebody cut short, a disk that fails) is passed over. */
bool pt_output_next(struct pt_output *output, uint32_t rank, struct pt_buf *out)
{
    static char chunk[PT_OUTPUT_MOST];
    while (output->nmarks) {
        struct pt_output_mark mark = output->marks[0];
        off_t left = mark.upto - output->sent;
        ssize_t n = 0;
        if (left > 0)
            n = pread(output->fd, chunk, left < (off_t)sizeof(chunk) ? (size_t)left : sizeof(chunk),
                      output->sent);
        if (n < 0 && errno == EINTR)
            continue;
        output->sent = n > 0 ? output->sent + n : mark.upto;
        if (output->sent >= mark.upto)
            drop_first(output);
        if (n > 0) {
            pt_tell_output(out, rank, mark.bundle, mark.test, chunk, (size_t)n);
            return true;
        }
    }
    return false;
}

/* A hole and not a shorter file: who writes to it now loses nothing. */
void pt_output_trim(struct pt_output *output, off_t keep)
{
    off_t upto = (output->sent - keep) / TRIM_STEP * TRIM_STEP;
    if (upto <= output->freed || output->stuck)
        return;
    output->stuck = fallocate(output->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, output->freed,
                              upto - output->freed) < 0;
    output->freed = upto;
}

void pt_output_restart(struct pt_output *output)
{
    if (output->stuck && !pt_output_unread(output) && ftruncate(output->fd, 0) == 0)
        output->sent = output->freed = 0;
}
