/* SPDX-License-Identifier: Apache-2.0 */
#include "common/message.h"

#include "common/auto.h"
#include "common/err.h"

#include <stdlib.h>
#include <string.h>

const char *pt_phase_name(unsigned phase)
{
    static const char *const names[] = {"collect", "setup", "call", "teardown", "session"};
    return phase < PT_COUNT(names) ? names[phase] : "?";
}

const char *pt_outcome_name(unsigned outcome)
{
    static const char *const names[] = {"none", "passed", "skipped", "xfailed", "xpassed", "notrun",
                                        "lost", "error",  "failed",  "timeout", "crashed"};
    _Static_assert(PT_COUNT(names) == PT_OUTCOMES, "one name for each outcome");
    return outcome < PT_OUTCOMES ? names[outcome] : "?";
}

/* What a decoder gives at its end. */
static int finish(struct pt_reader *r, const char *what, struct pt_err *err)
{
    if (pt_get_end(r))
        return 0;
    return pt_err_set(err, "%s: malformed message", what);
}

/* A count that the bytes left could hold at `least` bytes each, so that no allocation outgrows the message.
 */
static uint32_t get_count(struct pt_reader *r, size_t least)
{
    uint32_t n = pt_get_u32(r);
    if (n > r->left / least)
        r->bad = true;
    return r->bad ? 0 : n;
}

static void *get_array(struct pt_reader *r, uint32_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        r->bad = true;
    return p;
}

/* --- setup --- */

void pt_setup_encode(const struct pt_setup *m, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_C_SETUP);
    pt_put_u32(out, m->protocol);
    pt_put_str(out, m->run);
    pt_put_u32(out, m->host);
    pt_put_u32(out, m->slots);
    pt_put_str(out, m->project);
    pt_put_str(out, m->cwd);
    pt_put_str(out, m->python);
    pt_put_str(out, m->mpirun);
    pt_put_str(out, m->init);
    pt_put_str(out, m->hash_seed);
    pt_put_u32(out, m->silence_ms);
    pt_put_u32(out, m->linger_ms);
    pt_put_u32(out, m->flags);
    pt_put_str(out, m->shared);
    pt_put_str(out, m->proof);
    pt_put_str(out, m->secret);
    pt_put_str(out, m->preload);
    pt_put_u32(out, m->nenv);
    for (uint32_t i = 0; i < m->nenv; i++) {
        pt_put_str(out, m->env[i].name);
        pt_put_str(out, m->env[i].value);
    }
    pt_frame_end(out, mark);
}

int pt_setup_decode(struct pt_reader *r, struct pt_setup *m, struct pt_err *err)
{
    *m = (struct pt_setup){.protocol = pt_get_u32(r)};
    if (!r->bad && m->protocol != PT_PROTOCOL)
        return pt_err_set(err, "the master speaks protocol %u, this agent %u", m->protocol, PT_PROTOCOL);
    m->run = pt_get_str(r, PT_MAX_PATH);
    m->host = pt_get_u32(r);
    m->slots = pt_get_u32(r);
    m->project = pt_get_str(r, 255);
    m->cwd = pt_get_str(r, PT_MAX_PATH);
    m->python = pt_get_str(r, PT_MAX_PATH);
    m->mpirun = pt_get_str(r, PT_MAX_PATH);
    m->init = pt_get_str(r, PT_MAX_PATH);
    m->hash_seed = pt_get_str(r, 64);
    m->silence_ms = pt_get_u32(r);
    m->linger_ms = pt_get_u32(r);
    m->flags = pt_get_u32(r);
    if (m->flags & ~PT_SETUP_FLAGS)
        r->bad = true;
    m->shared = pt_get_str(r, PT_MAX_PATH);
    m->proof = pt_get_str(r, PT_MAX_PATH);
    m->secret = pt_get_str(r, 255);
    m->preload = pt_get_str(r, PT_MAX_PATH);
    uint32_t nenv = get_count(r, 8);
    m->env = get_array(r, nenv, sizeof(*m->env));
    for (uint32_t i = 0; i < nenv && !r->bad; i++) {
        m->nenv = i + 1;
        m->env[i].name = pt_get_str(r, PT_MAX_PATH);
        m->env[i].value = pt_get_str(r, PT_MAX_TEXT);
    }
    if (finish(r, "setup", err) < 0) {
        pt_setup_fini(m);
        return -1;
    }
    return 0;
}

