/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_seeds CORPUS: writes the first inputs of every target, binary ones with our own encoders, into
 * CORPUS/TARGET/NAME. The first byte of each is 0: no allocation fails. */
#include "common/message_across.h"
#include "common/message_group.h"
#include "common/mux.h"
#include "fuzz_kinds.h"
#include "fuzz_ledger.h"
#include "fuzz_tree.h"
#include "remote/sshcodec.h"
#include "sync/compress.h"
#include "sync/delta.h"
#include "sync/here/hashcache.h"
#include "sync/here/known.h"
#include "sync/here/tar.h"
#include "sync/offer.h"
#include "sync/sealed.h"
#include "sync/there/record.h"
#include "sync/there/store.h"
#include "whole_file.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *corpus;

void fuzz_one(const uint8_t *data, size_t size)
{
    (void)data, (void)size;
}

/* Writes an input and empties b. */
static void emit(const char *target, const char *name, struct pt_buf *b)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", corpus, target);
    if (mkdir(path, 0777) < 0 && errno != EEXIST)
        err(1, "%s", path);
    snprintf(path, sizeof(path), "%s/%s/%s", corpus, target, name);
    FILE *f = fopen(path, "we");
    if (b->bad || !f || fputc(0, f) == EOF || fwrite(b->data, 1, b->len, f) != b->len || fclose(f))
        err(1, "%s", path);
    pt_buf_clear(b);
}

static void text_of(const char *target, const char *name, const char *text, size_t n)
{
    struct pt_buf b = {0};
    pt_buf_append(&b, text, n);
    emit(target, name, &b);
    pt_buf_fini(&b);
}

/* A literal, with what zero bytes it has. */
#define TEXT(target, name, text) text_of(target, name, text, sizeof(text) - 1)

/* --- messages --- */

static void put_frame(struct pt_buf *out, uint8_t type, const void *data, size_t n)
{
    size_t mark = pt_frame_begin(out, type);
    pt_buf_append(out, data, n);
    pt_frame_end(out, mark);
}

/* The one frame in b becomes an input of its kind, without its head and number. */
static void emit_message(enum fuzz_kind kind, const char *name, struct pt_buf *b)
{
    struct pt_buf out = {0};
    size_t head = PT_FRAME_HEAD + (kind == KIND_DEATH || kind == KIND_RANKS || kind == KIND_FALL ? 8 : 0);
    pt_put_u8(&out, (uint8_t)kind);
    pt_buf_append(&out, b->data + head, b->len - head);
    emit("message", name, &out);
    pt_buf_fini(&out);
    pt_buf_clear(b);
}

static void put_report(struct pt_buf *b, const char *json)
{
    size_t mark = pt_frame_begin(b, PT_L_REPORT);
    pt_put_u64(b, 0);
    for (uint32_t i = 0; i < 4; i++)
        pt_put_u32(b, i);
    pt_put_u8(b, PT_OUTCOME_PASSED);
    pt_put_bytes(b, json, strlen(json));
    pt_frame_end(b, mark);
}

static struct pt_death a_death(void)
{
    return (struct pt_death){.rank = PT_MEMBER(2, 1),
                             .bundle = 3,
                             .attempt = 1,
                             .test = 7,
                             .file = PT_NONE,
                             .path = (char *)"",
                             .phase = PT_PHASE_CALL,
                             .cause = PT_CAUSE_DIED,
                             .status = 11,
                             .duration_us = 5000,
                             .began_us = 1700000000000000,
                             .lasted_us = 6000,
                             .stack = (char *)"File x",
                             .output = (char *)"out"};
}

static void control_messages(void)
{
    struct pt_buf b = {0};
    char run[] = "r1", text[] = "x", path[] = "/p", none[] = "";
    struct pt_env env = {text, text};
    struct pt_setup setup = {
        .protocol = PT_PROTOCOL, .run = run, .project = text, .cwd = none, .python = none};
    setup.mpirun = setup.init = setup.shared = setup.proof = setup.secret = setup.preload = none;
    setup.hash_seed = text;
    setup.env = &env;
    setup.nenv = 1;
    pt_setup_encode(&setup, &b);
    emit_message(KIND_SETUP, "setup", &b);
    struct pt_ready ready = {PT_PROTOCOL, text, 4, 1u << 30, text, path, path, path};
    pt_ready_encode(&ready, &b);
    emit_message(KIND_READY, "ready", &b);
    struct pt_attach attach = {PT_PROTOCOL, run, 1, path};
    pt_attach_encode(&attach, &b);
    emit_message(KIND_ATTACH, "attach", &b);
    struct pt_launch launch = {1, 4, text, text, text, none, run};
    pt_launch_encode(&launch, PT_C_LAUNCH, &b);
    emit_message(KIND_LAUNCH, "launch", &b);
    unsigned char sent[] = {5};
    char *keep[] = {text};
    struct pt_offer offer = {
        .algorithm = 1, .how = 1, .archive = true, .blobs = 3, .sent = sent, .keep = keep, .nkeep = 1};
    pt_offer_encode(&offer, &b);
    emit_message(KIND_OFFER, "offer", &b);
    struct pt_synced synced = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    pt_synced_encode(&synced, &b);
    emit_message(KIND_SYNCED, "synced", &b);
    pt_buf_fini(&b);
}

