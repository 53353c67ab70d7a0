/* SPDX-License-Identifier: Apache-2.0 */
/* argv -> options -> one run -> exit code. */
#include "clean.h"
#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/quote.h"
#include "common/shortage.h"
#include "common/wire.h"
#include "detach.h"
#include "options.h"
#include "project.h"
#include "records.h"
#include "resume_options.h"
#include "run.h"
#include "verdict.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static int complain(struct pt_err *err)
{
    pt_shortage_hint(err);
    fprintf(stderr, "ptremote: %s%s%s\n", err->msg, err->hint[0] ? "; next: " : "", err->hint);
    return (int)pt_exit_of(err->kind);
}

/* The command line as a shell would take it, for the record. */
static char *command_line(int argc, char **argv)
{
    struct pt_buf b = {0};
    for (int i = 0; i < argc; i++) {
        if (i)
            pt_buf_append(&b, " ", 1);
        pt_quote_sh(&b, argv[i]);
    }
    pt_buf_append(&b, "", 1);
    if (!b.bad)
        return (char *)b.data;
    pt_buf_fini(&b);
    return NULL;
}

/* With --detach the program is two from here on. */
static int run(const struct pt_options *opts, const char *root, const char *command, const char *words,
               struct pt_detach *detach, struct pt_err *err)
{
    int code = 0;
    int rc = opts->detach ? pt_detach_fork(detach, &code, err) : 0;
    if (rc != 0)
        return rc < 0 ? -1 : code;
    return pt_run(opts, root, command ? command : "", words, opts->detach ? detach : NULL, err);
}

int main(int argc, char **argv)
{
    struct pt_err err = PT_ERR_INIT;
    if (argc > 1 && pt_records_is(argv[1])) {
        int code = pt_records(argc - 1, argv + 1, &err);
        return code < 0 ? complain(&err) : code;
    }
    if (argc > 1 && pt_clean_is(argv[1])) {
        int code = pt_clean(argc - 1, argv + 1, &err);
        return code < 0 ? complain(&err) : code;
    }
    struct pt_options opts = {0};
    struct pt_detach detach = PT_DETACH_INIT;
    pt_auto_free char *command = command_line(argc, argv);
    pt_auto_free char *words = NULL;
    pt_auto_free char *root = NULL;
    int rc = pt_options_parse(argc, argv, &opts, &err);
    if (rc == 0 && opts.resume)
        rc = pt_resume_options(argc, argv, &opts, &root, &words, &err);
    else
        words = pt_resume_words(argc, argv);
    if (rc == 0) {
        pt_log_setup(opts.debug ? PT_LOG_DEBUG : PT_LOG_WARN, "ptremote");
        root = root ? root : pt_project_find(opts.project, &err);
        rc = err.msg[0] ? -1 : pt_options_complete(&opts, root, &err);
        if (rc == 0)
            rc = run(&opts, root, command, words, &detach, &err);
    } else if (rc == 1) {
        rc = 0;
    }
    pt_options_fini(&opts);
    int code = rc < 0 ? complain(&err) : rc;
    pt_detach_end(&detach, rc < 0);
    return code;
}