void pt_setup_fini(struct pt_setup *m)
{
    free(m->run);
    free(m->project);
    free(m->cwd);
    free(m->python);
    free(m->mpirun);
    free(m->init);
    free(m->hash_seed);
    free(m->shared);
    free(m->proof);
    free(m->secret);
    free(m->preload);
    for (uint32_t i = 0; i < m->nenv; i++) {
        free(m->env[i].name);
        free(m->env[i].value);
    }
    free(m->env);
    *m = (struct pt_setup){0};
}

/* --- ready --- */

void pt_ready_encode(const struct pt_ready *m, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_C_READY);
    pt_put_u32(out, m->protocol);
    pt_put_str(out, m->machine);
    pt_put_u32(out, m->cores);
    pt_put_u64(out, m->memory);
    pt_put_str(out, m->machine_id);
    pt_put_str(out, m->cache);
    pt_put_str(out, m->workspace);
    pt_put_str(out, m->dir);
    pt_frame_end(out, mark);
}

int pt_ready_decode(struct pt_reader *r, struct pt_ready *m, struct pt_err *err)
{
    *m = (struct pt_ready){.protocol = pt_get_u32(r)};
    m->machine = pt_get_str(r, 255);
    m->cores = pt_get_u32(r);
    m->memory = pt_get_u64(r);
    m->machine_id = pt_get_str(r, 255);
    m->cache = pt_get_str(r, PT_MAX_PATH);
    m->workspace = pt_get_str(r, PT_MAX_PATH);
    m->dir = pt_get_str(r, PT_MAX_PATH);
    if (finish(r, "ready", err) < 0) {
        pt_ready_fini(m);
        return -1;
    }
    return 0;
}

void pt_ready_fini(struct pt_ready *m)
{
    free(m->machine);
    free(m->machine_id);
    free(m->cache);
    free(m->workspace);
    free(m->dir);
    *m = (struct pt_ready){0};
}

/* --- attach --- */

void pt_attach_encode(const struct pt_attach *m, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_C_ATTACH);
    pt_put_u32(out, m->protocol);
    pt_put_str(out, m->run);
    pt_put_u32(out, m->host);
    pt_put_str(out, m->dir);
    pt_frame_end(out, mark);
}

int pt_attach_decode(struct pt_reader *r, struct pt_attach *m, struct pt_err *err)
{
    *m = (struct pt_attach){.protocol = pt_get_u32(r)};
    if (!r->bad && m->protocol != PT_PROTOCOL)
        return pt_err_set(err, "the master speaks protocol %u, this agent %u", m->protocol, PT_PROTOCOL);
    m->run = pt_get_str(r, PT_MAX_PATH);
    m->host = pt_get_u32(r);
    m->dir = pt_get_str(r, PT_MAX_PATH);
    if (finish(r, "attach", err) < 0) {
        pt_attach_fini(m);
        return -1;
    }
    return 0;
}

void pt_attach_fini(struct pt_attach *m)
{
    free(m->run);
    free(m->dir);
    *m = (struct pt_attach){0};
}

/* --- launch --- */

void pt_launch_encode(const struct pt_launch *m, uint8_t type, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, type);
    pt_put_u32(out, m->launch);
    pt_put_u32(out, m->slots);
    pt_put_str(out, m->cert);
    pt_put_str(out, m->key);
    pt_put_str(out, m->ca);
    pt_put_str(out, m->address);
    pt_put_str(out, m->share);
    pt_frame_end(out, mark);
}

int pt_launch_decode(struct pt_reader *r, struct pt_launch *m, struct pt_err *err)
{
    *m = (struct pt_launch){.launch = pt_get_u32(r)};
    m->slots = pt_get_u32(r);
    m->cert = pt_get_str(r, PT_MAX_PATH);
    m->key = pt_get_str(r, PT_MAX_PATH);
    m->ca = pt_get_str(r, PT_MAX_PATH);
    m->address = pt_get_str(r, 255);
    m->share = pt_get_str(r, 255);
    if (finish(r, "launch", err) < 0) {
        pt_launch_fini(m);
        return -1;
    }
    return 0;
}

void pt_launch_fini(struct pt_launch *m)
{
    if (m->key)
        explicit_bzero(m->key, strlen(m->key));
    free(m->key);
    free(m->cert);
    free(m->ca);
    free(m->address);
    free(m->share);
    *m = (struct pt_launch){0};
}

/* --- waits --- */

void pt_waits_encode(const struct pt_waits *m, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_L_WAITS);
    pt_put_str(out, m->run);
    pt_put_str(out, m->who);
    pt_put_u32(out, m->held);
    pt_put_u32(out, m->slots);
    pt_frame_end(out, mark);
}