static void link_messages(void)
{
    struct pt_buf b = {0};
    char run[] = "r1", who[] = "me", nodeid[] = "a.py::t", path[] = "a.py";
    uint32_t numbers[] = {4, 9};
    struct pt_waits waits = {run, who, 1, 2};
    pt_waits_encode(&waits, &b);
    emit_message(KIND_WAITS, "waits", &b);
    struct pt_limits limits = {PT_NONE, 0, 500, 10000, 3000, PT_FRESH_TEST};
    pt_limits_encode(&limits, &b);
    emit_message(KIND_LIMITS, "limits", &b);
    struct pt_steal steal = {3, numbers, 2};
    pt_steal_encode(&steal, PT_L_STEAL, &b);
    emit_message(KIND_STEAL, "steal", &b);
    struct pt_bundle_test test = {4, 0, nodeid};
    struct pt_bundle_file file = {path, &test, 1};
    struct pt_share spread[] = {{0, 1}, {2, 1}};
    struct pt_bundle bundle = {3, 1, 0, PT_NONE, 2, PT_BUNDLE_NUMA, spread, 2, &file, 1};
    pt_bundle_encode(&bundle, PT_L_BUNDLE, &b);
    emit_message(KIND_BUNDLE, "bundle", &b);
    struct pt_death death = a_death();
    pt_death_encode(&death, 1, &b);
    emit_message(KIND_DEATH, "death", &b);
    pt_buf_fini(&b);
}

static void group_messages(void)
{
    struct pt_buf b = {0}, report = {0}, died = {0};
    struct pt_size sizes[] = {{4, 2}, {2, 9}};
    pt_sizes_encode(&(struct pt_sizes){2, sizes}, &b);
    emit_message(KIND_SIZES, "sizes", &b);
    struct pt_death death = a_death();
    put_report(&report, "{}");
    pt_death_encode(&death, 0, &died);
    struct pt_rank_word words[] = {{PT_WORD_REPORT, report.data, report.len}, {PT_WORD_NONE, NULL, 0}};
    struct pt_ranks ranks = {3, 1, 7, 0, 2, words};
    pt_ranks_encode(&ranks, 1, &b);
    emit_message(KIND_RANKS, "ranks", &b);
    words[1] = (struct pt_rank_word){PT_WORD_DEATH, died.data, died.len};
    char path[] = "a.py", text[] = "why";
    struct pt_fall fall = {3, 1, 0, 2, 7, path, PT_PHASE_CALL, PT_CAUSE_DIED, 1, text, words};
    pt_fall_encode(&fall, 1, &b);
    emit_message(KIND_FALL, "fall", &b);
    pt_buf_fini(&b);
    pt_buf_fini(&report);
    pt_buf_fini(&died);
}

static void across_messages(void)
{
    struct pt_buf b = {0};
    char path[] = "/p", mpi[] = "4.1.4", word[] = "orted";
    char *list[] = {word};
    uint32_t ip[] = {0x0a000001};
    struct pt_address address = {ip[0], 24};
    struct pt_listening listening = {mpi, path, path, 1, 4000, "0123456789abcde", &address, 1};
    pt_listening_encode(&listening, &b);
    emit_message(KIND_LISTENING, "listening", &b);
    struct pt_probe_host probed = {1, 4000, "0123456789abcde", 1, ip};
    pt_probe_encode(&(struct pt_probe){1, &probed}, &b);
    emit_message(KIND_PROBE, "probe", &b);
    struct pt_reached_host reached = {1, ip[0]};
    pt_reached_encode(&(struct pt_reached){1, &reached}, &b);
    emit_message(KIND_REACHED, "reached", &b);
    struct pt_peer peer = {1, address, path, path, 1};
    pt_peers_encode(&(struct pt_peers){1, &peer}, &b);
    emit_message(KIND_PEERS, "peers", &b);
    struct pt_relay relay = {1, ip[0], 0, PT_RELAY_ORTED, list, 1};
    pt_relay_encode(&relay, PT_C_RELAY, &b);
    emit_message(KIND_RELAY, "relay", &b);
    pt_buf_fini(&b);
}

static void put_mux(struct pt_buf *b, uint8_t kind, uint32_t stream, uint32_t value)
{
    pt_put_u8(b, kind);
    pt_put_u32(b, stream);
    pt_put_u32(b, value);
}

static void streams(void)
{
    struct pt_buf b = {0};
    put_report(&b, "{}");
    put_report(&b, "{\"nodeid\":\"a\"}");
    emit("frames", "two", &b);
    pt_put_u8(&b, 1);
    put_mux(&b, 1, 16, PT_MUX_KIND_LINK);
    put_mux(&b, 2, 16, 3);
    pt_buf_append(&b, "abc", 3);
    put_mux(&b, 3, 16, 0);
    put_mux(&b, 4, 16, 0);
    put_mux(&b, 2, 0, 1);
    pt_buf_append(&b, "x", 1);
    emit("mux", "peer", &b);
    /* open, send, bring, credit, send much, bring, close, bring */
    TEXT("mux", "two_ends",
         "\0\x00\x01\x43\x60\x05\xff\x13\xff\x05\xff\xc2\x00\x85\xff\x41\x00\x05\xff\xc1\x00\x85\xff");
    pt_buf_fini(&b);
}

