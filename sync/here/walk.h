/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: the folders of a project as a tree, which several threads fill. A folder is visited by one of them,
 * and only after the folder above it. */
#include "sync/arena.h"
#include "sync/here/crew.h"
#include "sync/here/hashcache.h"

struct pt_err;
struct pt_folder;

/* Why something is in the tree, and what became of it. */
enum {
    PT_ITEM_PLAIN = 1,    /* found in a folder that is sent whole */
    PT_ITEM_LISTED = 2,   /* git names it */
    PT_ITEM_EXTRA = 4,    /* --extra-files names it */
    PT_ITEM_EMPTY = 8,    /* an empty folder, which git does not know */
    PT_ITEM_SENT = 15,    /* any of these */
    PT_ITEM_ENTER = 16,   /* --extra-files may name something below */
    PT_ITEM_MAYBE = 32,   /* a folder that git does not know: it may turn out to be empty */
    PT_ITEM_OUT = 64,     /* excluded */
    PT_ITEM_DONE = 128,   /* what is there was looked at */
    PT_ITEM_FOLLOW = 256, /* a link whose end is sent in its place */
};

struct pt_item {
    const char *path;
    uint32_t name; /* where its last part begins */
    uint32_t flags;
    enum pt_entry_type type; /* 0 when nothing of use is there */
    unsigned mode;
    struct pt_stamp stamp;
    const char *link;         /* the target */
    struct pt_folder *folder; /* what lies in it, or NULL */
    struct pt_hashed hashed;  /* digest NULL: not known yet */
    struct pt_item *below;    /* pt_walk_flatten's own */
};

struct pt_folder {
    const char *path; /* "" is the top */
    size_t len;
    struct pt_folder *up, *next;
    struct pt_item *items;
    size_t n, cap;
    size_t sorted;         /* items that are in order, by name */
    uint64_t dev, ino;     /* of the folder that was seen in its place */
    unsigned state;        /* the visitor's own */
    const char *context;   /* the followed link that it lies behind, "" for none */
    bool read, gone, venv; /* its names were read; it vanished; it is a virtual environment */
    bool news;             /* there is more to look at since it was visited */
    bool leads, leads_known;
};

struct pt_walk;

/* One thread's share. */
struct pt_worker {
    struct pt_walk *walk;
    struct pt_arena arena;
    char *names; /* room for getdents */
};

struct pt_walk {
    int root; /* borrowed: descriptor of the top folder */
    int (*visit)(struct pt_worker *w, struct pt_folder *f, struct pt_err *err);
    void *arg;
    struct pt_folder top;
    struct pt_worker worker[PT_CREW_MAX];
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct pt_folder *todo;
    unsigned queued, busy;
    bool failed, helped;
    struct pt_crew crew;
    struct pt_err *err;
};

void pt_walk_init(struct pt_walk *walk, int root);
void pt_walk_fini(struct pt_walk *walk);
/* Forget all that was found. */
void pt_walk_reset(struct pt_walk *walk);

/* A name in a folder; NULL when memory ends. Pointers to items are good until the next one is added. */
struct pt_item *pt_walk_add(struct pt_worker *w, struct pt_folder *f, const char *name, size_t n);
/* The same with a path that lives long enough. */
struct pt_item *pt_walk_add_path(struct pt_folder *f, const char *path, size_t name);
/* Take back what pt_walk_add gave last. */
void pt_walk_drop(struct pt_worker *w, struct pt_folder *f);
/* Among those that are sorted, or NULL. */
struct pt_item *pt_walk_find(const struct pt_folder *f, const char *name);
/* Sort; of two items with one name make one. */
void pt_walk_tidy(struct pt_folder *f);
/* A folder below `up`, which nothing lies in yet. path must live long enough. */
struct pt_folder *pt_walk_folder(struct pt_worker *w, struct pt_folder *up, const char *path, size_t len);
/* Forget what lies in it. */
void pt_walk_forget(struct pt_folder *f);
char *pt_walk_copy(struct pt_worker *w, const char *s, size_t n);

/* Have a folder visited: by the visitor for those below it, or between two runs. */
void pt_walk_queue(struct pt_walk *walk, struct pt_folder *f);
/* Visit all that is queued until nothing is left, or one visit fails. */
int pt_walk_run(struct pt_walk *walk, struct pt_err *err);

/* Tell the names in a folder but "." and ".."; kind is DT_DIR, DT_REG, DT_LNK, or anything else. note < 0
 * ends it. -1 with errno. */
int pt_walk_names(struct pt_worker *w, int fd, int (*note)(void *arg, const char *name, size_t n, int kind),
                  void *arg);

/* True when something in the folder is sent, or was listed there even though it is not there. */
bool pt_walk_leads(struct pt_folder *f);
/* All that is to be sent, in the order of a manifest, to be freed; NULL when memory ends. */
struct pt_item **pt_walk_flatten(struct pt_walk *walk, size_t *n);
