/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The one table of options. options.c parses by it, options_config.c reads files by it, options_help.c and
 * options_script.c print it. */
#include "options.h"

enum pt_option_kind {
    PT_OPTION_FLAG,    /* bool */
    PT_OPTION_COUNT,   /* uint32_t: how often */
    PT_OPTION_NUMBER,  /* uint32_t from min to max */
    PT_OPTION_SECONDS, /* uint32_t milliseconds, written as seconds, minutes or hours; min and max in seconds
                        */
    PT_OPTION_SIZE,    /* uint64_t bytes, written with k, m, g or t (powers of 1024) */
    PT_OPTION_CHOICE,  /* an enum: index into choices */
    PT_OPTION_STRING,  /* char * */
    PT_OPTION_MAYBE,   /* char *: a value may stand behind =, else "" */
    PT_OPTION_FILE,    /* char *: a path; in a configuration file relative to that file's folder */
    PT_OPTION_FOLDER,  /* the same, of a folder */
    PT_OPTION_WORDS,   /* struct pt_words: may be given again */
    PT_OPTION_ALIAS,   /* stands for `means`: with min as the value, or a flag */
    PT_OPTION_HELP,
    PT_OPTION_VERSION,
};

enum pt_option_group {
    PT_GROUP_HOSTS,
    PT_GROUP_SEND,
    PT_GROUP_RUN,
    PT_GROUP_RESULTS,
    PT_GROUP_OTHER,
    PT_GROUPS,
};

/* Which files may set an option besides the command line. */
enum pt_option_files { PT_FILES_ANY, PT_FILES_USER, PT_FILES_NONE };

struct pt_option_row {
    const char *name; /* long, without dashes; NULL: only the letter */
    char letter;      /* 0: none */
    enum pt_option_kind kind;
    enum pt_option_group group;
    enum pt_option_files files;
    size_t offset; /* of the field in struct pt_options */
    uint32_t min, max, initial;
    const char *const *choices; /* NULL-terminated */
    const char *means;          /* name of another row */
    const char *value;          /* how help writes the value */
    bool (*fits)(const char *value);
    const char *want;               /* what `fits` takes, for the message */
    bool (*next)(const char *word); /* of MAYBE: the next word is the value too, if it looks so */
    const char *help;               /* sentences, wrapped where printed */
};

extern const struct pt_option_row pt_option_rows[];
extern const size_t pt_option_count;
extern const char *const pt_option_groups[PT_GROUPS];

/* By long name of n bytes; by letter. NULL: none. */
const struct pt_option_row *pt_option_find(const char *name, size_t n);
const struct pt_option_row *pt_option_find_letter(char letter);
/* The option whose name is nearest to a mistyped one, NULL when none is near. */
const struct pt_option_row *pt_option_near(const char *name, size_t n);

/* Must a value follow? */
bool pt_option_takes_value(const struct pt_option_row *row);
/* May it be given again, adding up? */
bool pt_option_repeats(const struct pt_option_row *row);
/* Set the field; value NULL for a flag or a count that stands alone. Errors say what was wanted. */
int pt_option_set(struct pt_options *opts, const struct pt_option_row *row, const char *value,
                  struct pt_err *err);
void pt_option_defaults(struct pt_options *opts);
int pt_words_add(struct pt_words *words, const char *s);

/* To stdout: -1 when it cannot be written. */
int pt_options_print_help(const char *how, struct pt_err *err);
/* Text in lines of 80 columns. */
void pt_options_print_wrapped(const char *s);
void pt_options_print_man(void);
void pt_options_print_bash(void);

/* A term and what is to be said about it, for the closing sections of help and man page. */
struct pt_option_note {
    const char *term, *text;
};
struct pt_option_section {
    const char *title;
    const struct pt_option_note *notes; /* up to one with term NULL */
    size_t indent;                      /* column of the text in --help */
};
extern const struct pt_option_section pt_option_sections[]; /* up to one with title NULL */
/* The command that cleans hosts with its arguments; then one with term NULL. */
extern const struct pt_option_note pt_clean_notes[];
extern const char *const pt_option_intro;
extern const char *const pt_option_usage;
