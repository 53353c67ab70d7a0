/* SPDX-License-Identifier: Apache-2.0 */
/* Every message that has a struct: what a decoder takes, its encoder writes again byte for byte. */
#include "common/err.h"
#include "common/message_across.h"
#include "common/message_group.h"
#include "fuzz.h"
#include "fuzz_kinds.h"
#include "sync/offer.h"

#define NUMBER 5u /* the sequence number that is written */

typedef bool try_fn(struct pt_reader *r, struct pt_buf *out);

/* try_NAME: true and the frame in out when it was taken. */
#define TRY(name, encode, check, fini)                                                                       \
    static bool try_##name(struct pt_reader *r, struct pt_buf *out)                                          \
    {                                                                                                        \
        struct pt_err err = PT_ERR_INIT;                                                                     \
        struct pt_##name m;                                                                                  \
        if (pt_##name##_decode(r, &m, &err) < 0) {                                                           \
            FUZZ_CHECK(err.msg[0] != '\0');                                                                  \
            return false;                                                                                    \
        }                                                                                                    \
        check;                                                                                               \
        fuzz_feed();                                                                                         \
        encode;                                                                                              \
        fini;                                                                                                \
        return true;                                                                                         \
    }

static void check_words(const struct pt_rank_word *words, uint32_t of)
{
    for (uint32_t i = 0; i < of; i++) {
        struct pt_death death;
        struct pt_err err = PT_ERR_INIT;
        const void *json;
        uint8_t outcome;
        size_t n;
        if (pt_word_report(&words[i], &outcome, &json, &n))
            FUZZ_CHECK(words[i].kind == PT_WORD_REPORT && outcome > 0 && outcome < PT_OUTCOMES &&
                       n < words[i].n);
        if (pt_word_death(&words[i], &death, &err) < 0) {
            FUZZ_CHECK(err.msg[0] != '\0');
        } else {
            FUZZ_CHECK(words[i].kind == PT_WORD_DEATH);
            pt_death_fini(&death);
        }
    }
}

static void check_names(unsigned phase, unsigned cause)
{
    FUZZ_CHECK(pt_phase_name(phase)[0] && pt_outcome_name(cause)[0]);
}

static void check_member(uint32_t rank)
{
    uint32_t group = 0, in = 0;
    if (pt_member_of(rank, &group, &in))
        FUZZ_CHECK(PT_MEMBER(group, in) == rank && pt_member_of(rank, NULL, NULL));
}

TRY(setup, pt_setup_encode(&m, out), , pt_setup_fini(&m))
TRY(ready, pt_ready_encode(&m, out), , pt_ready_fini(&m))
TRY(attach, pt_attach_encode(&m, out), , pt_attach_fini(&m))
TRY(launch, pt_launch_encode(&m, PT_C_LAUNCH, out), , pt_launch_fini(&m))
TRY(waits, pt_waits_encode(&m, out), , pt_waits_fini(&m))
TRY(limits, pt_limits_encode(&m, out), , )
TRY(steal, pt_steal_encode(&m, PT_L_STEAL, out), , pt_steal_fini(&m))
TRY(bundle, pt_bundle_encode(&m, PT_L_BUNDLE, out), , pt_bundle_fini(&m))
TRY(death, pt_death_encode(&m, NUMBER, out), (check_names(m.phase, m.cause), check_member(m.rank)),
    pt_death_fini(&m))
TRY(listening, pt_listening_encode(&m, out), , pt_listening_fini(&m))
TRY(probe, pt_probe_encode(&m, out), , pt_probe_fini(&m))
TRY(reached, pt_reached_encode(&m, out), , pt_reached_fini(&m))
TRY(peers, pt_peers_encode(&m, out), , pt_peers_fini(&m))
TRY(relay, pt_relay_encode(&m, PT_C_RELAY, out), , pt_relay_fini(&m))
TRY(sizes, pt_sizes_encode(&m, out), , pt_sizes_fini(&m))
TRY(ranks, pt_ranks_encode(&m, NUMBER, out), check_words(m.words, m.of), pt_ranks_fini(&m))
TRY(fall, pt_fall_encode(&m, NUMBER, out), check_words(m.words, m.of), pt_fall_fini(&m))
TRY(offer, pt_offer_encode(&m, out), FUZZ_CHECK(m.how <= PT_OFFER_WHOLE && m.nkeep <= PT_KEEP_MAX),
    pt_offer_fini(&m))
TRY(synced, pt_synced_encode(&m, out), , )

static const struct {
    try_fn *run;
    bool numbered; /* a sequence number stands before what is decoded */
} kinds[KINDS] = {
    [KIND_SETUP] = {try_setup, false},   [KIND_READY] = {try_ready, false},
    [KIND_ATTACH] = {try_attach, false}, [KIND_LAUNCH] = {try_launch, false},
    [KIND_WAITS] = {try_waits, false},   [KIND_LIMITS] = {try_limits, false},
    [KIND_STEAL] = {try_steal, false},   [KIND_BUNDLE] = {try_bundle, false},
    [KIND_DEATH] = {try_death, true},    [KIND_OFFER] = {try_offer, false},
    [KIND_SYNCED] = {try_synced, false}, [KIND_LISTENING] = {try_listening, false},
    [KIND_PROBE] = {try_probe, false},   [KIND_REACHED] = {try_reached, false},
    [KIND_PEERS] = {try_peers, false},   [KIND_RELAY] = {try_relay, false},
    [KIND_SIZES] = {try_sizes, false},   [KIND_RANKS] = {try_ranks, true},
    [KIND_FALL] = {try_fall, true},
};

void fuzz_one(const uint8_t *data, size_t size)
{
    if (size == 0)
        return;
    size_t kind = data[0] % KINDS;
    struct pt_reader r = {.p = data + 1, .left = size - 1}, body;
    struct pt_buf out = {0};
    uint8_t type;
    size_t total;
    if (kinds[kind].run(&r, &out)) {
        FUZZ_CHECK(!out.bad && pt_frame_next(out.data, out.len, PT_FRAME_MAX, &type, &body, &total) == 1);
        FUZZ_CHECK(total == out.len && (!kinds[kind].numbered || pt_get_u64(&body) == NUMBER));
        FUZZ_CHECK(body.left == size - 1 && (size == 1 || memcmp(body.p, data + 1, size - 1) == 0));
    }
    pt_buf_fini(&out);
}
