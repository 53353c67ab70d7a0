/* SPDX-License-Identifier: Apache-2.0 */
/* `ptremote add-host` and `ptremote drain-host`: ask the master of a run that goes on, and say what it
 * answers. */
#include "common/err.h"
#include "door.h"
#include "json.h"
#include "records_inside.h"
#include "verdict.h"

#include <string.h>

#define WAIT_MS 30000 /* for the answer */

static int make_question(const char *what, const char *hosts, struct pt_buf *out, struct pt_err *err)
{
    struct pt_json_out o;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    pt_json_put_str(&o, "do", what);
    pt_json_put_str(&o, "hosts", hosts);
    pt_json_close(&o);
    int rc = pt_json_out_end(&o);
    *out = o.buf;
    if (rc < 0)
        return pt_err_set(err, "out of memory");
    if (out->len >= PT_DOOR_REQUEST)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s: the list of hosts is too long", what);
    return 0;
}

/* Its words are printed here: an error made of them is safe to print. */
static int read_answer(const struct pt_record_run *run, const struct pt_buf *answer, struct pt_err *err)
{
    struct pt_json *all = pt_json_parse(answer->data, answer->len ? answer->len - 1 : 0, err);
    double code = pt_json_number(pt_json_get(all, "exit"), PT_EXIT_INTERNAL);
    enum pt_err_kind kind = code == PT_EXIT_USAGE   ? PT_ERR_USAGE
                            : code == PT_EXIT_INFRA ? PT_ERR_INFRA
                                                    : PT_ERR_INTERNAL;
    const struct pt_json *said = pt_json_first(pt_json_get(all, "said"));
    const char *next = pt_json_text(pt_json_get(all, "next"));
    const char *first = pt_json_text(said);
    int rc = all ? 0 : -1;
    if (rc < 0) {
        pt_err_wrap(err, "run %s gave a strange answer", run->name);
    } else if (code != PT_EXIT_OK || !first) {
        rc = pt_err_set_kind(err, kind, "%s", first ? first : "no answer");
        if (next)
            pt_err_hint(err, "%s", next);
    }
    for (; rc == 0 && said; said = pt_json_next(said)) {
        struct pt_err line;
        pt_err_set(&line, "%s", pt_json_text(said) ? pt_json_text(said) : "");
        puts(line.msg);
    }
    pt_json_destroy(all);
    return rc;
}

/* It gave no answer: perhaps it is gone. */
static int look_again(struct pt_ledger *l, int64_t id, struct pt_err *err)
{
    struct pt_record_run run;
    struct pt_err other = PT_ERR_INIT;
    if (pt_record_get(l, id, &run, &other) < 0 || run.state == PT_RECORDED_RUNNING)
        return -1;
    if (run.state == PT_RECORDED_ENDED)
        return pt_err_set_kind(err, PT_ERR_INFRA, "run %s has ended meanwhile", run.name);
    return pt_record_lost(&run, err);
}

static int ask(struct pt_ledger *l, const char *what, const struct pt_record_options *o,
               const struct pt_record_run *run, struct pt_err *err)
{
    struct pt_buf question = {0}, answer = {0};
    int rc = make_question(what, o->last, &question, err);
    if (rc == 0 && pt_door_ask(o->state, run->name, question.data, question.len, WAIT_MS, &answer, err) < 0)
        rc = look_again(l, run->id, err);
    else if (rc == 0)
        rc = read_answer(run, &answer, err);
    pt_buf_fini(&question);
    pt_buf_fini(&answer);
    return rc;
}

static int ask_for(struct pt_ledger *l, const char *what, const struct pt_record_options *o,
                   struct pt_err *err)
{
    struct pt_record_run run;
    return pt_record_choose_live(l, o, &run, err) < 0 ? -1 : ask(l, what, o, &run, err);
}

int pt_record_add_host(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err)
{
    return ask_for(l, "add-host", o, err);
}

int pt_record_drain_host(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err)
{
    return ask_for(l, "drain-host", o, err);
}
