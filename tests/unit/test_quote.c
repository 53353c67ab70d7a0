/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "common/quote.h"
#include "common/wire.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* What /bin/sh makes of the quoted word, in front of a marker that ends it. */
static void through_shell(const char *word)
{
    struct pt_buf script = {0}, got = {0};
    int out[2];
    pt_buf_append(&script, "printf '%s<' ", 13);
    pt_quote_sh(&script, word);
    pt_buf_append(&script, "\0", 1);
    cr_assert_eq(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        execl("/bin/sh", "sh", "-c", (char *)script.data, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    ssize_t n;
    while ((n = read(out[0], pt_buf_reserve(&got, 4096), 4096)) > 0)
        got.len += (size_t)n;
    close(out[0]);
    int status;
    waitpid(pid, &status, 0);
    pt_buf_append(&got, "\0", 1);
    size_t len = strlen(word);
    cr_expect(status == 0 && got.len == len + 2 && memcmp(got.data, word, len) == 0 && got.data[len] == '<',
              "the shell makes '%s' of '%s'", (char *)got.data, word);
    pt_buf_fini(&script);
    pt_buf_fini(&got);
}

Test(quote, a_shell_gives_every_word_back)
{
    static const char *const words[] = {
        "",
        "plain",
        "two words",
        "'",
        "''",
        "'\\''",
        "a'b'c",
        "$HOME ${PATH} $(id) `id` $((1+1))",
        "; rm -rf /nowhere #",
        "| & && || > /dev/null < x 2>&1",
        "\\",
        "\\\\n \\' \\\"",
        "\"double\"",
        "-n",
        "--help",
        "~root/*?[a-z]{a,b}!",
        "line\nline\n\n",
        "tab\t\r\v\f\a\b\x1b[31m",
        "%s%n%d",
        "\xc3\xa4\xff\xfe\x80 \xe2\x80\xae",
        "=x=y",
    };
    for (size_t i = 0; i < PT_COUNT(words); i++)
        through_shell(words[i]);
}

Test(quote, a_shell_gives_every_byte_back)
{
    char all[256];
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = '\0';
    through_shell(all);
}

Test(quote, words_stay_apart)
{
    struct pt_buf b = {0};
    pt_quote_sh(&b, "it's");
    pt_buf_append(&b, " ", 1);
    pt_quote_sh(&b, "");
    pt_buf_append(&b, "", 1);
    cr_expect_str_eq((char *)b.data, "'it'\\''s' ''");
    pt_buf_fini(&b);
}

static char *printed(const char *s, size_t n, int lines)
{
    struct pt_buf b = {0};
    pt_quote_print(&b, s, n, lines);
    pt_buf_append(&b, "", 1);
    cr_assert_not(b.bad);
    return (char *)b.data;
}

static void prints(const char *s, size_t n, int lines, const char *want)
{
    char *got = printed(s, n, lines);
    cr_expect_str_eq(got, want);
    free(got);
}

Test(quote, text_is_printed_as_it_is)
{
    static const char text[] = "Gr\xc3\xbc\xc3\x9f"
                               "e \xe2\x82\xac \xf0\x9f\x90\x8d \\x1b ~";
    prints(text, strlen(text), 0, text);
    prints("", 0, 1, "");
}

Test(quote, every_control_becomes_visible)
{
    for (unsigned cp = 0; cp < 0xa0; cp++) {
        char in[2], want[8];
        size_t n = 1;
        if (cp >= 0x20 && cp < 0x7f)
            continue;
        in[0] = (char)cp;
        if (cp >= 0x80) {
            in[0] = (char)(0xc0 | cp >> 6);
            in[1] = (char)(0x80 | (cp & 0x3f));
            n = 2;
        }
        snprintf(want, sizeof(want), "\\x%02x", cp);
        prints(in, n, 0, want);
        if (cp != '\n' && cp != '\t')
            prints(in, n, 1, want);
    }
    prints("a\nb\tc", 5, 1, "a\nb\tc");
    prints("a\r\n\x1b]0;t\a", 9, 1, "a\\x0d\n\\x1b]0;t\\x07");
}

static size_t encode(uint32_t cp, char out[4])
{
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    out[0] = (char)(0xe0 | cp >> 12);
    out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[2] = (char)(0x80 | (cp & 0x3f));
    return 3;
}

/* All that Unicode calls Bidi_Control, besides what has no width or breaks lines. */
Test(quote, what_turns_or_hides_text_becomes_visible)
{
    static const uint32_t points[] = {0x061c, 0x200b, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a,
                                      0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068,
                                      0x2069, 0xfeff, 0x180e, 0xfff9, 0xfffb};
    for (size_t i = 0; i < PT_COUNT(points); i++) {
        char in[4], want[8];
        size_t n = encode(points[i], in);
        snprintf(want, sizeof(want), "\\u%04x", (unsigned)points[i]);
        prints(in, n, 1, want);
    }
    prints("\xc2\xad\xf3\xa0\x81\x81", 6, 0, "\\xad\\U000e0041");         /* soft hyphen, tag */
    prints("\xe2\x80\x90\xe2\x80\xa6", 6, 0, "\xe2\x80\x90\xe2\x80\xa6"); /* hyphen, ellipsis */
}

Test(quote, broken_utf8_becomes_visible)
{
    prints("\xff", 1, 0, "\\xff");
    prints("\x80z", 2, 0, "\\x80z");
    prints("\xc0\xaf", 2, 0, "\\xc0\\xaf");                   /* overlong '/' */
    prints("\xe0\x80\xaf", 3, 0, "\\xe0\\x80\\xaf");          /* overlong */
    prints("\xf0\x80\x80\xaf", 4, 0, "\\xf0\\x80\\x80\\xaf"); /* overlong */
    prints("\xed\xa0\x80", 3, 0, "\\xed\\xa0\\x80");          /* half of a pair */
    prints("\xf4\x90\x80\x80", 4, 0, "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
    prints("\xf5\x80\x80\x80", 4, 0, "\\xf5\\x80\\x80\\x80"); /* no such start */
    prints("\xc3(\xe2\x82 \xf0\x9f\x90", 8, 0, "\\xc3(\\xe2\\x82 \\xf0\\x9f\\x90");
    prints("a\0b", 3, 0, "a\\x00b");
}

/* The n bytes are in a block of their own: reading past them is seen by a sanitizer. */
Test(quote, a_string_holds_what_stood_behind_a_nul)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
    } cases[] = {
        {"", 0, ""},
        {"plain", 5, "plain"},
        {"\0", 1, "\\x00"},
        {"a\0b\0\0", 5, "a\\x00b\\x00\\x00"},
        {"\xff\0\n", 3, "\xff\\x00\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        pt_auto_free char *text = pt_quote_nuls(cases[i].bytes, cases[i].n);
        cr_expect_str_eq(text, cases[i].text, "%zu", i);
    }
}

Test(quote, a_sequence_that_is_cut_is_broken_and_never_read_past)
{
    static const char *const whole[] = {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x90\x8d", "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < PT_COUNT(whole); i++) {
        size_t len = strlen(whole[i]);
        uint32_t cp = 0;
        for (size_t n = 1; n <= len; n++) {
            char *part = malloc(n);
            memcpy(part, whole[i], n);
            cr_expect_eq(pt_utf8_next(part, n, &cp), n == len ? len : 0);
            free(part);
        }
    }
}

/* Whatever the bytes: what comes out is valid UTF-8 without controls. */
Test(quote, nothing_hostile_comes_out)
{
    unsigned seed = 12345;
    for (int round = 0; round < 2000; round++) {
        unsigned char in[24];
        size_t n = 0;
        for (; n < sizeof(in); n++) {
            seed = seed * 1103515245u + 12345u;
            unsigned pick = seed >> 16;
            in[n] = pick % 3 ? (unsigned char)(0x80 | (pick >> 4 & 0x7f)) : (unsigned char)(pick >> 4);
        }
        char *got = printed((char *)in, n, 0);
        for (size_t at = 0, left = strlen(got); left;) {
            uint32_t cp = 0;
            size_t len = pt_utf8_next(got + at, left, &cp);
            cr_assert(len && cp >= 0x20 && (cp < 0x7f || cp >= 0xa0));
            cr_assert_not(cp >= 0x202a && cp <= 0x202e);
            at += len;
            left -= len;
        }
        free(got);
    }
}
