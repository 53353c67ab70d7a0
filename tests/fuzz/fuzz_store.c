/* SPDX-License-Identifier: Apache-2.0 */
/* A host's store as it lies on disk: an index that is sealed or not, and a pack, finished or left by one that
 * died. What is read from it has the digest that was asked for. */
#include "fuzz_tree.h"
#include "sync/sealed.h"
#include "sync/there/store.h"

#include <fcntl.h>
#include <sys/stat.h>

#define NAME "store/blake2b/0123456789abcdef"

static int is_right(void *arg, uint32_t number, const void *data, uint32_t size)
{
    unsigned char digest[PT_DIGEST];
    const struct pt_store_want *wants = arg;
    unsigned held = fuzz_hold();
    FUZZ_CHECK(pt_digest_buffer(PT_DIGEST_BLAKE2B, data, size, digest, NULL) == 0);
    fuzz_release(held);
    FUZZ_CHECK(wants[number].size == size && memcmp(digest, wants[number].digest, PT_DIGEST) == 0);
    return 0;
}

static void use(struct pt_store *s)
{
    struct pt_store_want wants[2] = {{.size = 5, .number = 0}, {.size = 4, .number = 1}}, asked[2];
    struct pt_err err = PT_ERR_INIT;
    unsigned held = fuzz_hold();
    tree_digest("alpha", wants[0].digest);
    tree_digest("beta", wants[1].digest);
    fuzz_release(held);
    memcpy(asked, wants, sizeof(asked));
    if (pt_store_read(s, asked, 2, is_right, wants, &err) < 0)
        FUZZ_CHECK(fuzz_starved() && err.msg[0]);
    pt_store_tidy(s, 1 << 20);
    pt_store_has(s, wants[0].digest, wants[0].size);
}

/* Long ago, so that nobody writes it still. */
static void put_pack(const char *suffix, struct fuzz_parts in)
{
    char name[64];
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    snprintf(name, sizeof(name), NAME "%s", suffix);
    FUZZ_CHECK(utimensat(AT_FDCWD, fuzz_file(name, in.p, in.left), old, 0) == 0);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    uint8_t how = fuzz_byte(&in);
    struct fuzz_parts index = fuzz_part(&in);
    mkdir(fuzz_path("store"), 0700);
    mkdir(fuzz_path("store/blake2b"), 0700);
    put_pack(how & 1 ? ".part" : ".pack", in);
    if ((how & 6) == 2) {
        fuzz_file(NAME ".idx", index.p, index.left);
    } else if ((how & 6) == 4) {
        struct pt_buf b = {0};
        pt_buf_append(&b, index.p, index.left);
        FUZZ_CHECK(pt_sealed_write(fuzz_path(NAME ".idx"), &b) == 0 || fuzz_starved());
        pt_buf_fini(&b);
    }
    struct pt_store *s = pt_store_open(fuzz_folder(), PT_DIGEST_BLAKE2B, &err);
    FUZZ_CHECK(s || fuzz_starved());
    if (s)
        use(s);
    pt_store_close(s);
    fuzz_feed();
    fuzz_remove("store");
}