int pt_waits_decode(struct pt_reader *r, struct pt_waits *m, struct pt_err *err)
{
    *m = (struct pt_waits){.run = pt_get_str(r, 255)};
    m->who = pt_get_str(r, 255);
    m->held = pt_get_u32(r);
    m->slots = pt_get_u32(r);
    if (finish(r, "waits", err) < 0) {
        pt_waits_fini(m);
        return -1;
    }
    return 0;
}

void pt_waits_fini(struct pt_waits *m)
{
    free(m->run);
    free(m->who);
    *m = (struct pt_waits){0};
}

/* --- limits --- */

void pt_limits_encode(const struct pt_limits *m, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_L_LIMITS);
    pt_put_u32(out, m->runners);
    pt_put_u64(out, m->memory);
    pt_put_u32(out, m->output_ms);
    pt_put_u32(out, m->grace_ms);
    pt_put_u32(out, m->mpi_grace_ms);
    pt_put_u8(out, m->fresh);
    pt_frame_end(out, mark);
}

int pt_limits_decode(struct pt_reader *r, struct pt_limits *m, struct pt_err *err)
{
    *m = (struct pt_limits){.runners = pt_get_u32(r)};
    m->memory = pt_get_u64(r);
    m->output_ms = pt_get_u32(r);
    m->grace_ms = pt_get_u32(r);
    m->mpi_grace_ms = pt_get_u32(r);
    m->fresh = pt_get_u8(r);
    if (m->fresh > PT_FRESH_TEST)
        r->bad = true;
    return finish(r, "limits", err);
}

/* --- steal --- */

void pt_steal_encode(const struct pt_steal *m, uint8_t type, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, type);
    pt_put_u32(out, m->bundle);
    pt_put_u32(out, m->n);
    for (uint32_t i = 0; i < m->n; i++)
        pt_put_u32(out, m->tests[i]);
    pt_frame_end(out, mark);
}

int pt_steal_decode(struct pt_reader *r, struct pt_steal *m, struct pt_err *err)
{
    *m = (struct pt_steal){.bundle = pt_get_u32(r)};
    m->n = get_count(r, 4);
    m->tests = get_array(r, m->n, sizeof(*m->tests));
    for (uint32_t i = 0; i < m->n && !r->bad; i++)
        m->tests[i] = pt_get_u32(r);
    if (finish(r, "steal", err) < 0) {
        pt_steal_fini(m);
        return -1;
    }
    return 0;
}

void pt_steal_fini(struct pt_steal *m)
{
    free(m->tests);
    *m = (struct pt_steal){0};
}

/* --- bundle --- */

void pt_put_spread(struct pt_buf *out, const struct pt_share *shares, uint32_t n)
{
    pt_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        pt_put_u32(out, shares[i].host);
        pt_put_u32(out, shares[i].ranks);
    }
}

static bool is_spread(const struct pt_share *shares, uint32_t n, uint32_t ranks)
{
    uint64_t sum = 0;
    if (n < 2 || n > PT_SPREAD_MAX)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        sum += shares[i].ranks;
        if (shares[i].ranks == 0 || shares[i].ranks > ranks || shares[i].host == PT_NONE)
            return false;
        for (uint32_t k = 0; k < i; k++)
            if (shares[k].host == shares[i].host)
                return false;
    }
    return sum == ranks;
}

struct pt_share *pt_get_spread(struct pt_reader *r, uint32_t ranks, uint32_t *n)
{
    uint32_t count = get_count(r, 8);
    struct pt_share *shares = get_array(r, count, sizeof(*shares));
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        shares[i].host = pt_get_u32(r);
        shares[i].ranks = pt_get_u32(r);
    }
    if (!r->bad && count > 0 && !is_spread(shares, count, ranks))
        r->bad = true;
    *n = r->bad ? 0 : count;
    if (*n > 0)
        return shares;
    free(shares);
    return NULL;
}

void pt_bundle_encode(const struct pt_bundle *m, uint8_t type, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, type);
    pt_put_u32(out, m->bundle);
    pt_put_u32(out, m->attempt);
    pt_put_u32(out, m->timeout_ms);
    pt_put_u32(out, m->rank);
    pt_put_u32(out, m->ranks ? m->ranks : 1);
    pt_put_u32(out, m->flags);
    pt_put_spread(out, m->spread, m->nspread);
    pt_put_u32(out, m->nfiles);
    for (uint32_t i = 0; i < m->nfiles; i++) {
        const struct pt_bundle_file *file = &m->files[i];
        pt_put_str(out, file->path);
        pt_put_u32(out, file->ntests);
        for (uint32_t k = 0; k < file->ntests; k++) {
            pt_put_u32(out, file->tests[k].test);
            pt_put_u32(out, file->tests[k].occurrence);
            pt_put_str(out, file->tests[k].nodeid);
        }
    }
    pt_frame_end(out, mark);
}

