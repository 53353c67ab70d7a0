/* SPDX-License-Identifier: Apache-2.0 */
#include "resume_options.h"

#include "common/auto.h"
#include "common/err.h"
#include "json.h"
#include "ledger.h"
#include "master.h"
#include "options_table.h"
#include "project.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define NAME_MAX_ 64

char *pt_resume_words(int argc, char *const *argv)
{
    struct pt_json_out out;
    pt_json_out_init(&out, NULL);
    pt_json_open_array(&out, NULL);
    for (int i = 1; i < argc; i++)
        pt_json_put_str(&out, NULL, argv[i]);
    pt_json_close(&out);
    pt_buf_append(&out.buf, "", 1);
    if (pt_json_out_end(&out) == 0 && !out.buf.bad)
        return (char *)out.buf.data;
    pt_buf_fini(&out.buf);
    return NULL;
}

/* --- which run --- */

/* What the ledger says of it, kept beyond the ledger. */
struct chosen {
    char name[NAME_MAX_];
    char *argv, *cwd, *root;
};

static void chosen_fini(struct chosen *c)
{
    free(c->argv);
    free(c->cwd);
    free(c->root);
}

struct search {
    int64_t id; /* 0: the newest that can be resumed */
    struct chosen *chosen;
    struct pt_err *err;
};

/* Returned by the callback when the run was found, usable or not. */
enum { FOUND = 1, REFUSED = 2 };

static int take(struct chosen *c, const struct pt_ledger_run *run, struct pt_err *err)
{
    snprintf(c->name, sizeof(c->name), "%s", run->name);
    c->argv = strdup(run->argv);
    c->cwd = strdup(run->cwd ? run->cwd : "");
    c->root = strdup(run->rootdir);
    if (c->argv && c->cwd && c->root)
        return FOUND;
    pt_err_set(err, "out of memory");
    return REFUSED;
}

static int look(void *arg, const struct pt_ledger_run *run, const uint32_t *counts)
{
    struct search *s = arg;
    long pid;
    if (s->id ? run->id != s->id : !run->argv)
        return 0;
    uint32_t left = counts[PT_OUTCOME_NONE] + counts[PT_OUTCOME_NOTRUN] + counts[PT_OUTCOME_LOST];
    bool each = run->how && strstr(run->how, "\"dist\":\"each\"");
    enum pt_master_state master = run->finished > 0 ? PT_MASTER_GONE : pt_master_state(run->master, &pid);
    if (!run->argv)
        pt_err_set_kind(s->err, PT_ERR_USAGE, "--resume: run %s got to no test", run->name);
    else if (master == PT_MASTER_HERE)
        pt_err_set_kind(s->err, PT_ERR_USAGE, "--resume: run %s is still under way (process %ld)", run->name,
                        pid);
    else if (each)
        pt_err_set_kind(s->err, PT_ERR_USAGE, "--resume: run %s had --dist each, which cannot be resumed",
                        run->name);
    else if (run->finished > 0 && left == 0)
        pt_err_set_kind(s->err, PT_ERR_USAGE, "--resume: run %s is complete, nothing is left of it",
                        run->name);
    else
        return take(s->chosen, run, s->err);
    return REFUSED;
}

static int find(const struct pt_options *opts, struct chosen *c, struct pt_err *err)
{
    char name[NAME_MAX_];
    snprintf(name, sizeof(name), "%s", opts->resume);
    char *comma = strchr(name, ',');
    if (comma)
        *comma = '\0';
    if (strcmp(name, "changed") == 0)
        name[0] = '\0';
    pt_auto_free char *state = pt_project_state_here(opts->project, opts->state_dir, err);
    struct pt_ledger *ledger = state ? pt_ledger_look(state, err) : NULL;
    struct search s = {.chosen = c, .err = err};
    if (!ledger)
        return -1;
    int rc = name[0] && !(s.id = pt_ledger_find_run(ledger, name, err))
                 ? REFUSED
                 : pt_ledger_each_run(ledger, look, &s, err);
    if (rc == 0)
        pt_err_set_kind(err, PT_ERR_USAGE, "--resume: no run that could be resumed is recorded in %s", state);
    pt_ledger_close(ledger);
    return rc == FOUND ? 0 : -1;
}

/* --- its command, and what is given besides --- */

/* Borrowed words; NULL behind the last. */
struct list {
    char **item;
    int n, cap;
};

static int add(struct list *l, const char *word)
{
    if (l->n + 2 > l->cap) {
        int cap = l->cap ? 2 * l->cap : 32;
        char **item = realloc(l->item, (size_t)cap * sizeof(*item));
        if (!item)
            return -1;
        l->item = item;
        l->cap = cap;
    }
    l->item[l->n++] = (char *)word;
    l->item[l->n] = NULL;
    return 0;
}