static void frames_of_peers(void)
{
    struct pt_buf b = {0};
    char text[] = "x", path[] = "/p";
    struct pt_ready ready = {PT_PROTOCOL, text, 4, 1u << 30, text, path, path, path};
    struct pt_reached_host reached = {1, 9};
    struct pt_address address = {9, 24};
    struct pt_listening listening = {text, path, path, 1, 4000, "0123456789abcde", &address, 1};
    static const uint8_t plain[] = {PT_C_PEERED, PT_C_LAUNCHED, PT_C_STOPPED, PT_C_SYNCED};
    pt_put_u8(&b, 1);
    put_frame(&b, PT_C_ATTACHED, "\0\0\0\1", 4);
    put_frame(&b, PT_C_MISSING, "\0\0\0\1\0\0\0\0", 8);
    put_frame(&b, PT_C_EXITED, "\1\0\0\0\x09\0\0\0\1x", 10);
    put_frame(&b, PT_C_LOG, "\1\0\0\0\1x", 6);
    put_frame(&b, PT_C_PONG, "\0\0\0\0\0\0\0\1", 8);
    put_frame(&b, PT_C_PYTHON, "\0\0\0\1a\0\0\0\1b\0\0\0\1c", 15);
    put_frame(&b, PT_C_CLEANED, "\0\0\0\0\0\0\0\1\0\0\0\0", 12);
    for (size_t i = 0; i < sizeof(plain); i++)
        put_frame(&b, plain[i], NULL, 0);
    pt_listening_encode(&listening, &b);
    pt_reached_encode(&(struct pt_reached){1, &reached}, &b);
    pt_ready_encode(&ready, &b);
    put_frame(&b, PT_C_FAIL, "\1\0\0\0\1a\0\0\0\1b", 11);
    emit("control", "all", &b);
    pt_put_u8(&b, 0);
    put_frame(&b, PT_C_MISSING, "\0\0\0\0", 4);
    emit("control", "none_missing", &b);
    pt_put_u8(&b, 1);
    size_t mark = pt_frame_begin(&b, PT_L_HELLO);
    pt_put_u32(&b, PT_PROTOCOL);
    pt_put_str(&b, "r1");
    pt_put_u32(&b, 3);
    pt_put_u32(&b, 1);
    pt_put_u32(&b, 4);
    pt_put_u64(&b, 0);
    pt_put_u64(&b, 0);
    pt_frame_end(&b, mark);
    put_frame(&b, PT_L_GOT, "\0\0\0\0\0\0\0\1", 8);
    emit("link", "hello", &b);
    pt_put_u8(&b, 0);
    put_frame(&b, PT_L_HELLO, "\0\0\0\1", 4);
    emit("link", "version", &b);
    pt_buf_fini(&b);
}

/* --- trees --- */

/* The entries of an encoded tree, behind its magic number, algorithm, root and count. */
static void put_entries(struct pt_buf *out, const struct pt_manifest *m)
{
    for (size_t i = 0; i < pt_manifest_count(m); i++)
        pt_manifest_put_entry(out, pt_manifest_get(m, i), PT_PUT_ALL);
}

static void trees(const struct pt_manifest *m)
{
    struct pt_buf b = {0}, plain = {0}, packed = {0};
    pt_put_u8(&b, 2);
    pt_manifest_encode(m, &b);
    emit("manifest", "whole", &b);
    pt_put_u8(&b, 1);
    pt_put_u8(&b, 0);
    put_entries(&b, m);
    emit("manifest", "entries", &b);
    struct pt_manifest *other = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL);
    tree_file(other, "a", "changed");
    tree_file(other, "new", "n");
    FUZZ_CHECK(pt_manifest_seal(other, NULL) == 0 && pt_delta_encode(m, other, &plain) == 0);
    pt_put_u8(&b, 0);
    pt_buf_append(&b, plain.data, plain.len);
    emit("delta", "whole", &b);
    pt_put_u8(&b, 1);
    pt_put_u8(&b, PT_DIGEST_BLAKE2B);
    pt_buf_append(&b, plain.data + 5 + 2 * PT_DIGEST, plain.len - 5 - 2 * PT_DIGEST);
    emit("delta", "changes", &b);
    pt_put_u8(&b, 64 + 32 + 1); /* wrapped, a delta */
    pt_buf_append(&b, plain.data, plain.len);
    emit("bulk", "delta_wrapped", &b);
    FUZZ_CHECK(pt_deflate(plain.data, plain.len, &packed, NULL) == 0);
    pt_put_u8(&b, 1);
    put_frame(&b, PT_B_DELTA, NULL, 0);
    put_frame(&b, PT_B_DATA, packed.data, packed.len);
    put_frame(&b, PT_B_END, NULL, 0);
    emit("bulk", "delta", &b);
    pt_buf_clear(&packed);
    pt_buf_clear(&plain);
    pt_manifest_encode(m, &plain);
    FUZZ_CHECK(pt_deflate(plain.data, plain.len, &packed, NULL) == 0);
    pt_put_u8(&b, 0);
    put_frame(&b, PT_B_MANIFEST, NULL, 0);
    put_frame(&b, PT_B_DATA, packed.data, packed.len);
    put_frame(&b, PT_B_END, NULL, 0);
    emit("bulk", "manifest", &b);
    TEXT("bulk", "segment_wrapped", "\x62segment");
    TEXT("bulk", "segment_short", "\x44segment");
    pt_put_u8(&b, 2);
    put_frame(&b, PT_B_ARCHIVE, NULL, 0);
    put_frame(&b, PT_B_SEGMENT, "\0\0\0\0\2\0\0\0\2ab", 11);
    put_frame(&b, PT_B_END, NULL, 0);
    emit("bulk", "segment", &b);
    for (int i = 0; i < 3; i++) { /* as it should be, followed by more, and no zstd */
        pt_put_u8(&b, 2);
        put_frame(&b, PT_B_ARCHIVE, NULL, 0);
        size_t mark = pt_frame_begin(&b, PT_B_SEGMENT);
        pt_put_u8(&b, 1);
        pt_put_u32(&b, (uint32_t)plain.len);
        if (i == 1)
            pt_buf_append(&packed, "more", 4);
        pt_put_bytes(&b, i == 2 ? plain.data : packed.data, packed.len);
        pt_frame_end(&b, mark);
        put_frame(&b, PT_B_END, NULL, 0);
        emit("bulk", i == 0 ? "segment_packed" : i == 1 ? "segment_and_more" : "segment_plain", &b);
    }
    pt_put_u8(&b, 3);
    put_frame(&b, PT_B_ARCHIVE, NULL, 0);
    put_frame(&b, PT_B_SEGMENT, "x", 1);
    put_frame(&b, PT_B_END, NULL, 0);
    emit("bulk", "dropped", &b);
    pt_manifest_destroy(other);
    other = pt_manifest_create(PT_DIGEST_SHA256, NULL, NULL);
    struct pt_entry entries[] = {{.path = "d", .type = PT_ENTRY_DIR, .mode = 0755},
                                 {.path = "d/up", .link = "..", .type = PT_ENTRY_LINK},
                                 {.path = "d/way", .link = "./up//e/../d/up/loop", .type = PT_ENTRY_LINK},
                                 {.path = "e", .type = PT_ENTRY_DIR, .mode = 0700},
                                 {.path = "loop", .link = "loop", .type = PT_ENTRY_LINK}};
    for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++)
        FUZZ_CHECK(pt_manifest_add(other, &entries[i], NULL) == 0);
    pt_put_u8(&b, 1);
    pt_put_u8(&b, 1);
    put_entries(&b, other);
    emit("manifest", "links", &b);
    pt_manifest_destroy(other);
    pt_buf_fini(&b);
    pt_buf_fini(&plain);
    pt_buf_fini(&packed);
}