static void decode_file(struct pt_reader *r, struct pt_bundle_file *file)
{
    file->path = pt_get_str(r, PT_MAX_PATH);
    uint32_t n = get_count(r, 12);
    file->tests = get_array(r, n, sizeof(*file->tests));
    for (uint32_t k = 0; k < n && !r->bad; k++) {
        file->ntests = k + 1;
        file->tests[k].test = pt_get_u32(r);
        file->tests[k].occurrence = pt_get_u32(r);
        file->tests[k].nodeid = pt_get_str(r, PT_MAX_NODEID);
    }
}

int pt_bundle_decode(struct pt_reader *r, struct pt_bundle *m, struct pt_err *err)
{
    *m = (struct pt_bundle){.bundle = pt_get_u32(r)};
    m->attempt = pt_get_u32(r);
    m->timeout_ms = pt_get_u32(r);
    m->rank = pt_get_u32(r);
    m->ranks = pt_get_u32(r);
    m->flags = pt_get_u32(r);
    if (m->ranks == 0 || m->ranks > PT_RANKS_MAX || (m->flags & ~PT_BUNDLE_FLAGS))
        r->bad = true;
    m->spread = pt_get_spread(r, m->ranks, &m->nspread);
    uint32_t n = get_count(r, 8);
    m->files = get_array(r, n, sizeof(*m->files));
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        m->nfiles = i + 1;
        decode_file(r, &m->files[i]);
    }
    if (finish(r, "bundle", err) < 0) {
        pt_bundle_fini(m);
        return -1;
    }
    return 0;
}

void pt_bundle_fini(struct pt_bundle *m)
{
    for (uint32_t i = 0; i < m->nfiles; i++) {
        for (uint32_t k = 0; k < m->files[i].ntests; k++)
            free(m->files[i].tests[k].nodeid);
        free(m->files[i].tests);
        free(m->files[i].path);
    }
    free(m->files);
    free(m->spread);
    *m = (struct pt_bundle){0};
}

/* --- death --- */

void pt_death_encode(const struct pt_death *m, uint64_t seq, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_L_DEATH);
    pt_put_u64(out, seq);
    pt_put_u32(out, m->rank);
    pt_put_u32(out, m->bundle);
    pt_put_u32(out, m->attempt);
    pt_put_u32(out, m->test);
    pt_put_u32(out, m->file);
    pt_put_str(out, m->path);
    pt_put_u8(out, m->phase);
    pt_put_u8(out, m->cause);
    pt_put_u32(out, m->status);
    pt_put_u64(out, m->duration_us);
    pt_put_u64(out, m->began_us);
    pt_put_u64(out, m->lasted_us);
    pt_put_str(out, m->stack);
    pt_put_str(out, m->output);
    pt_frame_end(out, mark);
}

int pt_death_decode(struct pt_reader *r, struct pt_death *m, struct pt_err *err)
{
    *m = (struct pt_death){.rank = pt_get_u32(r)};
    m->bundle = pt_get_u32(r);
    m->attempt = pt_get_u32(r);
    m->test = pt_get_u32(r);
    m->file = pt_get_u32(r);
    m->path = pt_get_str(r, PT_MAX_PATH);
    m->phase = pt_get_u8(r);
    m->cause = pt_get_u8(r);
    if (m->cause < PT_CAUSE_DIED || m->cause > PT_CAUSE_FALL || m->phase > PT_PHASE_SESSION)
        r->bad = true;
    m->status = pt_get_u32(r);
    m->duration_us = pt_get_u64(r);
    m->began_us = pt_get_u64(r);
    m->lasted_us = pt_get_u64(r);
    m->stack = pt_get_str(r, PT_MAX_TEXT);
    m->output = pt_get_str(r, PT_MAX_TEXT);
    if (finish(r, "death", err) < 0) {
        pt_death_fini(m);
        return -1;
    }
    return 0;
}

void pt_death_fini(struct pt_death *m)
{
    free(m->path);
    free(m->stack);
    free(m->output);
    *m = (struct pt_death){0};
}
