/* SPDX-License-Identifier: Apache-2.0 */
/* Each slot of the run is a node with a number of its own, and keeps it. Where plugins here want to know of
 * nodes, the collector is their controller: before a host's sessions begin it says what their `workerinput`
 * is, and it hears when nodes are up, what their sessions left, and that the run is over. */
#include "run_nodes.h"

#include "common/auto.h"
#include "common/log.h"
#include "common/message_group.h"
#include "json.h"

#include <stdio.h>
#include <string.h>

#define NODES_MAX (4u << 20) /* nodes of a run */

struct node {
    char *input; /* JSON text, as its runner unpacks it; NULL until answered */
    struct pt_run_host *h;
    bool asked, ready;
    bool told; /* how its last session ended */
};

struct pt_nodes {
    char *session; /* JSON object that every runner gets */
    char show[16]; /* --show-capture, or "" */
    bool wanted;   /* plugins here want to know */
    struct node *node;
    uint32_t n;
    uint32_t *given; /* how many nodes each host has */
    size_t ngiven;
    bool ending, ended;
    int exit; /* that plugins want; 0: none */
};

/* --- what the collector says --- */

int pt_run_nodes_begin(struct pt_run *run, const struct pt_json *line, struct pt_err *err)
{
    const struct pt_json *session = pt_json_get(line, "session");
    struct pt_buf text = {0};
    if (pt_json_kind(session) != PT_JSON_OBJECT)
        return pt_err_set(err, "the collector's session line has no session");
    run->nodes = calloc(1, sizeof(*run->nodes));
    if (!run->nodes || pt_json_print(session, &text) < 0) {
        pt_buf_fini(&text);
        return pt_err_set(err, "out of memory");
    }
    pt_buf_append(&text, "", 1);
    run->nodes->session = (char *)text.data;
    const char *show = pt_json_text(pt_json_get(line, "show_capture"));
    if (show && strlen(show) < sizeof(run->nodes->show))
        memcpy(run->nodes->show, show, strlen(show) + 1);
    run->nodes->wanted =
        pt_json_kind(pt_json_get(line, "nodes")) == PT_JSON_BOOL && run->opts->collect != PT_COLLECT_REMOTE;
    return text.bad ? pt_err_set(err, "out of memory") : 0;
}

const char *pt_run_nodes_show(const struct pt_run *run)
{
    return run->nodes && run->nodes->show[0] ? run->nodes->show : NULL;
}

void pt_run_nodes_fini(struct pt_run *run)
{
    struct pt_nodes *nodes = run->nodes;
    for (uint32_t i = 0; nodes && i < nodes->n; i++)
        free(nodes->node[i].input);
    if (nodes) {
        free(nodes->session);
        free(nodes->node);
        free(nodes->given);
    }
    free(nodes);
    run->nodes = NULL;
}

static struct node *node_named(const struct pt_run *run, const char *id)
{
    char *end = NULL;
    unsigned long number = id && strncmp(id, "gw", 2) == 0 ? strtoul(id + 2, &end, 10) : NODES_MAX;
    if (!end || end == id + 2 || *end || number >= run->nodes->n)
        return NULL;
    return &run->nodes->node[number];
}

static bool all_answered(const struct pt_run_host *h)
{
    for (uint32_t rank = 0; rank < h->launch_slots; rank++)
        if (!h->run->nodes->node[h->base + rank].input)
            return false;
    return true;
}

static void no_memory(struct pt_run *run)
{
    struct pt_err err = PT_ERR_INIT;
    pt_err_set(&err, "out of memory for nodes");
    pt_run_fail(run, &err);
}

static void on_answer(struct pt_run *run, const struct pt_json *line)
{
    struct pt_err err = PT_ERR_INIT;
    const char *input = pt_json_text(pt_json_get(line, "input"));
    const char *problem = pt_json_text(pt_json_get(line, "error"));
    struct node *node = node_named(run, pt_json_text(pt_json_get(line, "id")));
    if (problem || !node || !input) {
        pt_err_set_kind(&err, PT_ERR_INTERNAL, "%s", problem ? problem : "a strange answer about a node");
        pt_run_fail(run, &err);
        return;
    }
    if (node->input) /* a collector that started anew was asked again */
        return;
    node->input = strdup(input);
    if (!node->input) {
        no_memory(run);
        return;
    }
    if (all_answered(node->h))
        pt_run_host_begin(node->h);
}

static void on_ended(struct pt_run *run, const struct pt_json *line)
{
    double status = pt_json_number(pt_json_get(line, "exit"), 0);
    run->nodes->ended = true;
    if (status > 0 && status < 256)
        run->nodes->exit = (int)status;
}

bool pt_run_nodes_line(struct pt_run *run, const char *what, const struct pt_json *line)
{
    if (!run->nodes || !run->nodes->wanted)
        return false;
    if (strcmp(what, "node") == 0) {
        if (!run->failed && !run->stopping)
            on_answer(run, line);
    } else if (strcmp(what, "text") == 0) {
        const char *text = pt_json_text(pt_json_get(line, "line"));
        pt_terminal_line(run->terminal, text ? text : "");
    } else if (strcmp(what, "ended") == 0) {
        on_ended(run, line);
    } else {
        return false;
    }
    return true;
}

