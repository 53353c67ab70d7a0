/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation on the way of a tree into a workspace fails once: each failure gives a message and leaks
 * nothing, and the workspace becomes the tree all the same the next time. */
#include "fail_alloc.h"

#undef reallocarray
#define reallocarray(p, n, size) fail_realloc(p, (n) * (size))

#include "sync/there/diff.c"
#include "sync/there/place.c"
#include "sync/there/settle.c"
#include "sync/there/survey.c"

#undef malloc
#undef calloc
#undef realloc
#undef strdup
#undef reallocarray

#include "sync_lab.h"

TestSuite(sync_place_memory, .init = lab_open, .fini = lab_close);

static struct pt_manifest *tree_of(const char *text)
{
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL);
    struct pt_entry list[] = {
        {.path = "a", .type = PT_ENTRY_FILE, .mode = 0644, .size = strlen(text)},
        {.path = "d", .type = PT_ENTRY_DIR, .mode = 0755},
        {.path = "d/b", .type = PT_ENTRY_FILE, .mode = 0600, .size = strlen(text)},
        {.path = "d/empty", .type = PT_ENTRY_FILE, .mode = 0644},
        {.path = "l", .type = PT_ENTRY_LINK, .link = "d/b"},
    };
    for (size_t i = 0; i < PT_COUNT(list); i++) {
        if (list[i].type == PT_ENTRY_FILE)
            cr_assert_eq(pt_digest_buffer(PT_DIGEST_BLAKE2B, list[i].size ? text : "", list[i].size,
                                          list[i].digest, NULL),
                         0);
        cr_assert_eq(pt_manifest_add(m, &list[i], NULL), 0);
    }
    cr_assert_eq(pt_manifest_seal(m, NULL), 0);
    return m;
}

static int fill_with(const struct pt_site *site, const char *text, struct pt_err *err)
{
    struct pt_synced figures = {0};
    struct pt_placer *p = pt_placer_create(site, &figures, err);
    if (!p)
        return -1;
    int rc = pt_placer_restore(p, NULL, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < pt_manifest_blobs(site->target); i++) {
        struct pt_blob b = pt_manifest_blob(site->target, i);
        rc = pt_placer_put(p, &b, text, err);
    }
    pt_placer_destroy(p);
    return rc;
}

static int put_there(const struct pt_manifest *m, const char *text, struct pt_err *err)
{
    static struct pt_stamp stamps[5];
    struct pt_record record = {0};
    struct pt_survey survey = {0};
    struct pt_diff diff = {0};
    pt_auto_fd int tree = open("tree", O_RDONLY | O_CLOEXEC);
    pt_auto_fd int temp = open("temp", O_RDONLY | O_CLOEXEC);
    struct pt_site site = {.present = {.tree = tree, .record = &record, .survey = &survey},
                           .temp = temp,
                           .target = m,
                           .diff = &diff};
    int rc = pt_survey_take(&survey, tree, ".", err);
    if (rc == 0)
        rc = pt_diff_make(&diff, m, &site.present, NULL, 0, err);
    if (rc == 0)
        rc = pt_settle(&site, err);
    if (rc == 0)
        rc = fill_with(&site, text, err);
    if (rc == 0)
        rc = pt_settle_seal(&site, 0, stamps, err);
    pt_diff_fini(&diff);
    pt_survey_fini(&survey);
    return rc;
}

Test(sync_place_memory, every_allocation)
{
    static const char *const texts[] = {"one", "three"};
    mkdir("tree", 0700);
    mkdir("temp", 0700);
    for (long n = 1;; n++) {
        struct pt_err err = PT_ERR_INIT;
        const char *text = texts[n % 2];
        struct pt_manifest *m = tree_of(text);
        mkdir("tree/old", 0700);
        fail_hit = false;
        fail_at = n;
        int rc = put_there(m, text, &err);
        fail_at = 0;
        cr_assert(rc == 0 || fail_hit, "%ld: %s", n, err.msg); /* some can be done without */
        cr_assert_eq(rc < 0, err.msg[0] != '\0', "%ld", n);
        cr_assert_eq(put_there(m, text, &err), 0, "%s", err.msg);
        pt_auto_free char *got = lab_read("tree/l");
        cr_assert_str_eq(got, text);
        cr_assert_neq(access("tree/old", F_OK), 0);
        pt_manifest_destroy(m);
        if (!fail_hit)
            break;
    }
}
