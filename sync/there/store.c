/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/store.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/chunk.h"
#include "sync/there/store_inside.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* They happen to be equal. NOLINTNEXTLINE(misc-redundant-expression) */
_Static_assert(PT_BLOB_MAX >= PT_CHUNKED_FROM && PT_BLOB_MAX >= PT_CHUNK_MAX, "every blob fits");

/* --- where blobs are --- */

static size_t slot_of(const struct pt_store *s, const unsigned char digest[PT_DIGEST])
{
    uint64_t word, h = s->seed;
    for (size_t i = 0; i < PT_DIGEST; i += sizeof(word)) {
        memcpy(&word, digest + i, sizeof(word));
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return (size_t)h & (s->slots - 1);
}

struct store_blob *pt_store_find(const struct pt_store *s, const unsigned char digest[PT_DIGEST],
                                 uint32_t size, struct store_pack **pack)
{
    if (s->slots == 0)
        return NULL;
    for (size_t i = slot_of(s, digest); s->table[i].blob; i = (i + 1) & (s->slots - 1)) {
        struct store_pack *p = s->packs[s->table[i].pack];
        struct store_blob *b = &p->blobs[s->table[i].blob - 1];
        if (b->size == size && memcmp(b->digest, digest, PT_DIGEST) == 0) {
            *pack = p;
            return b;
        }
    }
    return NULL;
}

static void insert(struct pt_store *s, size_t pack)
{
    const struct store_pack *p = s->packs[pack];
    struct store_pack *other;
    for (size_t k = 0; k < p->nblobs; k++) {
        const struct store_blob *b = &p->blobs[k];
        if (b->size == 0 || pt_store_find(s, b->digest, b->size, &other))
            continue;
        size_t i = slot_of(s, b->digest);
        while (s->table[i].blob)
            i = (i + 1) & (s->slots - 1);
        s->table[i] = (struct store_slot){.pack = (uint32_t)pack, .blob = (uint32_t)k + 1};
        s->taken++;
    }
}

/* Packs from `from` on are new to the table. */
static int insert_all(struct pt_store *s, size_t from)
{
    size_t need = s->taken, slots = 1024;
    for (size_t i = from; i < s->npacks; i++)
        need += s->packs[i]->nblobs;
    while (slots < 2 * need)
        slots *= 2;
    if (from == 0 || slots > s->slots) {
        struct store_slot *table = calloc(slots, sizeof(*table));
        if (!table)
            return -1;
        free(s->table);
        s->table = table;
        s->slots = slots;
        s->taken = 0;
        from = 0;
    }
    for (size_t i = from; i < s->npacks; i++)
        insert(s, i);
    return 0;
}

int pt_store_rebuild(struct pt_store *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->npacks; i++) {
        if (s->packs[i]->gone)
            pt_store_pack_destroy(s->packs[i]);
        else
            s->packs[kept++] = s->packs[i];
    }
    s->npacks = kept;
    s->taken = 0;
    if (s->table)
        memset(s->table, 0, s->slots * sizeof(*s->table));
    return insert_all(s, 0);
}

/* Into the list, not yet into the table. */
static int list(struct pt_store *s, struct store_pack *p)
{
    if (s->npacks == s->pack_room) {
        size_t room = s->pack_room ? 2 * s->pack_room : 16;
        struct store_pack **grown = reallocarray(s->packs, room, sizeof(*grown));
        if (!grown) {
            pt_store_pack_destroy(p);
            return -1;
        }
        s->packs = grown;
        s->pack_room = room;
    }
    s->packs[s->npacks++] = p;
    return 0;
}

int pt_store_take(struct pt_store *s, struct store_pack *p)
{
    if (list(s, p) < 0)
        return -1;
    if (insert_all(s, s->npacks - 1) == 0)
        return 0;
    pt_store_pack_destroy(s->packs[--s->npacks]);
    return -1;
}

static bool is_known(const struct pt_store *s, size_t n, const char *file)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(s->packs[i]->name, file, STORE_NAME) == 0)
            return true;
    return false;
}

