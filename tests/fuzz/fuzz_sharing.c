/* SPDX-License-Identifier: Apache-2.0 */
/* Runs that share slots, over a folder in which anything of that user may lie: no slot has two holders, none
 * holds more than it took, and files that make no sense are left out. The input: what the runs do, and what
 * is put into the folder, while time passes. */
#include <time.h>

static int any_clock(struct timespec *t);
#define clock_gettime(id, t) ((void)(id), any_clock(t))
#include "remote/worker/sharing.c"

#include "fuzz.h"
#include "fuzz_loop.h"

#define RUNS  3
#define STEPS 60

static struct {
    struct pt_sharing *runs[RUNS];
    uint32_t slots[RUNS];
    int live[2]; /* files of other runs that live: locked */
    bool asks[RUNS];
} lab;

static int any_clock(struct timespec *t)
{
    *t = (struct timespec){.tv_sec = fuzz_loop.now / 1000, .tv_nsec = fuzz_loop.now % 1000 * 1000000};
    return 0;
}

static void on_may_have(void *arg)
{
    uint32_t at = (uint32_t)(uintptr_t)arg;
    const struct pt_sharing_wish wish = {.step = 1, .want = lab.slots[at]};
    if (lab.asks[at])
        pt_sharing_take(lab.runs[at], 1, 0, &wish);
}

static void on_waits(void *arg, const char *run, const char *who, uint32_t held, uint32_t slots)
{
    (void)arg;
    FUZZ_CHECK(memchr(run, '\0', 64) && run[0] && memchr(who, '\0', 128) && held && slots);
}

static void come(uint32_t at, uint8_t how)
{
    static const struct pt_sharing_callbacks callbacks = {on_may_have, on_waits};
    char folder[300], name[8];
    struct pt_err err = PT_ERR_INIT;
    snprintf(folder, sizeof(folder), "%s/share", fuzz_folder());
    snprintf(name, sizeof(name), "r%u", how & 1 ? at : 0);
    const struct pt_sharing_config config = {
        .folder = folder, .run = name, .who = "me", .host = at, .slots = 1 + (how >> 1 & 3)};
    if (lab.runs[at])
        return;
    lab.slots[at] = config.slots;
    lab.runs[at] = pt_sharing_create(NULL, &config, &callbacks, (void *)(uintptr_t)at, &err);
    FUZZ_CHECK(lab.runs[at] || err.msg[0]);
}

static void go(uint32_t at)
{
    pt_sharing_destroy(lab.runs[at]);
    lab.runs[at] = NULL;
}

static void take(uint32_t at, uint8_t how)
{
    struct pt_sharing *s = lab.runs[at];
    uint32_t before = pt_sharing_held(s), n = 1 + (how & 3);
    const struct pt_sharing_wish wish = {.step = n, .want = before + n};
    if (before + n > lab.slots[at])
        return;
    bool had = pt_sharing_take(s, n, how >> 2 & 1, &wish);
    FUZZ_CHECK(s->off || pt_sharing_held(s) == (had ? before + n : before));
}

/* A file there, of a run that lives or of none. */
static void put_file(struct fuzz_parts *in, uint8_t how)
{
    char name[32];
    if (how >= 0xfd) { /* others may look in; nobody may; it is gone */
        char folder[300];
        snprintf(folder, sizeof(folder), "%s", fuzz_path("share"));
        if (how == 0xff)
            fuzz_remove("share");
        else
            (void)!chmod(folder, how == 0xfe ? 0755 : 0700);
        return;
    }
    struct said said = {.version = VERSION, .host = how & 3, .beat = clock_ms()};
    snprintf(name, sizeof(name), how & 8 ? "share/slot.%u" : "share/run.x%u", how & 1);
    said.fair = (struct pt_fair){.base = how >> 4 & 1,
                                 .slots = 1 + (how >> 5),
                                 .held = how >> 6,
                                 .step = how >> 7,
                                 .want = how >> 6 & 1};
    snprintf(said.run, sizeof(said.run), how & 4 ? "r0" : "x");
    struct fuzz_parts part = fuzz_part(in);
    memcpy(&said, part.p, part.left < sizeof(said) ? part.left : sizeof(said));
    int *fd = &lab.live[how & 1];
    if (how & 8) {
        fuzz_remove(name); /* somebody cleans */
        return;
    }
    if (*fd >= 0)
        close(*fd);
    *fd = open(fuzz_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return;
    if (how & 2)
        FUZZ_CHECK(flock(*fd, LOCK_EX | LOCK_NB) == 0 || errno == EWOULDBLOCK);
    (void)!ftruncate(*fd, 0);
    (void)!pwrite(*fd, &said, sizeof(said), 0);
}

/* By number: a slot whose file was not removed has one holder. */
static void check(void)
{
    for (uint32_t r = 0; r < RUNS; r++) {
        uint32_t held = 0;
        for (uint32_t i = 0; lab.runs[r] && i < lab.runs[r]->nslots; i++) {
            const struct pt_sharing *s = lab.runs[r];
            struct stat mine, st;
            held += s->slots[i].held;
            for (uint32_t o = 0; s->slots[i].held && fstat(s->slots[i].fd, &mine) == 0 && o < r; o++)
                for (uint32_t k = 0; lab.runs[o] && k < lab.runs[o]->nslots; k++)
                    FUZZ_CHECK(!lab.runs[o]->slots[k].held || fstat(lab.runs[o]->slots[k].fd, &st) < 0 ||
                               st.st_ino != mine.st_ino);
        }
        FUZZ_CHECK(!lab.runs[r] || (held == pt_sharing_held(lab.runs[r]) && held <= lab.slots[r]));
    }
}

static void step(struct fuzz_parts *in)
{
    uint8_t what = fuzz_byte(in);
    uint32_t at = (what >> 3) % RUNS;
    if (what % 8 == 0)
        come(at, fuzz_byte(in));
    else if (what % 8 == 1)
        put_file(in, fuzz_byte(in));
    else if (what % 8 == 2)
        loop_pass();
    else if (what % 8 == 3)
        fuzz_loop.now += 40 << (what >> 5);
    else if (!lab.runs[at])
        come(at, what >> 3);
    else if (what % 8 < 6)
        take(at, fuzz_byte(in));
    else if (what % 8 == 6)
        pt_sharing_keep(lab.runs[at], (what >> 5) % (pt_sharing_held(lab.runs[at]) + 1));
    else if (what & 128)
        go(at);
    else if (what & 64)
        pt_sharing_rest(lab.runs[at]);
    else
        lab.asks[at] = what & 32;
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    memset(&lab, 0, sizeof(lab));
    lab.live[0] = lab.live[1] = -1;
    loop_begin();
    fuzz_remove("share");
    for (int i = 0; i < STEPS && in.left > 0; i++) {
        step(&in);
        check();
    }
    for (uint32_t i = 0; i < RUNS; i++)
        go(i);
    for (uint32_t i = 0; i < 2; i++)
        if (lab.live[i] >= 0)
            close(lab.live[i]);
    fuzz_remove("share");
    loop_end();
}
