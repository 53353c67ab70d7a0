/* SPDX-License-Identifier: Apache-2.0 */
/* What `attach`, `stop` and those that ask a run for something know of one that may go on. */
#include "common/err.h"
#include "common/quote.h"
#include "records_inside.h"

#include <string.h>

int pt_record_get(struct pt_ledger *l, int64_t id, struct pt_record_run *out, struct pt_err *err)
{
    struct pt_ledger_run row;
    char machine[PT_MASTER_MAX];
    int rc = pt_ledger_get_run(l, id, &row, err);
    if (rc)
        return rc < 0 ? -1 : pt_err_set_kind(err, PT_ERR_USAGE, "the run is not recorded any more");
    *out = (struct pt_record_run){.id = id};
    out->state = pt_recorded_state(&row, &out->pid);
    pt_quote_fit(out->name, sizeof(out->name), row.name); /* a ledger may hold anything */
    snprintf(out->master, sizeof(out->master), "%s", row.master ? row.master : "");
    snprintf(machine, sizeof(machine), "%.*s", (int)strcspn(out->master, " "), out->master);
    pt_quote_fit(out->machine, sizeof(out->machine), machine);
    return 0;
}

int pt_record_lost(const struct pt_record_run *run, struct pt_err *err)
{
    if (run->state == PT_RECORDED_UNKNOWN) {
        pt_err_set_kind(err, PT_ERR_INFRA, "run %s is one of machine '%s'", run->name, run->machine);
        return pt_err_hint(err, "ask there whether it goes on");
    }
    pt_err_set_kind(err, PT_ERR_INFRA, "run %s was cut off: its process is gone", run->name);
    return pt_err_hint(err, "ptremote --resume %s goes on with it", run->name);
}

/* --- the one that is meant --- */

struct choice {
    int64_t live;
    unsigned n;
};

static int look(void *arg, const struct pt_ledger_run *run, const uint32_t *counts)
{
    struct choice *c = arg;
    (void)counts;
    if (pt_recorded_state(run, NULL) == PT_RECORDED_RUNNING && c->n++ == 0)
        c->live = run->id;
    return 0;
}

int pt_record_choose(struct pt_ledger *l, const struct pt_record_options *o, int64_t *id, struct pt_err *err)
{
    struct choice c = {0};
    if (o->word)
        return (*id = pt_ledger_find_run(l, o->word, err)) ? 0 : -1;
    if (pt_ledger_each_run(l, look, &c, err) < 0)
        return -1;
    *id = c.live;
    if (c.n == 1)
        return 0;
    if (c.n == 0)
        return pt_err_set_kind(err, PT_ERR_USAGE, "no run goes on that is recorded in %s", o->state);
    pt_err_set_kind(err, PT_ERR_USAGE, "%u runs go on: say which", c.n);
    return pt_err_hint(err, "ptremote runs lists them");
}

int pt_record_choose_live(struct pt_ledger *l, const struct pt_record_options *o, struct pt_record_run *out,
                          struct pt_err *err)
{
    int64_t id;
    if (pt_record_choose(l, o, &id, err) < 0 || pt_record_get(l, id, out, err) < 0)
        return -1;
    if (out->state == PT_RECORDED_ENDED)
        return pt_err_set_kind(err, PT_ERR_USAGE, "run %s has ended already", out->name);
    return out->state == PT_RECORDED_RUNNING ? 0 : pt_record_lost(out, err);
}
