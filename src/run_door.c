/* SPDX-License-Identifier: Apache-2.0 */
/* What the run is asked at its door: {"do":"add-host"|"drain-host","hosts":TEXT}. The answer is
 * {"exit":CODE,"said":[LINE..],"next":TEXT}: the exit code for who asked, and what to print. */
#include "run_parts.h"

#include "door.h"
#include "json.h"
#include "verdict.h"

#include <stdio.h>
#include <string.h>

static void say(struct pt_json_out *o, const struct pt_run_host *h, const char *what)
{
    char line[PT_ERR_MAX];
    snprintf(line, sizeof(line), "%.512s: %s run %s", h->host->name, what, h->run->id);
    pt_json_put_str(o, NULL, line);
}

static int add(struct pt_run *run, const char *list, struct pt_json_out *o, struct pt_err *err)
{
    size_t before = run->hosts.n;
    int rc = pt_run_join(run, list, err);
    for (size_t i = before; i < run->hosts.n; i++)
        say(o, &run->at[i], "joins");
    return rc;
}

static int drain(struct pt_run *run, const char *name, struct pt_json_out *o, struct pt_err *err)
{
    char line[PT_ERR_MAX];
    int rc = pt_run_leave(run, name, err);
    snprintf(line, sizeof(line), "%.255s: leaves run %s once what runs there has ended", name, run->id);
    if (rc == 0)
        pt_json_put_str(o, NULL, line);
    return rc;
}

static int obey(struct pt_run *run, const char *text, size_t n, struct pt_json_out *o, struct pt_err *err)
{
    struct pt_json *line = pt_json_parse(text, n, err);
    const char *what = pt_json_text(pt_json_get(line, "do"));
    const char *hosts = pt_json_text(pt_json_get(line, "hosts"));
    int rc;
    if (!what || !hosts)
        rc = pt_err_set_kind(err, PT_ERR_USAGE, "a question that run %s does not understand", run->id);
    else if (strcmp(what, "add-host") == 0)
        rc = add(run, hosts, o, err);
    else if (strcmp(what, "drain-host") == 0)
        rc = drain(run, hosts, o, err);
    else
        rc = pt_err_set_kind(err, PT_ERR_USAGE, "run %s does not know '%.80s'", run->id, what);
    pt_json_destroy(line);
    return rc;
}

static void on_asked(void *arg, const char *text, size_t n, struct pt_buf *answer)
{
    struct pt_run *run = arg;
    struct pt_err err = PT_ERR_INIT;
    struct pt_json_out o;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    pt_json_open_array(&o, "said");
    int rc = obey(run, text, n, &o, &err);
    if (rc < 0)
        pt_json_put_str(&o, NULL, err.msg);
    pt_json_close(&o);
    pt_json_put_int(&o, "exit", rc < 0 ? (int)pt_exit_of(err.kind) : PT_EXIT_OK);
    if (err.hint[0])
        pt_json_put_str(&o, "next", err.hint);
    pt_json_close(&o);
    if (pt_json_out_end(&o) == 0)
        pt_buf_append(answer, o.buf.data, o.buf.len);
    pt_buf_fini(&o.buf);
    pt_run_check(run);
}

void pt_run_door_open(struct pt_run *run)
{
    struct pt_err err = PT_ERR_INIT;
    char line[PT_ERR_MAX + 64];
    run->door = pt_door_create(run->loop, run->state_dir, run->id, on_asked, run, &err);
    snprintf(line, sizeof(line), "hosts can neither join this run nor leave it: %s", err.msg);
    if (!run->door)
        pt_terminal_note(run->terminal, line);
}
