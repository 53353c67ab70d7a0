/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests with threads use of Criterion, for builds where that does not start: ThreadSanitizer leaves
 * its memory no room. Each test is run in a child of its own, as there; what the sanitizer says of it is its
 * failure. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct plain_options {
    void (*init)(void);
    void (*fini)(void);
    unsigned timeout;
};

struct plain_test {
    const char *suite, *name; /* a suite has no name */
    void (*run)(void);
    struct plain_options o;
    struct plain_test *next;
};

static struct plain_test *plain_tests;
static void (*plain_fini)(void); /* of the test that runs */
static bool plain_failed;
static pid_t plain_pid;

static inline void plain_add(struct plain_test *test)
{
    test->next = plain_tests;
    plain_tests = test;
}

#define PLAIN_ADD(id, ...)                                                                                   \
    static struct plain_test plain_test_##id = __VA_ARGS__;                                                  \
    __attribute__((constructor)) static void plain_add_##id(void)                                            \
    {                                                                                                        \
        plain_add(&plain_test_##id);                                                                         \
    }
#define TestSuite(of, ...) PLAIN_ADD(of, {.suite = #of, .o = {__VA_ARGS__}})
#define Test(of, called, ...)                                                                                \
    static void plain_run_##of##_##called(void);                                                             \
    PLAIN_ADD(of##_##called,                                                                                 \
              {.suite = #of, .name = #called, .run = plain_run_##of##_##called, .o = {__VA_ARGS__}})         \
    static void plain_run_##of##_##called(void)

static inline void plain_end(void)
{
    void (*fini)(void) = plain_fini;
    plain_fini = NULL;
    if (fini && getpid() == plain_pid)
        fini();
    exit(plain_failed);
}

static inline void plain_tell(const char *file, int line, const char *what, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: %s: ", file, line, what);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

#define PLAIN_SAY(what, ...) plain_tell(__FILE__, __LINE__, what, __VA_ARGS__)
#define PLAIN_CHECK(end, what, holds, ...)                                                                   \
    do                                                                                                       \
        if (!(holds)) {                                                                                      \
            plain_failed = true;                                                                             \
            PLAIN_SAY(what, __VA_ARGS__);                                                                    \
            end;                                                                                             \
        }                                                                                                    \
    while (0)
#define PLAIN_ONE(end, is, a, ...)     PLAIN_CHECK(end, #a, is(a), __VA_ARGS__)
#define PLAIN_TWO(end, how, a, b, ...) PLAIN_CHECK(end, #a " " #how " " #b, (a)how(b), __VA_ARGS__)
#define PLAIN_STR(end, how, a, b, ...)                                                                       \
    PLAIN_CHECK(end, #a " " #how " " #b, strcmp((a), (b)) how 0, __VA_ARGS__)

#define cr_assert(...)           PLAIN_ONE(plain_end(), , __VA_ARGS__, "")
#define cr_assert_not(...)       PLAIN_ONE(plain_end(), !, __VA_ARGS__, "")
#define cr_assert_null(...)      PLAIN_ONE(plain_end(), NULL ==, __VA_ARGS__, "")
#define cr_assert_not_null(...)  PLAIN_ONE(plain_end(), NULL !=, __VA_ARGS__, "")
#define cr_assert_str_empty(...) PLAIN_ONE(plain_end(), !*, __VA_ARGS__, "")
#define cr_assert_eq(...)        PLAIN_TWO(plain_end(), ==, __VA_ARGS__, "")
#define cr_assert_neq(...)       PLAIN_TWO(plain_end(), !=, __VA_ARGS__, "")
#define cr_assert_lt(...)        PLAIN_TWO(plain_end(), <, __VA_ARGS__, "")
#define cr_assert_leq(...)       PLAIN_TWO(plain_end(), <=, __VA_ARGS__, "")
#define cr_assert_gt(...)        PLAIN_TWO(plain_end(), >, __VA_ARGS__, "")
#define cr_assert_geq(...)       PLAIN_TWO(plain_end(), >=, __VA_ARGS__, "")
#define cr_assert_str_eq(...)    PLAIN_STR(plain_end(), ==, __VA_ARGS__, "")
#define cr_assert_str_neq(...)   PLAIN_STR(plain_end(), !=, __VA_ARGS__, "")
#define cr_assert_arr_eq(a, b, n, ...)                                                                       \
    PLAIN_CHECK(plain_end(), #a " == " #b, memcmp((a), (b), (n)) == 0, "" __VA_ARGS__)
#define cr_assert_fail(...)     PLAIN_CHECK(plain_end(), "failed", false, "" __VA_ARGS__)
#define cr_expect(...)          PLAIN_ONE(, , __VA_ARGS__, "")
#define cr_expect_not(...)      PLAIN_ONE(, !, __VA_ARGS__, "")
#define cr_expect_null(...)     PLAIN_ONE(, NULL ==, __VA_ARGS__, "")
#define cr_expect_not_null(...) PLAIN_ONE(, NULL !=, __VA_ARGS__, "")
#define cr_expect_eq(...)       PLAIN_TWO(, ==, __VA_ARGS__, "")
#define cr_expect_neq(...)      PLAIN_TWO(, !=, __VA_ARGS__, "")
#define cr_expect_gt(...)       PLAIN_TWO(, >, __VA_ARGS__, "")
#define cr_expect_leq(...)      PLAIN_TWO(, <=, __VA_ARGS__, "")
#define cr_expect_str_eq(...)   PLAIN_STR(, ==, __VA_ARGS__, "")
#define cr_skip                 cr_skip_test
#define cr_skip_test(...)                                                                                    \
    do {                                                                                                     \
        PLAIN_SAY("skipped", "" __VA_ARGS__);                                                                \
        plain_end();                                                                                         \
    } while (0)

static inline void plain_run(const struct plain_test *test)
{
    struct plain_options o = test->o;
    plain_pid = getpid();
    for (const struct plain_test *suite = plain_tests; suite; suite = suite->next)
        if (!suite->name && strcmp(suite->suite, test->suite) == 0) {
            o.init = o.init ? o.init : suite->o.init;
            o.fini = o.fini ? o.fini : suite->o.fini;
        }
    if (o.init)
        o.init();
    plain_fini = o.fini;
    test->run();
    plain_end();
}

static inline bool plain_is_named(const struct plain_test *test, char **names)
{
    while (*names && strcmp(*names, test->name) != 0)
        names++;
    return *names;
}

/* Arguments: tests to leave out, as they take long. ctest watches the time. */
int main(int argc, char **argv)
{
    unsigned passed = 0, failed = 0;
    (void)argc;
    for (const struct plain_test *test = plain_tests; test; test = test->next) {
        int status = -1;
        if (!test->name || plain_is_named(test, argv + 1))
            continue;
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0)
            plain_run(test);
        waitpid(pid, &status, 0);
        if (status == 0)
            passed++;
        else
            fprintf(stderr, "%s %s: status %#x\n", test->suite, test->name, (unsigned)status), failed++;
    }
    fprintf(stderr, "%u passed, %u failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
