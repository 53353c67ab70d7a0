/* SPDX-License-Identifier: Apache-2.0 */
/* The real workers beside another run that has slots of the machine. */
#include "worker_lab.h"

#include "remote/worker/fair.c"
#include "remote/worker/sharing.c"

static char folder[64];
static struct pt_loop *loop;
static struct pt_sharing *other;

static void nothing(void *arg)
{
    (void)arg;
}

static void on_waits(void *arg, const char *run, const char *who, uint32_t held, uint32_t slots)
{
    (void)arg;
    cr_assert_fail("%s of %s has %u of %u", run, who, held, slots);
}

/* Workers, and another run that has all slots. */
static struct lab *open_beside(uint32_t slots)
{
    static const struct pt_sharing_callbacks callbacks = {nothing, on_waits};
    const struct pt_sharing_config config = {
        .folder = folder, .run = "other", .who = "ann@laptop", .slots = slots};
    const struct pt_sharing_wish wish = {slots, slots};
    struct pt_err err = PT_ERR_INIT;
    snprintf(folder, sizeof(folder), "/tmp/pt-share.XXXXXX");
    cr_assert(mkdtemp(folder) && (loop = pt_loop_create(NULL)));
    other = pt_sharing_create(loop, &config, &callbacks, NULL, &err);
    cr_assert(other, "%s", err.msg);
    cr_assert(pt_sharing_take(other, slots, 0, &wish));
    setenv("PTREMOTE_SHARE", "me@here", 1);
    setenv("PTREMOTE_SHARE_DIR", folder, 1);
    struct lab *lab = lab_open(slots);
    write_file(lab, "test_w.py",
               "import os, time\ndef test_a(): pass\ndef test_b(): pass\n"
               "def test_go():\n    while not os.path.exists('go'): time.sleep(0.01)\n");
    lab_session(lab);
    return lab;
}

static void close_all(struct lab *lab)
{
    char command[128];
    lab_destroy(lab);
    pt_sharing_destroy(other);
    pt_loop_destroy(loop);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

/* Slots that are locked. */
static uint32_t count_locked(uint32_t slots)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < slots; i++) {
        char path[96];
        snprintf(path, sizeof(path), "%s/slot.%u", folder, i);
        pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
        n += fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
    }
    return n;
}

static void want_waiting(struct lab *lab)
{
    cr_assert_str_eq(lab_wait(lab, PT_L_WAITS, 0)->text, "other of ann@laptop: 2 of 2");
    cr_assert_eq(lab_count(lab, PT_L_STARTED) + lab_count(lab, PT_L_REPORT), 0);
}

Test(worker_share, waits_and_goes_on, .timeout = 110)
{
    struct lab *lab = open_beside(2);
    for (uint32_t i = 0; i < 3; i++)
        lab_bundle(lab, i, 0, "test_w.py", "test_go", i);
    want_waiting(lab);
    pt_sharing_keep(other, 1);
    lab_wait(lab, PT_L_STARTED, 0);
    pt_sharing_keep(other, 0);
    lab_wait(lab, PT_L_STARTED, 1);
    cr_assert_eq(count_locked(2), 2);
    cr_assert_not(pt_sharing_take(other, 1, 0, &(struct pt_sharing_wish){1, 1}));
    write_file(lab, "go", "");
    lab_wait(lab, PT_L_DONE, 2);
    cr_assert_eq(count_locked(2), 0, "what it does not use it does not keep");
    cr_assert_eq(lab_count(lab, PT_L_WAITS), 1);
    lab_quit(lab);
    close_all(lab);
}

Test(worker_share, what_waits_can_be_taken_back, .timeout = 110)
{
    struct lab *lab = open_beside(2);
    lab_bundle(lab, 0, 0, "test_w.py", "test_a", 0);
    lab_bundle(lab, 1, 0, "test_w.py", "test_a test_b", 1);
    want_waiting(lab);
    lab_say(lab, PT_L_RECALL, 1, 0);
    cr_assert_eq(lab_wait(lab, PT_L_RECALLED, 0)->outcome, 1);
    lab_steal(lab, 1, 2, 3);
    cr_assert_eq(lab_wait(lab, PT_L_STOLEN, 0)->n, 1);
    pt_sharing_keep(other, 0);
    lab_wait(lab, PT_L_DONE, 0);
    cr_assert_eq(lab_count(lab, PT_L_REPORT), 1);
    lab_quit(lab);
    close_all(lab);
}

Test(worker_share, ends_while_it_waits, .timeout = 110)
{
    struct lab *lab = open_beside(2);
    lab_bundle(lab, 0, 0, "test_w.py", "test_a", 0);
    want_waiting(lab);
    lab_quit(lab);
    cr_assert_eq(lab_count(lab, PT_L_REPORT), 0);
    close_all(lab);
}