int pt_run_nodes_exit(const struct pt_run *run, int code)
{
    return run->nodes && run->nodes->exit ? pt_exit_worse(code, run->nodes->exit) : code;
}

/* --- what the collector is asked --- */

static int ask(struct pt_run *run, struct pt_json_out *o)
{
    pt_json_close(o);
    int rc = pt_json_out_end(o);
    if (rc == 0 && run->collect)
        rc = pt_collect_ask(run->collect, o->buf.data, o->buf.len);
    pt_buf_fini(&o->buf);
    return rc;
}

/* What cannot be told ends the run, or plugins would wait for it. */
static void tell(struct pt_run *run, struct pt_json_out *o)
{
    if (ask(run, o) < 0)
        no_memory(run);
}

static void begin_ask(struct pt_json_out *o, const char *what)
{
    pt_json_out_init(o, NULL);
    pt_json_open_object(o, NULL);
    pt_json_put_str(o, "t", what);
}

static void begin_ask_node(struct pt_json_out *o, const char *what, uint32_t number)
{
    char id[24];
    snprintf(id, sizeof(id), "gw%u", number);
    begin_ask(o, what);
    pt_json_put_str(o, "id", id);
}

/* Slots of all hosts, as far as they are known. */
static uint32_t slots_of_run(const struct pt_run *run)
{
    uint64_t n = 0;
    for (size_t i = 0; i < run->hosts.n; i++)
        n += run->at[i].slots;
    return n < NODES_MAX ? (uint32_t)n : NODES_MAX;
}

static int ask_node(struct pt_run_host *h, uint32_t rank)
{
    struct pt_run *run = h->run;
    struct node *node = &run->nodes->node[h->base + rank];
    struct pt_json_out o;
    if (node->asked)
        return 0;
    node->asked = true;
    node->h = h;
    begin_ask_node(&o, "node", h->base + rank);
    pt_json_put_str(&o, "host", h->host->name);
    pt_json_put_str(&o, "uid", run->id);
    pt_json_put_int(&o, "count", slots_of_run(run));
    return ask(run, &o);
}

/* --- numbers --- */

/* So many more nodes; the number of the first, or NODES_MAX. */
static uint32_t add_nodes(struct pt_nodes *nodes, uint32_t n)
{
    uint32_t first = nodes->n;
    struct node *grown = n < NODES_MAX - first ? realloc(nodes->node, (first + n) * sizeof(*grown)) : NULL;
    if (!grown)
        return NODES_MAX;
    memset(grown + first, 0, n * sizeof(*grown));
    nodes->node = grown;
    nodes->n = first + n;
    return first;
}

static bool has_base(const struct pt_run_host *h)
{
    const struct pt_nodes *nodes = h->run->nodes;
    return h->number < nodes->ngiven && nodes->given[h->number] && nodes->given[h->number] >= h->launch_slots;
}

static int give_base(struct pt_run_host *h)
{
    struct pt_nodes *nodes = h->run->nodes;
    uint32_t slots = h->slots > h->launch_slots ? h->slots : h->launch_slots;
    if (has_base(h) || !slots)
        return 0;
    if (h->number >= nodes->ngiven) {
        size_t n = h->run->hosts.n > h->number ? h->run->hosts.n : h->number + 1;
        uint32_t *grown = realloc(nodes->given, n * sizeof(*grown));
        if (!grown)
            return -1;
        memset(grown + nodes->ngiven, 0, (n - nodes->ngiven) * sizeof(*grown));
        nodes->given = grown;
        nodes->ngiven = n;
    }
    uint32_t base = add_nodes(nodes, slots);
    if (base == NODES_MAX)
        return -1;
    h->base = base;
    nodes->given[h->number] = slots;
    return 0;
}

/* In the order of the hosts as far as their slots are known, so that the same host tends to have the same
 * ids. */
static int give_bases(struct pt_run_host *h)
{
    struct pt_run *run = h->run;
    for (size_t i = 0; i < run->hosts.n && run->at[i].slots; i++)
        if (give_base(&run->at[i]) < 0)
            return -1;
    return give_base(h);
}

/* --- the frame --- */

