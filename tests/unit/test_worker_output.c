/* SPDX-License-Identifier: Apache-2.0 */
#include "fail_alloc.h"
#include "remote/worker/output.c"
#include "remote/worker/tell.c"

#include "common/auto.h"

#include <criterion/criterion.h>
#include <stdio.h>

static int make_file(void)
{
    char path[] = "/tmp/pt-output-XXXXXX";
    int fd = mkostemp(path, O_APPEND);
    cr_assert_geq(fd, 0);
    unlink(path);
    return fd;
}

static void say(int fd, const char *text)
{
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* The next message as "bundle/test:text", or "nothing". */
static const char *next(struct pt_output *output)
{
    static char text[256];
    struct pt_buf buf = {0};
    struct pt_reader r;
    uint8_t type;
    size_t total, n;
    if (!pt_output_next(output, 3, &buf))
        return "nothing";
    cr_assert_eq(pt_frame_next(buf.data, buf.len, PT_MAX_FRAME, &type, &r, &total), 1);
    cr_assert(type == PT_L_OUTPUT && total == buf.len);
    cr_assert_eq(pt_get_u64(&r), 0);
    cr_assert_eq(pt_get_u32(&r), 3);
    int bundle = (int)pt_get_u32(&r), test = (int)pt_get_u32(&r);
    const char *bytes = pt_get_bytes(&r, &n);
    cr_assert(pt_get_end(&r));
    snprintf(text, sizeof(text), "%d/%d:%.*s", bundle, test, (int)(n < 200 ? n : 200), bytes);
    pt_buf_fini(&buf);
    return text;
}

Test(output, every_byte_once_with_what_ran)
{
    struct pt_output output;
    int fd = make_file();
    pt_output_init(&output, fd);
    cr_assert_str_eq(next(&output), "nothing");
    say(fd, "one ");
    cr_assert_str_eq(next(&output), "nothing", "whose it is was not said");
    cr_assert_eq(pt_output_mark(&output, 1, 10), 0);
    say(fd, "two ");
    cr_assert_eq(pt_output_mark(&output, 1, 10), 0);
    cr_assert_eq(pt_output_mark(&output, 1, 11), 0);
    say(fd, "three ");
    cr_assert_eq(pt_output_mark(&output, PT_NONE, PT_NONE), 0);
    cr_assert_eq(pt_output_left(&output), 14);
    cr_assert_str_eq(next(&output), "1/10:one two ");
    cr_assert_str_eq(next(&output), "-1/-1:three ");
    cr_assert_str_eq(next(&output), "nothing");
    cr_assert_eq(pt_output_left(&output), 0);
    say(fd, "four");
    cr_assert_eq(pt_output_mark(&output, 2, 12), 0);
    cr_assert_str_eq(next(&output), "2/12:four");
    for (uint32_t i = 0; i < 100; i++) {
        say(fd, "x");
        cr_assert_eq(pt_output_mark(&output, 3, i), 0);
    }
    for (uint32_t i = 0; i < 100; i++) {
        char want[32];
        snprintf(want, sizeof(want), "3/%u:x", i);
        cr_assert_str_eq(next(&output), want);
    }
    pt_output_fini(&output);
    close(fd);
}

Test(output, much_comes_in_parts_and_leaves_the_disk)
{
    struct pt_output output;
    struct stat st;
    int fd = make_file();
    size_t size = 10 << 20, got = 0;
    pt_auto_free char *text = calloc(1, size);
    pt_output_init(&output, fd);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)(i * 7 + i / 1000);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, text + done, size - done);
        cr_assert_gt(n, 0);
        done += (size_t)n;
    }
    pt_output_mark(&output, 1, 2);
    for (struct pt_buf buf = {0}; pt_output_next(&output, 0, &buf); pt_buf_fini(&buf)) {
        size_t head = PT_FRAME_HEAD + 8 + 3 * 4 + 4, n = buf.len - head;
        cr_assert_leq(n, PT_OUTPUT_MOST);
        cr_assert_eq(memcmp(buf.data + head, text + got, n), 0, "at %zu", got);
        got += n;
        pt_output_trim(&output, 1 << 20);
    }
    cr_assert_eq(got, size);
    cr_assert_eq(fstat(fd, &st), 0);
    cr_expect_eq(st.st_size, (off_t)size, "who writes to it notices nothing");
    cr_expect_lt(st.st_blocks * 512, 4 << 20, "%lld bytes are on the disk", (long long)st.st_blocks * 512);
    say(fd, "the end");
    pt_output_mark(&output, 1, 2);
    cr_assert_str_eq(next(&output), "1/2:the end");
    pt_output_fini(&output);
    close(fd);
}

/* A test may do that to its own standard output. */
Test(output, a_file_that_was_cut_short_is_no_loop)
{
    struct pt_output output;
    int fd = make_file();
    pt_output_init(&output, fd);
    say(fd, "gone before it was read");
    pt_output_mark(&output, 1, 2);
    cr_assert_eq(ftruncate(fd, 4), 0);
    cr_assert_str_eq(next(&output), "1/2:gone");
    cr_assert_str_eq(next(&output), "nothing");
    cr_assert_eq(ftruncate(fd, 0), 0);
    say(fd, "and on");
    pt_output_mark(&output, 1, 3);
    cr_assert_str_eq(next(&output), "1/3:and on");
    pt_output_fini(&output);
    close(fd);
}

Test(output, without_memory_it_comes_with_the_next_mark)
{
    struct pt_output output;
    int fd = make_file();
    pt_output_init(&output, fd);
    say(fd, "a");
    fail_at = 1;
    cr_assert_eq(pt_output_mark(&output, 1, 1), -1);
    fail_at = 0;
    say(fd, "b");
    cr_assert_eq(pt_output_mark(&output, 1, 2), 0);
    cr_assert_str_eq(next(&output), "1/2:ab");
    pt_output_fini(&output);
    close(fd);
}