/* Loads the packs that are not known yet. */
static int scan(struct pt_store *s)
{
    DIR *d = opendir(s->folder);
    if (!d)
        return -1;
    size_t known = s->npacks, blobs = 0;
    int rc = 0;
    for (size_t i = 0; i < known; i++)
        blobs += s->packs[i]->nblobs;
    for (const struct dirent *e; rc == 0 && (e = readdir(d));) {
        if (!pt_store_is(e->d_name, ".pack") || is_known(s, known, e->d_name))
            continue;
        struct store_pack *p = pt_store_pack_load(s, e->d_name, ".pack");
        if (!p)
            continue;
        if (p->nblobs > STORE_MAX_BLOBS - blobs) {
            pt_store_pack_destroy(p);
            continue;
        }
        blobs += p->nblobs;
        rc = list(s, p);
    }
    closedir(d);
    return rc == 0 && s->npacks > known ? insert_all(s, known) : rc;
}

static void look_at(const struct pt_store *s, struct store_pack *p)
{
    char file[STORE_FILE];
    struct stat st;
    pt_store_file(file, p->name, ".pack");
    if (fstatat(s->dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
        p->gone = true;
    pt_store_file(file, p->name, ".idx");
    if (fstatat(s->dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0)
        p->used = st.st_mtim.tv_sec;
}

int pt_store_look(struct pt_store *s)
{
    for (size_t i = 0; i < s->npacks; i++)
        look_at(s, s->packs[i]);
    return pt_store_rebuild(s) < 0 || scan(s) < 0 ? -1 : 0;
}

/* --- open, close, ask --- */

static int make_folder(struct pt_store *s, const char *cache)
{
    static const char *const names[] = {
        [PT_DIGEST_BLAKE2B] = "blake2b",
        [PT_DIGEST_SHA256] = "sha256",
    };
    if ((size_t)s->algorithm >= PT_COUNT(names) || !names[s->algorithm]) {
        errno = EINVAL;
        return -1;
    }
    pt_auto_free char *above = NULL;
    if (asprintf(&above, "%s/store", cache) < 0) {
        above = NULL;
        return -1;
    }
    if (asprintf(&s->folder, "%s/%s", above, names[s->algorithm]) < 0) {
        s->folder = NULL;
        return -1;
    }
    if ((mkdir(cache, 0700) < 0 && errno != EEXIST) || (mkdir(above, 0700) < 0 && errno != EEXIST) ||
        (mkdir(s->folder, 0700) < 0 && errno != EEXIST))
        return -1;
    s->dir = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->dir < 0 ? -1 : 0;
}

/* Zeros when it cannot be known. */
static void read_boot(unsigned char out[STORE_BOOT])
{
    char text[64] = "";
    pt_auto_fd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    size_t digits = 0;
    for (const char *p = text; n > 0 && *p && digits < 2 * STORE_BOOT; p++) {
        const char *at = strchr("0123456789abcdef", *p);
        if (!at)
            continue;
        out[digits / 2] = (unsigned char)(out[digits / 2] << 4 | (at - "0123456789abcdef"));
        digits++;
    }
}

struct pt_store *pt_store_open(const char *cache, enum pt_digest_algorithm algorithm, struct pt_err *err)
{
    struct pt_store *s = calloc(1, sizeof(*s));
    if (!s) {
        pt_err_set(err, "the store of files: out of memory");
        return NULL;
    }
    s->dir = -1;
    s->algorithm = algorithm;
    pthread_mutex_init(&s->lock, NULL);
    if (getrandom(&s->seed, sizeof(s->seed), GRND_NONBLOCK) < 0)
        s->seed = (uint64_t)getpid();
    read_boot(s->boot);
    if (make_folder(s, cache) < 0 || scan(s) < 0) {
        pt_err_set_kind(err, PT_ERR_INFRA, "cannot use '%s/store' on the host: %s", cache, strerror(errno));
        pt_store_close(s);
        return NULL;
    }
    pt_store_salvage(s);
    return s;
}

void pt_store_close(struct pt_store *s)
{
    if (!s)
        return;
    int saved = errno;
    pt_store_end(s, NULL);
    for (size_t i = 0; i < s->npacks; i++)
        pt_store_pack_destroy(s->packs[i]);
    free(s->packs);
    free(s->table);
    free(s->notes.blobs);
    free(s->folder);
    if (s->dir >= 0)
        close(s->dir);
    pthread_mutex_destroy(&s->lock);
    free(s);
    errno = saved;
}

bool pt_store_has(const struct pt_store *s, const unsigned char digest[PT_DIGEST], uint32_t size)
{
    struct store_pack *pack;
    return s && size > 0 && pt_store_find(s, digest, size, &pack);
}