static int dashes(const struct list *l)
{
    int i = 0;
    while (i < l->n && strcmp(l->item[i], "--") != 0)
        i++;
    return i;
}

/* Without --resume and what belongs to it. */
static int add_given(struct list *out, int argc, char *const *argv)
{
    const struct pt_option_row *row = pt_option_find("resume", 6);
    bool rest = false;
    int rc = 0;
    for (int i = 1; i < argc && rc == 0; i++) {
        rest |= strcmp(argv[i], "--") == 0;
        bool alone = !rest && strcmp(argv[i], "--resume") == 0;
        if (!alone && (rest || strncmp(argv[i], "--resume=", 9) != 0))
            rc = add(out, argv[i]);
        i += alone && i + 1 < argc && row->next(argv[i + 1]);
    }
    return rc;
}

/* Options of both, what was given now last; then, behind "--", pytest's of both. */
static int merge(const struct list *then, const struct list *now, struct list *out)
{
    const struct list *const both[] = {then, now};
    bool any = dashes(then) < then->n || dashes(now) < now->n;
    int rc = add(out, "ptremote");
    for (size_t k = 0; k < 2; k++)
        for (int i = 0; i < dashes(both[k]) && rc == 0; i++)
            rc = add(out, both[k]->item[i]);
    if (any && rc == 0)
        rc = add(out, "--");
    for (size_t k = 0; k < 2; k++)
        for (int i = dashes(both[k]) + 1; i < both[k]->n && rc == 0; i++)
            rc = add(out, both[k]->item[i]);
    return rc;
}

static int read_words(const struct pt_json *words, struct list *out)
{
    for (const struct pt_json *w = pt_json_first(words); w; w = pt_json_next(w))
        if (!pt_json_text(w) || add(out, pt_json_text(w)) < 0)
            return -1;
    return 0;
}

static int check_given(const struct pt_options *opts, struct pt_err *err)
{
    static const char *const not [] = {"k",       "m",         "replay",  "dist",       "collect",
                                       "dry-run", "sync-only", "shuffle", "last-failed"};
    if (opts->paths.n)
        return pt_err_set_kind(err, PT_ERR_USAGE,
                               "--resume runs what is left of a run, it takes no path: '%.80s'",
                               opts->paths.item[0]);
    for (size_t i = 0; i < PT_COUNT(not ); i++)
        if (pt_options_given(opts, not [i]))
            return pt_err_set_kind(err, PT_ERR_USAGE,
                                   "--resume runs what is left of a run, with its own %s%s",
                                   not [i][1] ? "--" : "-", not [i]);
    return 0;
}

static int parse_again(const struct chosen *c, int argc, char *const *argv, struct pt_options *opts,
                       char **words, struct pt_err *err)
{
    struct list then = {0}, now = {0}, all = {0};
    bool changed = strstr(opts->resume, "changed") != NULL, detach = opts->detach;
    struct pt_json *json = pt_json_parse(c->argv, strlen(c->argv), err);
    int rc = json ? 0 : -1;
    if (rc == 0 &&
        (read_words(json, &then) < 0 || add_given(&now, argc, argv) < 0 || merge(&then, &now, &all) < 0))
        rc = pt_err_set(err, "--resume: the command of run %s cannot be read", c->name);
    if (rc == 0) {
        pt_options_fini(opts);
        rc = pt_options_parse(all.n, all.item, opts, err);
    }
    if (rc == 0) {
        free(opts->resume);
        opts->resume = strdup(c->name);
        opts->resume_changed = changed;
        opts->detach = detach; /* how that run was watched is over */
        *words = pt_resume_words(all.n, all.item);
        rc = opts->resume && *words ? 0 : pt_err_set(err, "out of memory");
    }
    free(then.item);
    free(now.item);
    free(all.item);
    pt_json_destroy(json);
    return rc;
}

int pt_resume_options(int argc, char *const *argv, struct pt_options *opts, char **root, char **words,
                      struct pt_err *err)
{
    struct chosen c = {0};
    int rc = check_given(opts, err) < 0 ? -1 : find(opts, &c, err);
    if (rc == 0 && chdir(c.cwd) < 0)
        rc = pt_err_set_kind(err, PT_ERR_USAGE, "--resume: %s, where run %s was started: %s", c.cwd, c.name,
                             strerror(errno));
    if (rc == 0)
        rc = parse_again(&c, argc, argv, opts, words, err);
    if (rc == 0 && !(*root = strdup(c.root)))
        rc = pt_err_set(err, "out of memory");
    chosen_fini(&c);
    return rc;
}
