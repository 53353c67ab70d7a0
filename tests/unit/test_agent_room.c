/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent says it uses of the cache, and the room that it makes there. */
#include "agent_master.h"
#include "common/log.h"

#define OLD "bin/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

TestSuite(agent_room, .init = set_up, .fini = tear_down, .timeout = 100);

static void send_number(uint8_t type, uint64_t value, size_t bytes)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    for (size_t i = 0; i < bytes; i++)
        pt_put_u8(&b, bytes - 1 - i < sizeof(value) ? (uint8_t)(value >> 8 * (bytes - 1 - i)) : 0);
    pt_frame_end(&b, mark);
    send_frame(&b);
}

static char *in_cache(const char *path)
{
    char *out = NULL;
    cr_assert(asprintf(&out, "%s/%s", w.cache, path) > 0);
    return out;
}

/* A program of another version, used last in 1970. */
static void put_old(void)
{
    static const struct timespec times[2];
    pt_auto_free char *bin = in_cache("bin"), *folder = in_cache(OLD),
                      *file = in_cache(OLD "/ptremote-agent");
    cr_assert((mkdir(bin, 0700) == 0 || errno == EEXIST) && mkdir(folder, 0700) == 0);
    write_file(file, "of another version", 0700);
    cr_assert_eq(utimensat(AT_FDCWD, folder, times, 0), 0);
}

static bool is_there(const char *path)
{
    pt_auto_free char *whole = in_cache(path);
    return access(whole, F_OK) == 0;
}

/* What the run that goes on says it uses, "" when there is none (heap). */
static char *uses(void)
{
    pt_auto_free char *folder = in_cache("use");
    struct pt_buf text = {0};
    DIR *dir = opendir(folder);
    for (const struct dirent *d; dir && (d = readdir(dir));) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%.255s", folder, d->d_name);
        if (d->d_name[0] != '.' && strcmp(d->d_name, "lock") != 0)
            read_file(path, &text);
    }
    if (dir)
        closedir(dir);
    pt_buf_append(&text, "", 1);
    return (char *)text.data;
}

static struct pt_setup shared_setup(void)
{
    static char tree[128], proof[160], secret[] = "0123456789abcdef";
    struct pt_setup setup = default_setup();
    snprintf(tree, sizeof(tree), "%s/shared", w.dir);
    snprintf(proof, sizeof(proof), "%s/proof", tree);
    cr_assert_eq(mkdir(tree, 0755), 0);
    write_file(proof, secret, 0600);
    setup.shared = tree;
    setup.proof = (char *)"proof";
    setup.secret = secret;
    return setup;
}

Test(agent_room, a_run_says_what_it_uses)
{
    char worker[PT_DIGEST_HEX], package[PT_DIGEST_HEX];
    whole_start();
    pt_auto_free char *text = uses();
    pt_digest_hex(tools[0].digest, worker);
    pt_digest_hex(tools[1].digest, package);
    cr_expect_eq(strncmp(text, "run1\n", 5), 0, "%s", text);
    cr_expect(strstr(text, "\nws/") && strstr(text, "/proj\n"), "%s", text);
    cr_expect(strstr(text, worker) && strstr(text, package) && strstr(text, "\npycache/proj-"), "%s", text);
    stop();
    pt_auto_free char *after = uses();
    cr_expect_str_empty(after);
}

Test(agent_room, is_made_once_nothing_waits_for_it)
{
    struct pt_setup setup = shared_setup();
    setup.flags = PT_SETUP_SYNC_ONLY;
    put_old();
    run_with(&setup);
    expect(PT_C_READY);
    send_number(PT_C_BOUND, 1, 8);
    struct frame *f = expect(PT_C_LOG);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    cr_expect_eq(pt_get_u8(&r), PT_LOG_INFO);
    pt_auto_free char *text = pt_get_str(&r, PT_MAX_TEXT);
    cr_expect(pt_get_end(&r) && strstr(text, "bin/01234567"), "%s", text);
    cr_expect(!is_there(OLD) && !is_there("gone"));
    cr_expect(is_there("bin") && is_there("python"), "what this run uses is gone");
    stop();
}

Test(agent_room, is_not_made_below_the_bound)
{
    struct pt_setup setup = shared_setup();
    setup.flags = PT_SETUP_SYNC_ONLY;
    put_old();
    run_with(&setup);
    expect(PT_C_READY);
    send_number(PT_C_BOUND, 1u << 30, 8);
    stop();
    cr_expect(is_there(OLD));
}

Test(agent_room, all_of_it)
{
    put_old();
    start_agent();
    send_number(PT_C_CLEAN, 0, 1);
    struct frame *f = expect(PT_C_CLEANED);
    struct pt_reader r = {.p = f->body.data, .left = f->body.len};
    cr_expect_geq(pt_get_u64(&r), 4096);
    pt_auto_free char *kept = pt_get_str(&r, PT_MAX_TEXT);
    cr_expect(pt_get_end(&r) && !kept[0], "%s", kept);
    cr_expect_eq(count_entries(w.cache), 0);
    stop();
}

Test(agent_room, nothing_makes_sense_twice_or_wrongly)
{
    static const struct {
        uint8_t type;
        size_t bytes;
        uint64_t value;
        bool set_up;
    } bad[] = {{PT_C_CLEAN, 1, 0, true},  {PT_C_CLEAN, 1, 2, false}, {PT_C_CLEAN, 0, 0, false},
               {PT_C_CLEAN, 2, 0, false}, {PT_C_BOUND, 8, 1, false}, {PT_C_BOUND, 7, 1, true},
               {PT_C_BOUND, 9, 1, true}};
    struct pt_setup setup = default_setup();
    put_old();
    for (size_t i = 0; i < PT_COUNT(bad); i++) {
        start_agent();
        if (bad[i].set_up)
            send_setup(&setup);
        send_number(bad[i].type, bad[i].value, bad[i].bytes);
        pt_auto_free char *text = fail_text();
        cr_expect(text[0], "%zu", i);
        hang_up();
        expect_nothing_left();
    }
    cr_expect(is_there(OLD));
}