static int compose(const struct pt_run_host *h, struct pt_buf *out, struct pt_err *err)
{
    const struct pt_run *run = h->run;
    const struct pt_nodes *nodes = run->nodes;
    struct pt_json *session = pt_json_parse(nodes->session, strlen(nodes->session), err);
    struct pt_json_out o;
    if (!session)
        return -1;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    for (const struct pt_json *v = pt_json_first(session); v; v = pt_json_next(v))
        pt_json_put(&o, pt_json_name(v), v);
    pt_json_put_str(&o, "isolate", pt_run_isolate(run));
    pt_json_put_int(&o, "base", h->base);
    pt_json_put_int(&o, "count", slots_of_run(run));
    if (!pt_json_text(pt_json_get(session, "testrun_uid")))
        pt_json_put_str(&o, "testrun_uid", run->id);
    if (nodes->wanted) {
        pt_json_put_bool(&o, "want_output", true);
        pt_json_open_array(&o, "inputs");
        for (uint32_t rank = 0; rank < h->launch_slots; rank++)
            pt_json_put_str(&o, NULL, nodes->node[h->base + rank].input);
        pt_json_close(&o);
    }
    pt_json_close(&o);
    pt_json_destroy(session);
    int rc = pt_json_out_end(&o);
    if (rc < 0)
        pt_err_set(err, "out of memory");
    else if (o.buf.len > PT_MAX_TEXT)
        rc = pt_err_set(err, "what plugins want their nodes to know is too much for one host: %zu bytes",
                        o.buf.len);
    size_t mark = pt_frame_begin(out, PT_L_SESSION);
    pt_put_bytes(out, o.buf.data, o.buf.len);
    pt_frame_end(out, mark);
    pt_buf_fini(&o.buf);
    return rc < 0 ? -1 : 1;
}

int pt_run_nodes_session(struct pt_run_host *h, struct pt_buf *out, struct pt_err *err)
{
    struct pt_nodes *nodes = h->run->nodes;
    if (give_bases(h) < 0)
        return pt_err_set(err, "out of memory for nodes");
    if (nodes->wanted && !all_answered(h)) {
        for (uint32_t rank = 0; rank < h->launch_slots; rank++)
            if (ask_node(h, rank) < 0)
                return pt_err_set(err, "out of memory for nodes");
        return 0;
    }
    return compose(h, out, err);
}

/* --- what becomes of nodes --- */

/* The node, where the controller is to be told of it. */
static struct node *watched(const struct pt_run_host *h, uint32_t rank)
{
    const struct pt_nodes *nodes = h->run->nodes;
    if (!nodes || !nodes->wanted || nodes->ended || !has_base(h) || rank >= h->launch_slots)
        return NULL;
    return h->base + rank < nodes->n ? &nodes->node[h->base + rank] : NULL;
}

void pt_run_nodes_ready(struct pt_run_host *h, uint32_t rank)
{
    struct node *node = watched(h, rank);
    struct pt_json_out o;
    if (!node || !node->asked || node->ready)
        return;
    node->ready = true;
    node->told = false;
    begin_ask_node(&o, "ready", h->base + rank);
    tell(h->run, &o);
}

void pt_run_nodes_output(struct pt_run_host *h, uint32_t rank, const void *json, size_t n)
{
    uint32_t in_group = 0;
    bool member = h->launch_slots && pt_member_of(rank, NULL, &in_group);
    if (member) /* one more session of a slot's node: that of the slot itself goes on */
        rank = in_group % h->launch_slots;
    struct node *node = watched(h, rank);
    struct pt_err err = PT_ERR_INIT;
    struct pt_json *note = node ? pt_json_parse(json, n, &err) : NULL;
    struct pt_json_out o;
    if (!note) {
        if (err.msg[0])
            pt_warn("%s: a note about a node: %s", h->host->name, err.msg);
        return;
    }
    const char *problem = pt_json_text(pt_json_get(note, "problem"));
    if (problem)
        pt_run_host_note(h, "gw%u: %.1000s", h->base + rank, problem);
    node->told = node->told || !member;
    node->ready = node->ready && member;
    begin_ask_node(&o, "down", h->base + rank);
    pt_json_put_str(&o, "output", pt_json_text(pt_json_get(note, "output")));
    pt_json_put(&o, "info", pt_json_get(note, "info"));
    pt_json_put_str(&o, "error", problem);
    tell(h->run, &o);
    pt_json_destroy(note);
}

void pt_run_nodes_down(struct pt_run_host *h, uint32_t rank, const char *why)
{
    struct node *node = watched(h, rank);
    struct pt_json_out o;
    if (!node || !node->asked || node->told || (!why && !node->ready))
        return;
    node->told = true;
    node->ready = false;
    begin_ask_node(&o, "down", h->base + rank);
    pt_json_put_str(&o, "error", why && why[0] ? why : "Not properly terminated");
    tell(h->run, &o);
}

bool pt_run_nodes_end(struct pt_run *run)
{
    struct pt_nodes *nodes = run->nodes;
    struct pt_json_out o;
    if (!nodes || !nodes->wanted || nodes->ended || !run->collect)
        return true;
    if (nodes->ending)
        return false;
    for (size_t i = 0; i < run->hosts.n; i++)
        for (uint32_t rank = 0; rank < run->at[i].launch_slots; rank++)
            pt_run_nodes_down(&run->at[i], rank, NULL);
    nodes->ending = true;
    begin_ask(&o, "end");
    pt_json_put_int(&o, "failed", pt_verdict_failures(run->verdict));
    pt_json_put_int(&o, "collected", pt_suite_tests(run->suite));
    return ask(run, &o) < 0;
}
