/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/deathnote.c"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/mman.h>

static int make_file(const char *text, size_t n)
{
    int fd = memfd_create("note", MFD_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, n), (ssize_t)n);
    return fd;
}

static void check(const char *written, size_t since, const char *captured, const char *stack,
                  const char *output)
{
    struct pt_death death = {.status = SIGSEGV};
    int file = make_file(written, strlen(written));
    int capture[2] = {-1, -1};
    if (captured)
        capture[1] = make_file(captured, strlen(captured));
    pt_deathnote_read(&death, file, (off_t)since, -1, capture);
    cr_assert_str_eq(death.stack, stack);
    cr_assert_str_eq(death.output, output);
    pt_death_fini(&death);
    close(file);
    if (captured)
        close(capture[1]);
}

Test(deathnote, stack_and_output)
{
    check("", 0, NULL, "", "");
    check("before\nFatal Python error: Aborted\n\nCurrent thread 0x1 (most recent call first):\n", 0, NULL,
          "Fatal Python error: Aborted\n\nCurrent thread 0x1 (most recent call first):\n", "before\n");
    check("out\nThread 0x2 (most recent call first):\nCurrent thread 0x1:\n", 0, NULL,
          "Thread 0x2 (most recent call first):\nCurrent thread 0x1:\n", "out\n");
    check("a line with Fatal Python error inside\n", 0, NULL, "", "a line with Fatal Python error inside\n");
    check("Fatal Python error: of a child\nFatal Python error: mine\n", 0, NULL, "Fatal Python error: mine\n",
          "Fatal Python error: of a child\n");
    check("older\nnewer\n", 6, NULL, "", "newer\n");
    check("cut off\n", 100, NULL, "", "cut off\n");
    check("raw\nFatal Python error: x\n", 0, "captured\n", "Fatal Python error: x\n", "captured\n");
}

Test(deathnote, a_stack_is_of_a_process_that_crashed)
{
    static const uint32_t others[] = {0, 3 << 8, SIGKILL, SIGTERM};
    static const char text[] = "Fatal Python error: of a child\n";
    int file = make_file(text, strlen(text));
    for (size_t i = 0; i < PT_COUNT(others); i++) {
        struct pt_death death = {.status = others[i]};
        pt_deathnote_read(&death, file, 0, -1, (int[2]){-1, -1});
        cr_assert_str_eq(death.stack, "");
        cr_assert_str_eq(death.output, text);
        pt_death_fini(&death);
    }
    close(file);
}

Test(deathnote, nuls_are_shown_and_tails_are_short)
{
    enum { N = 1 << 20 };
    char *text = malloc(N);
    struct pt_death death = {0};
    memset(text, 'a', N);
    text[N - 1] = '\0';
    int file = make_file(text, N), capture[2] = {make_file(text, N), make_file("e", 1)};
    pt_deathnote_read(&death, file, 0, -1, (int[2]){-1, -1});
    cr_assert_eq(strlen(death.output), OUTPUT_TAIL);
    cr_assert_eq(death.output[OUTPUT_TAIL - 1], '?');
    pt_death_fini(&death);
    pt_deathnote_read(&death, file, 0, -1, capture);
    cr_assert_eq(strlen(death.output), OUTPUT_TAIL / 2 + 1);
    cr_assert_str_eq(death.output + OUTPUT_TAIL / 2 - 1, "?e");
    pt_death_fini(&death);
    close(file);
    close(capture[0]);
    close(capture[1]);
    free(text);
}

Test(deathnote, no_file_is_no_output)
{
    struct pt_death death = {0};
    pt_deathnote_read(&death, -1, 0, -1, (int[2]){-1, -1});
    cr_assert_str_eq(death.stack, "");
    cr_assert_str_eq(death.output, "");
    pt_death_fini(&death);
}

static void check_dumped(const char *written, off_t dumped, const char *stack, const char *output)
{
    struct pt_death death = {.status = SIGKILL};
    int file = make_file(written, strlen(written));
    pt_deathnote_read(&death, file, 0, dumped, (int[2]){-1, -1});
    cr_assert_str_eq(death.stack, stack);
    cr_assert_str_eq(death.output, output);
    pt_death_fini(&death);
    close(file);
}

Test(deathnote, a_stack_that_was_asked_for_needs_no_signal)
{
    static const char older[] = "Thread 0x1 of a child\nout\n";
    static const char both[] =
        "Thread 0x1 of a child\nout\nmore\nThread 0x2 (m\n  File a\n\nCurrent thread 0x3\n";
    check_dumped(both, sizeof(older) - 1, "Thread 0x2 (m\n  File a\n\nCurrent thread 0x3\n",
                 "Thread 0x1 of a child\nout\nmore\n");
    check_dumped(older, sizeof(older) - 1, "", older);
    check_dumped(older, 1000, "", older);
    struct pt_death nothing = {.status = SIGKILL}; /* since the stack began nothing was written */
    int file = make_file(older, strlen(older));
    pt_deathnote_read(&nothing, file, (off_t)strlen(older), 3, (int[2]){-1, -1});
    cr_assert_str_eq(nothing.stack, "");
    cr_assert_str_eq(nothing.output, "");
    pt_death_fini(&nothing);
    close(file);
    check_dumped("Fatal Python error: of a child\nStack (most recent call first):\n", 0,
                 "Stack (most recent call first):\n", "Fatal Python error: of a child\n");
}