/* --- archives --- */

static void *room(void *arg, size_t *n)
{
    *n = 4096;
    return pt_buf_reserve(arg, *n);
}

static void took(void *arg, size_t n)
{
    struct pt_buf *b = arg;
    b->len += n;
}

/* "alpha" and "beta", as the tree has them. */
static void put_archive(struct pt_buf *out)
{
    struct pt_tar_out to = {room, took, out};
    struct pt_tar *t = pt_tar_create(&to, NULL);
    int fd = fuzz_fd("alphabeta", 9);
    FUZZ_CHECK(t && pt_tar_blob(t, 0, fd, 0, 5, NULL) == PT_TAR_DONE &&
               pt_tar_blob(t, 1, fd, 5, 4, NULL) == PT_TAR_DONE && pt_tar_end(t, NULL) == PT_TAR_DONE);
    pt_tar_destroy(t);
    close(fd);
}

/* A header of a ustar archive for what has so many bytes. */
static void put_header(struct pt_buf *out, const char *name, char type, unsigned size)
{
    char h[512] = "";
    unsigned sum = 0;
    snprintf(h, 100, "%s", name);
    snprintf(h + 100, 8, "%07o", 0644);
    snprintf(h + 124, 12, "%011o", size);
    memset(h + 148, ' ', 8);
    h[156] = type;
    memcpy(h + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof(h); i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    pt_buf_append(out, h, sizeof(h));
}

static void put_block(struct pt_buf *out, const char *text)
{
    char block[512] = "";
    snprintf(block, sizeof(block), "%s", text);
    pt_buf_append(out, block, sizeof(block));
}

static void archives(void)
{
    struct pt_buf b = {0}, tar = {0};
    put_archive(&tar);
    static const uint8_t ways[] = {0, 1 + 14, 64, 128 + 6, 2, 16 + 4};
    static const char *const names[] = {"whole", "packed", "stored", "untar", "pieces", "given_up"};
    for (size_t i = 0; i < sizeof(ways); i++) {
        pt_put_u8(&b, ways[i]);
        pt_buf_append(&b, tar.data, tar.len);
        emit("archive", names[i], &b);
    }
    pt_put_u8(&b, 0);
    put_header(&b, "../0", '0', 5);
    put_block(&b, "alpha");
    emit("archive", "above", &b);
    pt_put_u8(&b, 128);
    put_header(&b, "0", '2', 0);
    emit("archive", "link", &b);
    pt_put_u8(&b, 0);
    put_header(&b, "d/", '5', 0);
    put_header(&b, "d/a.py", '0', 5);
    put_block(&b, "alpha");
    put_block(&b, "");
    put_block(&b, "");
    emit("smalltar", "two", &b);
    pt_put_u8(&b, 3);
    put_header(&b, "link/a", '0', 1);
    put_block(&b, "a");
    emit("smalltar", "by_link", &b);
    pt_put_u8(&b, 1);
    put_header(&b, "../out/a", '0', 1);
    put_block(&b, "a");
    emit("smalltar", "above", &b);
    pt_buf_fini(&b);
    pt_buf_fini(&tar);
}

/* --- what lies on disk --- */

static void put_file(struct pt_buf *out, const char *name)
{
    struct pt_err why = PT_ERR_INIT;
    FUZZ_CHECK(pt_whole_file(fuzz_path(name), 1 << 20, out, &why) == 0);
}

static void put_sized(struct pt_buf *out, const struct pt_buf *part)
{
    pt_put_u8(out, (uint8_t)(part->len >> 8));
    pt_put_u8(out, (uint8_t)part->len);
    pt_buf_append(out, part->data, part->len);
}

static void stores(const struct pt_manifest *m)
{
    struct pt_buf tar = {0}, index = {0}, pack = {0}, b = {0};
    put_archive(&tar);
    struct pt_segment segment = {.data = tar.data, .size = 1024, .raw = 1024};
    struct pt_segment rest = {
        .data = tar.data + 1024, .size = (uint32_t)tar.len - 1024, .raw = (uint32_t)tar.len - 1024};
    struct pt_store *s = pt_store_open(fuzz_folder(), PT_DIGEST_BLAKE2B, NULL);
    FUZZ_CHECK(s && pt_store_begin(s, NULL) == 0 && pt_store_segment(s, &segment, NULL) == 0 &&
               pt_store_segment(s, &rest, NULL) == 0);
    pt_store_note(s, pt_manifest_blob(m, 0).digest, 512, 5);
    pt_store_note(s, pt_manifest_blob(m, 1).digest, 1536, 4);
    FUZZ_CHECK(pt_store_end(s, NULL) == 0);
    pt_store_close(s);
    DIR *d = opendir(fuzz_path("store/blake2b"));
    for (const struct dirent *e; d && (e = readdir(d));) {
        char name[300];
        snprintf(name, sizeof(name), "store/blake2b/%s", e->d_name);
        if (strstr(name, ".idx"))
            FUZZ_CHECK(pt_sealed_read(fuzz_path(name), &index) == 0);
        else if (strstr(name, ".pack"))
            put_file(&pack, name);
    }
    closedir(d);
    FUZZ_CHECK(index.len && pack.len);
    pt_put_u8(&b, 4); /* a sealed index, a pack */
    put_sized(&b, &index);
    pt_buf_append(&b, pack.data, pack.len);
    emit("store", "pack", &b);
    pt_put_u8(&b, 1); /* none, unfinished */
    pt_put_u8(&b, 0);
    pt_put_u8(&b, 0);
    pt_buf_append(&b, pack.data, pack.len);
    emit("store", "part", &b);
    fuzz_remove("");
    pt_buf_fini(&tar);
    pt_buf_fini(&index);
    pt_buf_fini(&pack);
    pt_buf_fini(&b);
}

static void records(struct pt_manifest *m)
{
    struct pt_buf b = {0};
    struct pt_stamp stamps[8] = {{.ino = 1, .size = 5, .mtime_ns = 7, .ctime_ns = 8}};
    struct pt_record record = {.manifest = m, .stamps = stamps};
    FUZZ_CHECK(pt_record_save(&record, fuzz_path("record")) == 0);
    pt_put_u8(&b, 0);
    put_file(&b, "record");
    emit("record", "file", &b);
    pt_put_u8(&b, 1);
    FUZZ_CHECK(pt_sealed_read(fuzz_path("record"), &b) == 0);
    emit("record", "content", &b);
    pt_put_u8(&b, 3);
    pt_buf_append(&b, "boot", 5);
    for (size_t i = 0; i < pt_manifest_count(m) * 32; i++)
        pt_put_u8(&b, (uint8_t)i);
    emit("record", "stamps", &b);
    struct pt_known *known = pt_known_create();
    FUZZ_CHECK(known && pt_known_add(known, m) == 1);
    pt_put_u8(&b, 3);
    pt_put_u8(&b, 100); /* rate; the root is that of the tree, which is whole */
    pt_put_u8(&b, 0);
    pt_put_u8(&b, 0);
    pt_known_encode(known, &b);
    emit("sent", "known", &b);
    TEXT("sent", "none", "\1content");
    pt_known_destroy(known);
    struct pt_hashcache *c = pt_hashcache_open(fuzz_path("hashes"), PT_DIGEST_BLAKE2B);
    struct pt_chunk chunks[2] = {{.size = 5u << 20}, {.size = 4u << 20}};
    struct pt_content large = {.stamp = {1, 2, 9u << 20, 3, 4}, .chunks = chunks, .nchunks = 2};
    struct pt_content small = {.stamp = {1, 3, 5, 3, 4}};
    FUZZ_CHECK(pt_chunks_digest(PT_DIGEST_BLAKE2B, chunks, 2, large.digest) == 0);
    pt_hashcache_put(c, &large);
    pt_hashcache_put(c, &small);
    FUZZ_CHECK(pt_hashcache_save(c) == 0);
    pt_hashcache_destroy(c);
    pt_put_u8(&b, 0);
    put_file(&b, "hashes");
    emit("hashcache", "file", &b);
    pt_put_u8(&b, 0x31);
    put_file(&b, "hashes");
    emit("hashcache", "repaired", &b);
    fuzz_remove("");
    pt_buf_fini(&b);
}

/* --- ssh --- */

static void put_part(struct pt_buf *out, const char *text)
{
    struct pt_buf part = {0};
    pt_buf_append(&part, text, strlen(text));
    put_sized(out, &part);
    pt_buf_fini(&part);
}

/* A public key, or with `cert` a certificate for it, as it goes over the wire. */
static void put_key(struct pt_buf *out, bool cert)
{
    unsigned char point[32] = {1, 2, 3, [31] = 9};
    pt_put_str(out, cert ? "ssh-ed25519-cert-v01@openssh.com" : "ssh-ed25519");
    if (cert)
        pt_put_str(out, "nonce");
    pt_put_bytes(out, point, sizeof(point));
    if (cert)
        pt_put_u64(out, 1);
}

static void put_base64(char *out, size_t room_there, const char *before, const struct pt_buf *raw)
{
    size_t n = strlen(before);
    FUZZ_CHECK(n + (raw->len + 2) / 3 * 4 + 1 < room_there);
    memcpy(out, before, n);
    pt_base64_encode(raw->data, raw->len, out + n);
}

static void ssh(void)
{
    struct pt_buf b = {0}, key = {0}, cert = {0}, box = {0};
    char public[200], certificate[300], private[500], line[2000];
    put_key(&key, false);
    put_key(&cert, true);
    put_base64(public, sizeof(public), "ssh-ed25519 ", &key);
    put_base64(certificate, sizeof(certificate), "ssh-ed25519-cert-v01@openssh.com ", &cert);
    pt_buf_append(&box, "openssh-key-v1", 15);
    pt_put_str(&box, "none");
    pt_put_str(&box, "none");
    pt_put_str(&box, "");
    pt_put_u32(&box, 1);
    pt_put_bytes(&box, key.data, key.len);
    put_base64(private, sizeof(private), "-----BEGIN OPENSSH PRIVATE KEY-----\n", &box);
    strcat(private, "\n-----END OPENSSH PRIVATE KEY-----\n");
    pt_put_u8(&b, 15);
    put_part(&b, private);
    put_part(&b, public);
    put_part(&b, certificate);
    put_part(&b, certificate);
    pt_put_u8(&b, 12); /* the agent's answer */
    pt_put_u32(&b, 2);
    pt_put_bytes(&b, key.data, key.len);
    pt_put_str(&b, "comment");
    pt_put_bytes(&b, cert.data, cert.len);
    pt_put_str(&b, "");
    emit("sshkeys", "all", &b);
    pt_put_u8(&b, 16);
    put_part(&b, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
    put_part(&b, public);
    emit("sshkeys", "encrypted", &b);
    pt_put_u8(&b, 5);
    pt_buf_append(&b, "h1", 3);
    snprintf(line, sizeof(line),
             "# names\nh1,!h2,*.x %s comment\n@cert-authority * %s\n[h1]:2222 %s\n@revoked h3 %s\n", public,
             public, public, public);
    pt_buf_append(&b, line, strlen(line));
    emit("knownhosts", "lines", &b);
    pt_put_u8(&b, 0);
    pt_buf_append(&b, "h", 2);
    snprintf(line, sizeof(line), "|1|AQIDBAUGBwgJCgsMDQ4PEBESExQ=|AQIDBAUGBwgJCgsMDQ4PEBESExQ= %s\n", public);
    pt_buf_append(&b, line, strlen(line));
    emit("knownhosts", "hashed", &b);
    TEXT("knownhosts", "empty", "\x01new.example\0");
    pt_buf_fini(&b);
    pt_buf_fini(&key);
    pt_buf_fini(&cert);
    pt_buf_fini(&box);
}

/* --- texts --- */

static void texts(void)
{
    TEXT("hosts", "list", "u@h1:8+gpu+big,[::1]:4,local:2,h2:+gpu");
    TEXT("hosts", "more", "h1+x\0h2:3+gpu,h3");
    TEXT("hostfile", "lines", "# hosts\nh1 slots=8 max_slots=9\nu@h2 slots = 4 labels=gpu,big\n\n[::1]\n");
    TEXT("sshconfig", "all",
         "h1\0me\0Host h1 !h2 *.x\n  HostName %h.example\n  Port 2222\n  User \"a b\"\n  IdentityFile "
         "~/.ssh/%r_key\n"
         "Match final host *.example user me\n  ProxyJump j1,j2\n  ConnectTimeout 1h30m\n  "
         "StrictHostKeyChecking "
         "accept-new\nInclude more*\nMatch exec \"true\"\n  Port 1\nMatch !all\n\0Host *\n "
         "UserKnownHostsFile a b\n "
         "IdentitiesOnly=yes\n IdentityAgent $SSH\n AddressFamily inet6\n CertificateFile ${HOME}/c\n "
         "HashKnownHosts no\n");
    TEXT("sshconfig", "others",
         "h1\0\0Match originalhost h1 localuser x canonical\nProxyCommand none\nMatch all\nHostKeyAlias a\n"
         "PubkeyAuthentication unbound\nNumberOfPasswordPrompts 3\nBatchMode true\nIdentityFile none\n"
         "IdentityFile %d%h%i%k%l%L%n%p%r%u%%\nIdentityAgent SSH_AUTH_SOCK\nGlobalKnownHostsFile none\n");
    TEXT("sshconfig", "long_time", "h\0\0ConnectTimeout 10000000\nPort 99999\n");
    TEXT("sshconfig", "longer_time", "h\0\0ConnectTimeout 7102w3d\n");
    TEXT("sshtarget", "whole", "ssh://me@[::1]:22");
    TEXT("sshtarget", "words", "h1:2222 'a \\' b' \"c\" d\\ e # f");
    TEXT("json", "all",
         "{\"a\":[1,-2.5e3,true,false,null,\"x\\u00e9\\n\\ud83d\\ude00\\ud800\\u0000\"],\"b\":{},\"e\":0.1,"
         "\"c\":{\"a\":\"\\\"\"}}");
    TEXT("report", "report",
         "\0{\"nodeid\":\"t/a.py::x\",\"file\":\"t/"
         "a.py\",\"outcome\":\"failed\",\"phase\":\"call\",\"started\":1.5,"
         "\"duration\":0.5,\"setup\":0.1,\"call\":0.2,\"teardown\":0.1,\"counts\":{\"failed\":1},\"message\":"
         "\"m\","
         "\"longrepr\":\"l\",\"stdout\":\"o\",\"stderr\":\"e\",\"log\":\"g\",\"problems\":[{\"phase\":"
         "\"call\","
         "\"category\":\"failed\",\"headline\":\"h\",\"longrepr\":\"l\",\"sections\":[[\"t\",\"x\"]]}],"
         "\"skip\":"
         "[\"a.py\",3,\"why\"],\"properties\":[[\"a\",\"b\"]],\"junit\":[],\"junit_counts\":{\"tests\":1},"
         "\"ranks\":2,"
         "\"hosts\":[\"h\"],\"shares\":[2],\"stop\":\"s\"}");
    TEXT("report", "missing",
         "\1{\"kind\":\"missing\",\"path\":\"a.py\",\"test\":3,\"nodeid\":\"a\",\"found\":[\"b\",1]}");
    TEXT("report", "warning",
         "\1{\"kind\":\"warning\",\"message\":\"m\",\"category\":\"c\",\"lineno\":3,\"when\":\"runtest\"}");
    TEXT("report", "collect",
         "\1{\"kind\":\"collect\",\"path\":\"a\",\"report\":{\"nodeid\":\"a\",\"outcome\":\"error\"}}");
    TEXT("report", "stop", "\1{\"kind\":\"stop\",\"reason\":\"r\",\"exit\":3}");
    TEXT("report", "file", "\1{\"kind\":\"file\",\"path\":\"a\",\"seconds\":0.5,\"modules\":[\"m\"]}");
    TEXT("report", "suite", "\1{\"kind\":\"suite\",\"properties\":[]}");
    TEXT("report", "death", "\2\2\3\x0f\0\x0bstack\0612 MiB, limit 512 MiB\nout");
    TEXT("ranks", "passed",
         "\0\0\1\2{\"nodeid\":\"a\",\"outcome\":\"passed\",\"duration\":0.5,\"stdout\":\"x\",\"properties\":["
         "[\"a\",\"b\"]]}\0"
         "\2{\"nodeid\":\"\",\"outcome\":\"passed\",\"junit\":[[\"testcase\",{\"name\":\"n\",\"time\":\"1\"},"
         "null,[]]],"
         "\"junit_counts\":{\"tests\":1}}");
    TEXT("ranks", "failed",
         "\2\0\2\2{\"nodeid\":\"a\",\"outcome\":\"failed\",\"phase\":\"call\",\"message\":\"m\",\"longrepr\":"
         "\"l\","
         "\"problems\":[{\"phase\":\"call\",\"category\":\"failed\",\"headline\":\"h\",\"longrepr\":\"l\","
         "\"sections\":"
         "[[\"Captured stdout call\",\"x\"]]}],\"stderr\":\"e\",\"log\":\"g\",\"counts\":{\"failed\":1}}\0"
         "\2{\"nodeid\":\"a\",\"outcome\":\"skipped\",\"message\":\"set-up failed on rank "
         "0\",\"skip\":[\"a\",1,\"r\"]}\0\0\0");
    TEXT("ranks", "fall",
         "\1\0\2\1File \"a.py\", line 3 in f\nNative frames:\n#0 0x1 in "
         "PyEval\n\0out\0\2{\"nodeid\":\"a\",\"outcome\":"
         "\"failed\"}\0\x11stack 0x12\0output\0");
    TEXT(
        "runtime", "files",
        "\2{\"t/a.py\":{\"execution_time\":1.5,\"setup_time\":0.25,\"teardown_time\":0,\"testcase_count\":3},"
        "\"t/z.py\":{\"execution_time\":1,\"setup_time\":0,\"teardown_time\":0}}");
    TEXT("runtime", "unknown",
         "\0{\"t/"
         "a.py\":{\"execution_time\":9.5,\"setup_time\":0.25,\"teardown_time\":0,\"testcase_count\":30},\"t/"
         "b.py\":"
         "{\"execution_time\":1,\"setup_time\":3,\"teardown_time\":0,\"testcase_count\":2}}");
    TEXT("ranks", "junit",
         "\0\0\1\2{\"nodeid\":\"a\",\"outcome\":\"failed\",\"duration\":0.5,\"call\":0.25,\"junit\":[["
         "\"testcase\",{\"name\":"
         "\"n\",\"time\":\"0.500\"},null,[[\"failure\",{\"message\":\"m\"},\"f\",[]],[\"system-out\",{},"
         "\"o\",[]],[\"properties\","
         "{},null,[[\"property\",{\"name\":\"a\",\"value\":\"b\"},null,[]]]]]],[\"testcase\",{},null,[["
         "\"error\",null,\"e\",[]]]]],"
         "\"junit_counts\":{\"tests\":2,\"failures\":1,\"errors\":1}}\0"
         "\2{\"nodeid\":\"a\",\"outcome\":\"error\",\"duration\":0.75,\"stop\":\"s\",\"junit\":[["
         "\"testcase\",{\"time\":\"0.25\"},"
         "null,[[\"error\",{},\"e\",[]],[\"system-err\",{},\"r\",[]]]]],\"problems\":[{\"phase\":"
         "\"teardown\",\"category\":\"error\"},"
         "{\"phase\":\"setup\",\"category\":\"error\",\"headline\":\"h\",\"longrepr\":\"l\"}]}");
    TEXT("ranks", "skipped",
         "\0\0\1\2{\"nodeid\":\"a\",\"outcome\":\"skipped\",\"message\":\"m\",\"skip\":[\"a.py\",3,\"r\"],"
         "\"junit\":[[\"testcase\","
         "{},null,[[\"skipped\",{\"type\":\"t\"},\"s\",[]]]]]}\0\2{\"nodeid\":\"a\",\"outcome\":\"skipped\","
         "\"skip\":[\"a.py\",3,\"r\"]}");
    TEXT("ranks", "some_skipped",
         "\0\0\1\2{\"nodeid\":\"a\",\"outcome\":\"skipped\",\"phase\":\"setup\",\"message\":\"m\"}\0\2{"
         "\"nodeid\":\"a\",\"outcome\":"
         "\"passed\",\"phase\":\"call\"}");
    TEXT("ranks", "fall_elsewhere",
         "\1\3\x43\1File \"a.py\", line 3 in "
         "f\0out\0\x24{\"nodeid\":\"a\",\"outcome\":\"failed\",\"started\":5,\"duration\":0.5}\0"
         "\x1b"
         "stack 0x12\0output\0\x23\0\0");
    TEXT("lastfailed", "file", "{\"a.py::one\":true,\"c.py::six\":true}");
    TEXT("replay", "run",
         "{\"version\":1,\"how\":{\"hash_seed\":\"3\",\"isolate\":\"session\",\"dist\":\"load\"},\"hosts\":[{"
         "\"name\":\"h1\","
         "\"slots\":2},{\"name\":\"h2\"}],\"tests\":[{\"nodeid\":\"a::1\",\"host\":\"h1\",\"worker\":1,"
         "\"bundle\":3,"
         "\"started\":2.5},{\"nodeid\":\"a::1\",\"occurrence\":1,\"host\":\"h1\",\"worker\":1,\"bundle\":3},{"
         "\"nodeid\":"
         "\"b\",\"host\":\"h2\",\"worker\":0,\"bundle\":4,\"ranks\":2,\"hosts\":[\"h2\",\"h1\"],\"tries\":[{"
         "\"try\":1,"
         "\"host\":\"h1\",\"worker\":0,\"bundle\":2,\"started\":1}]},{\"nodeid\":\"-\"}]}");
    TEXT("replay", "each",
         "{\"version\":1,\"how\":{\"dist\":\"each\"},\"hosts\":[],\"tests\":[{\"nodeid\":\"a\",\"host\":"
         "\"h1\",\"worker\":0,"
         "\"bundle\":1},{\"nodeid\":\"a\",\"host\":\"h2\",\"worker\":0,\"bundle\":2}]}");
    TEXT("config", "file",
         "\3# mine\n[ptremote]\nhosts = h1:2,h2\ntimeout = 90s\nmemory-per-slot = 512m\nkeep = *.o\nkeep = "
         "build/\n"
         "schedule = sequential\nruntime-data = ~/r.json\nstate-dir = s\nreruns = 2\nenv = A=b\nlive = "
         "yes\nx\n");
    TEXT("config", "user",
         "\0init = . ~/x\nremote-dir = /r\nshuffle = 3\nlinger = 2h\nisolate = test\nverbose = 2\n");
    TEXT("config", "alone", "\x40verbose = 1\n");
    TEXT("config", "together", "\x84timeout = 3\n");
    TEXT("config", "replayed", "\xc0replay = r.json\nschedule = static\nshuffle = 1\ntarget = 5m\n");
    TEXT("config", "reruns", "\x10only-rerun = x\n");
    TEXT("logind", "files",
         "# KillUserProcesses=no\n[Login]\nKillUserProcesses = yes\nKillOnlyUsers=me "
         "you\nKillExcludeUsers=\n\0"
         "0::/user.slice/user-1000.slice/session-3.scope\n\0me");
    TEXT("words", "line", "orted -mca a 'b c' \"d \\\" e\" f\\ g");
    TEXT("words", "shell", "a; b $c");
    TEXT("boot", "need", "\7motd\nPTREMOTE-BOOT need x86_64\nPTREMOTE-AGENT 1\nrest");
    TEXT("boot", "fail", "\3PTREMOTE-BOOT fail /a: No space left on device\n");
    TEXT("boot", "other", "\1PTREMOTE-BOOT need sparc\n");
    TEXT("collect", "lines",
         "\0{\"t\":\"importing\",\"path\":\"a.py\"}\n{\"t\":\"session\",\"root\":\"/"
         "r\",\"nodes\":true}\n{\"t\":\"file\","
         "\"path\":\"a.py\",\"tests\":[]}\n\n{\"t\":\"report\",\"nodeid\":\"b\"}\n{\"t\":\"final\",\"order\":"
         "[]}\n"
         "{\"t\":\"node\",\"id\":\"gw0\"}\n{\"t\":\"ended\"}\n");
    TEXT("ledger", "good", "\0");
    TEXT("ledger", "good_written", "\x42");
    TEXT("ledger", "damaged", "\x42\0\0\x64\xff\0\x02\x10\1");
    TEXT("ledger", "newer", "\x42\0\0\x3f\5");
    TEXT("ledger", "older", "\x42\0\0\x3f\3");
    TEXT("ledger", "empty_layout", "\x42\0\0\x3f\0");
    TEXT("ledger", "none_of_ours", "\0\0\0\x44\1");
    /* a run of the number 15, so that the next is the 16th; a test of it; a file that was not collected */
    TEXT("ledger", "sixteenth", "\x43\0\x79\x1arun-99");
    TEXT("ledger", "rows",
         "\1\0\x1a\x1arun-99\2\x1a\1\x1a"
         "t/a::x\x1a"
         "t/a.py\1");
    TEXT("ledger", "collected",
         "\1\4\0\x08\0\x08\1\1\0\0\x39\1\0\0\0\0\0\xdf"
         "{\"nodeid\":\"t/b.py\",\"outcome\":\"error\",\"phase\":\"collect\"}");
    TEXT("ledger", "none", "\2SQLite format 3\0");
}

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: fuzz_seeds CORPUS");
    corpus = argv[1];
    if (mkdir(corpus, 0777) < 0 && errno != EEXIST)
        err(1, "%s", corpus);
    struct pt_manifest *m = tree_make();
    control_messages();
    link_messages();
    group_messages();
    across_messages();
    streams();
    frames_of_peers();
    trees(m);
    archives();
    stores(m);
    records(m);
    ssh();
    texts();
    pt_manifest_destroy(m);
    return 0;
}
