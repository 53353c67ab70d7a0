/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "report.h"

#include <string.h>

static const char *const kinds[] = {
    [PT_NOTE_COLLECT] = "collect", [PT_NOTE_MISSING] = "missing",
    [PT_NOTE_WARNING] = "warning", [PT_NOTE_REPORT] = "report",
    [PT_NOTE_STOP] = "stop",       [PT_NOTE_SUITE] = "suite",
    [PT_NOTE_FILE] = "file",       [PT_NOTE_WORKEROUTPUT] = "workeroutput",
    [PT_NOTE_UNSAFE] = "unsafe",
};

const char *pt_note_name(enum pt_note_kind kind)
{
    return (unsigned)kind < PT_COUNT(kinds) ? kinds[kind] : "?";
}

int pt_warning_read(const struct pt_json *object, struct pt_warning *w, struct pt_err *err)
{
    struct pt_fields f = {.object = object};
    *w = (struct pt_warning){
        .message = pt_field_str(&f, "message"),
        .category = pt_field_str(&f, "category"),
        .filename = pt_field_str(&f, "filename"),
        .when = pt_field_str(&f, "when"),
        .nodeid = pt_field_str(&f, "nodeid"),
        .text = pt_field_str(&f, "text"),
        .lineno = pt_field_u32(&f, "lineno", PT_NONE - 1, 0),
    };
    if (!f.bad && !w->message)
        f.bad = "message";
    return pt_fields_end(&f, "warning", err);
}

static void get_kind(struct pt_fields *f, struct pt_note *note)
{
    const char *name = pt_field_str(f, "kind");
    for (unsigned i = 0; name && i < PT_COUNT(kinds); i++) {
        if (strcmp(name, kinds[i]) == 0) {
            note->kind = (enum pt_note_kind)i;
            return;
        }
    }
    f->bad = "kind";
}

static void get_fields(struct pt_fields *f, struct pt_note *note)
{
    note->path = pt_field_str(f, "path");
    note->nodeid = pt_field_str(f, "nodeid");
    note->found = pt_field_array(f, "found");
    note->reason = pt_field_str(f, "reason");
    note->properties = pt_field_array(f, "properties");
    note->modules = pt_field_array(f, "modules");
    note->seconds = note->kind == PT_NOTE_FILE ? pt_field_num(f, "seconds", -1) : -1;
    note->test = pt_field_u32(f, note->kind == PT_NOTE_REPORT ? "after" : "test", PT_NONE, PT_NONE);
    note->exit = -1;
    if (note->kind == PT_NOTE_STOP)
        note->exit = (int)pt_field_u32(f, "exit", 255, 256);
    if (note->exit == 256)
        note->exit = -1;
    if (f->bad)
        return;
    if ((note->kind == PT_NOTE_COLLECT || note->kind == PT_NOTE_MISSING || note->kind == PT_NOTE_FILE) &&
        !note->path)
        f->bad = "path";
    if (note->kind == PT_NOTE_MISSING && (note->test == PT_NONE || !note->nodeid))
        f->bad = "test";
    if (note->kind == PT_NOTE_SUITE && !note->properties)
        f->bad = "properties";
}

static int get_parts(struct pt_note *note, struct pt_err *err)
{
    if (note->kind == PT_NOTE_WARNING)
        return pt_warning_read(note->json, &note->warning, err);
    if (note->kind == PT_NOTE_COLLECT || note->kind == PT_NOTE_REPORT)
        return pt_report_read(pt_json_get(note->json, "report"), &note->report, err);
    return 0;
}

int pt_note_decode(const void *json, size_t n, struct pt_note *note, struct pt_err *err)
{
    *note = (struct pt_note){.json = pt_json_parse(json, n, err)};
    if (!note->json)
        return pt_err_wrap(err, "note");
    struct pt_fields f = {.object = note->json};
    get_kind(&f, note);
    get_fields(&f, note);
    if (pt_fields_end(&f, "note", err) < 0 || get_parts(note, err) < 0) {
        pt_note_fini(note);
        return -1;
    }
    return 0;
}

void pt_note_fini(struct pt_note *note)
{
    pt_report_fini(&note->report);
    pt_json_destroy(note->json);
    *note = (struct pt_note){0};
}
