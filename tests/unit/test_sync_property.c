/* SPDX-License-Identifier: Apache-2.0 */
/* Random trees, random edits, random trouble: whatever happened before, after a sync the workspace is the
 * tree. A thousand rounds in four lives; what a life learns and keeps (hash cache, memory of the hosts,
 * record, store) goes on from round to round. PTREMOTE_SEED repeats what failed, PTREMOTE_ROUNDS sets the
 * number of rounds of each life, PTREMOTE_KEEP keeps the folder for a look. */
#include "sync/here/scan.h"
#include "sync_life.h"

#include <time.h>

#define ROUNDS 250
#define TRIES  5 /* scans of a tree that changes */

/* --- before the sync --- */

static void damage(const char *path)
{
    struct stat st;
    pt_auto_fd int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size)
        return;
    off_t at = (off_t)random_below((size_t)st.st_size);
    unsigned char byte = (unsigned char)random_next();
    if (random_percent(50))
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    else
        cr_assert_eq(ftruncate(fd, at), 0);
}

/* A file of a host's store, or what is left of it. */
static void damage_store(const struct drive_host *h)
{
    pt_auto_free char *store = NULL;
    cr_assert_gt(asprintf(&store, "%s/store", h->cache), 0);
    if (access(store, F_OK) < 0)
        return;
    struct shot files = shot_walk(store, true); /* a host may be tidying it */
    for (size_t i = 0; i < 3 && files.n; i++) {
        const struct shot_entry *e = &files.e[random_below(files.n)];
        pt_auto_free char *path = NULL;
        cr_assert_gt(asprintf(&path, "%s/%s", store, e->path), 0);
        if (S_ISREG(e->mode) && random_percent(30))
            unlink(path);
        else
            damage(path);
    }
    if (random_percent(30))
        random_remove_at(AT_FDCWD, store);
    shot_fini(&files);
}

/* The file that remembers it; NULL when there is none. */
static char *memory_of(const struct drive_host *h)
{
    char *out = NULL;
    struct shot files = shot_take(h->state);
    for (size_t i = 0; !out && i < files.n; i++)
        if (S_ISREG(files.e[i].mode))
            cr_assert_gt(asprintf(&out, "%s/%s", h->state, files.e[i].path), 0);
    shot_fini(&files);
    return out;
}

/* Something that was kept is lost or damaged. */
static void lose(struct project *p, struct place *place)
{
    struct drive_host *h = &place->host;
    pt_auto_free char *record = workspace_of(h, "record");
    pt_auto_free char *tree = workspace_of(h, "tree");
    pt_auto_free char *memory = memory_of(h);
    pt_auto_free char *other = memory_of(&w.projects[p == w.projects].places[0].host);
    switch (random_below(7)) {
    case 0:
        if (memory)
            random_percent(50) ? (void)unlink(memory) : damage(memory);
        break;
    case 1: /* remembered is the other project */
        if (memory && other)
            renameat2(AT_FDCWD, memory, AT_FDCWD, other, RENAME_EXCHANGE);
        break;
    case 2:
        random_percent(50) ? (void)unlink(p->cache) : damage(p->cache);
        break;
    case 3:
        drive_disconnect(h);
        random_percent(50) ? (void)unlink(record) : damage(record);
        shot_fini(&place->last);
        break;
    case 4:
        drive_disconnect(h);
        random_remove_at(AT_FDCWD, tree);
        shot_fini(&place->last);
        break;
    default:
        if (random_percent(70))
            drive_disconnect(h);
        damage_store(h);
    }
}

/* The tree is changed; sometimes it becomes another, as by a switch of branches. */
static void edit(struct project *p)
{
    static const size_t few[] = {0, 0, 1, 2, 3, 5, 8, 20, 60, 150};
    if (random_percent(6)) {
        cr_assert_eq(renameat2(AT_FDCWD, p->here, AT_FDCWD, p->kept, RENAME_EXCHANGE), 0);
        return;
    }
    p->tree.large = random_percent(w.life->large);
    if (!p->tree.large)
        random_drop_large(&p->tree, 25);
    random_edit_tree(&p->tree, few[random_below(PT_COUNT(few))]);
}

/* What tests do to a workspace. */
static void dirty(const struct place *place)
{
    static const size_t few[] = {0, 0, 0, 1, 2, 3, 10, 40};
    pt_auto_free char *path = workspace_of(&place->host, "tree");
    pt_auto_free char *outside = path_of("outside");
    struct random_tree tree = {.root = path, .outside = outside, .wild = true};
    if (access(path, F_OK) < 0)
        return;
    random_edit_tree(&tree, few[random_below(PT_COUNT(few))]);
    shot_fini(&tree.now);
}

/* --- the sync --- */

static void race(void *arg)
{
    struct project *p = arg;
    if (w.raced && random_percent(60)) {
        w.raced--;
        random_edit_tree(&p->tree, 1 + random_below(4));
    }
}

static struct pt_manifest *scan(struct project *p)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_tree_spec spec = {.root = p->here, .cache = p->cache, .algorithm = w.algorithm};
    shot_fini(&w.wanted);
    w.wanted = shot_take(p->here);
    struct pt_manifest *m = pt_manifest_scan(&spec, &err);
    WANT(m, "the scan fails: %s", err.msg);
    return m;
}

static void start_lane(struct drive_lane *l, struct place *place, struct pt_fanout *f)
{
    static const int levels[] = {0, 1, 3, 9};
    struct drive_host *h = &place->host;
    *l = (struct drive_lane){
        .host = h, .alive = true, .level = levels[random_below(PT_COUNT(levels))], .err = PT_ERR_INIT};
    h->sent = pt_sent_load(h->state, h->machine, "");
    cr_assert_not_null(h->sent);
    static const char *const keep[] = {"**/left.o"};
    struct pt_push_spec spec = {.fanout = f,
                                .base = pt_sent_manifest(h->sent),
                                .known = pt_sent_known(h->sent),
                                .keep = keep,
                                .nkeep = w.keep ? 1 : 0,
                                .ask = pt_sent_unfinished(h->sent)};
    if (random_percent(50))
        pt_frame_end(&l->out, pt_frame_begin(&l->out, PT_C_SURVEY));
    l->push = pt_push_create(&spec, &l->out, &l->err);
    cr_assert_not_null(l->push, "%s", l->err.msg);
    l->alive = drive_write(l);
}

static void end_lane(struct drive_lane *l, struct place *place, const struct pt_fanout *f)
{
    struct drive_host *h = l->host;
    struct pt_push_figures figures;
    pt_push_get_figures(l->push, &figures);
    place->done = pt_push_state(l->push) == PT_PUSH_DONE;
    if (!l->alive && !place->done) {
        WANT(h->how != DRIVE_NOT, "the push to %s fails: %s", h->machine, l->err.msg);
        int status = drive_disconnect(h);
        WANT(status <= 1 || status == 128 + SIGKILL, "the receiver ends with %d", status);
    }
    w.seen.done += place->done;
    w.seen.broken += !l->alive;
    w.seen.stale += pt_push_state(l->push) == PT_PUSH_STALE;
    w.seen.forgot += figures.forgot;
    w.seen.sent += figures.synced.files_sent;
    w.seen.reused += figures.synced.files_reused;
    w.seen.removed += figures.synced.removed;
    w.seen.bytes += figures.wire;
    w.seen.files += w.wanted.n;
    h->how = DRIVE_NOT;
    if (!place->done && random_percent(50))
        pt_sent_set_unfinished(h->sent);
    pt_push_destroy(l->push);
    if (place->done && random_percent(95)) {
        pt_sent_tree(h->sent, pt_fanout_manifest(f), figures.forgot, NULL);
        cr_assert_eq(pt_sent_save(h->sent, NULL), 0);
    }
    pt_sent_destroy(h->sent);
    pt_buf_fini(&l->out);
    pt_buf_fini(&l->in);
}

/* One scan, pushed to every host that is not done yet. True when the tree changed meanwhile. */
static bool push_once(struct project *p, bool raced)
{
    struct drive_lane lanes[HOSTS];
    struct place *of[HOSTS];
    size_t n = 0;
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = scan(p);
    for (size_t i = 0; i < w.life->hosts; i++)
        if (!p->places[i].done)
            of[n++] = &p->places[i];
    for (size_t i = 0; i < n; i++) /* before there are threads: a fork takes their locks along */
        if (!of[i]->host.tree)
            drive_connect(&of[i]->host);
    struct pt_fanout *f = pt_fanout_create(m, w.dir, (unsigned)n, &err);
    cr_assert_not_null(f, "%s", err.msg);
    for (size_t i = 0; i < n; i++)
        start_lane(&lanes[i], of[i], f);
    drive_lanes(lanes, n, race, p);
    bool stale = false;
    for (size_t i = 0; i < n; i++) {
        stale |= lanes[i].alive && pt_push_state(lanes[i].push) == PT_PUSH_STALE;
        end_lane(&lanes[i], of[i], f);
        check(p, of[i], raced);
    }
    pt_fanout_destroy(f);
    return stale;
}

/* --- rounds --- */

static void prepare(struct project *p, struct place *place)
{
    pt_auto_free char *tree = workspace_of(&place->host, "tree");
    if (random_percent(40))
        drive_disconnect(&place->host);
    if (random_percent(w.life->losses))
        lose(p, place);
    dirty(place);
    place->done = false;
    shot_fini(&place->before);
    if (access(tree, F_OK) == 0)
        place->before = shot_take(tree);
    if (random_percent(w.life->breaks)) {
        place->host.how = random_percent(50) ? DRIVE_KILL : DRIVE_HANG_UP;
        place->host.at = random_below(random_percent(50) ? 2000 : random_percent(50) ? 20000 : 200000);
    }
}

static void one_round(void)
{
    random_state = w.seed + w.round * 0x1000003u; /* chances of timing before this round do not count */
    struct project *p = &w.projects[random_percent(80) ? 0 : 1];
    bool stale = true, raced = random_percent(w.life->races);
    w.keep = random_percent(w.life->keeps);
    w.algorithm = random_percent(w.life->sha256) ? PT_DIGEST_SHA256 : PT_DIGEST_BLAKE2B;
    edit(p);
    for (size_t i = 0; i < w.life->hosts; i++)
        prepare(p, &p->places[i]);
    for (size_t i = 0; stale && i < TRIES; i++) {
        w.raced = raced && i + 2 < TRIES ? 3 : 0;
        stale = push_once(p, raced);
    }
    WANT(!stale, "sent again and again");
    pt_auto_free char *outside = path_of("outside/victim");
    size_t size;
    pt_auto_free unsigned char *victim = shot_read(outside, &size);
    WANT(victim && size == 6 && memcmp(victim, "victim", 6) == 0, "a file outside was changed");
}

static void make_project(size_t number)
{
    struct project *p = &w.projects[number];
    snprintf(p->here, sizeof(p->here), "%s/here%zu", w.dir, number);
    snprintf(p->kept, sizeof(p->kept), "%s/kept%zu", w.dir, number);
    snprintf(p->cache, sizeof(p->cache), "%s/hashes%zu", w.dir, number);
    cr_assert(mkdir(p->here, 0755) == 0 && mkdir(p->kept, 0755) == 0);
    p->tree = (struct random_tree){.root = p->kept};
    random_edit_tree(&p->tree, 100);
    p->tree.root = p->here;
    random_edit_tree(&p->tree, 100);
    for (size_t i = 0; i < w.life->hosts; i++) {
        struct drive_host *h = &p->places[i].host;
        snprintf(h->cache, sizeof(h->cache), "%s/cache%zu", w.dir, w.life->shared ? 0 : i);
        snprintf(h->machine, sizeof(h->machine), "machine%zu", i);
        snprintf(h->project, sizeof(h->project), "project%zu", number);
        snprintf(h->state, sizeof(h->state), "%s/state%zu.%zu", w.dir, number, i);
        mkdir(h->state, 0700);
        h->fd = h->lock = -1;
    }
}

static void end_project(struct project *p)
{
    shot_fini(&p->tree.now);
    for (size_t i = 0; i < w.life->hosts; i++) {
        cr_assert_eq(drive_disconnect(&p->places[i].host), 0);
        shot_fini(&p->places[i].last);
        shot_fini(&p->places[i].before);
    }
}

static void live(const struct life *life)
{
    struct timespec now;
    struct stat st;
    clock_gettime(CLOCK_REALTIME, &now);
    w.life = life;
    w.seed = number_from("PTREMOTE_SEED", (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20);
    random_state = w.seed;
    bool quick = stat("/dev/shm", &st) == 0 && access("/dev/shm", W_OK) == 0;
    snprintf(w.dir, sizeof(w.dir), "%s/ptremote-property.XXXXXX", quick ? "/dev/shm" : "/tmp");
    cr_assert_not_null(mkdtemp(w.dir));
    pt_auto_free char *outside = path_of("outside");
    pt_auto_free char *victim = path_of("outside/victim");
    cr_assert_eq(mkdir(outside, 0700), 0);
    random_write((struct random_spot){AT_FDCWD, victim}, "victim", 6, 0600);
    for (size_t i = 0; i < PROJECTS; i++)
        make_project(i);
    uint64_t rounds = number_from("PTREMOTE_ROUNDS", ROUNDS);
    for (w.round = 0; w.round < rounds; w.round++)
        one_round();
    for (size_t i = 0; i < PROJECTS; i++)
        end_project(&w.projects[i]);
    bool few = rounds < ROUNDS; /* too few for every chance to come */
    cr_assert(few || !life->breaks || w.seen.broken, "no connection broke");
    cr_assert(few || (w.seen.sent && w.seen.reused && w.seen.removed), "too little happened");
    cr_log_info("%s: %" PRIu64 " pushes done, %" PRIu64 " broken, %" PRIu64 " stale, %" PRIu64
                " surprised; %" PRIu64 " paths, %" PRIu64 " files sent, %" PRIu64 " reused, %" PRIu64
                " removed, %" PRIu64 " bytes",
                life->name, w.seen.done, w.seen.broken, w.seen.stale, w.seen.forgot, w.seen.files,
                w.seen.sent, w.seen.reused, w.seen.removed, w.seen.bytes);
    shot_fini(&w.wanted);
}

static void clean_up(void)
{
    if (w.dir[0] && !getenv("PTREMOTE_KEEP"))
        random_remove_at(AT_FDCWD, w.dir);
}

TestSuite(sync_property, .fini = clean_up);

/* Found by such a life: a link that leads to itself and on grows with each turn, and was taken for one that
 * leaves the tree. */
Test(sync_property, link_to_itself_and_on)
{
    char target[600], long_name[256], path[128];
    struct pt_err err = PT_ERR_INIT;
    memset(long_name, 'b', 255);
    long_name[255] = '\0';
    snprintf(target, sizeof(target), "../d/turn/%s/%s", long_name, long_name);
    strcpy(w.dir, "/tmp/ptremote-property.XXXXXX");
    cr_assert_not_null(mkdtemp(w.dir));
    snprintf(path, sizeof(path), "%s/d", w.dir);
    cr_assert_eq(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/d/turn", w.dir);
    cr_assert_eq(symlink(target, path), 0);
    struct pt_tree_spec spec = {.root = w.dir, .algorithm = PT_DIGEST_BLAKE2B};
    struct pt_manifest *m = pt_manifest_scan(&spec, &err);
    cr_assert_not_null(m, "%s", err.msg);
    pt_manifest_destroy(m);
}

Test(sync_property, plain)
{
    live(&(struct life){.name = "plain", .hosts = 1, .races = 5, .keeps = 30});
}

Test(sync_property, trouble)
{
    live(&(struct life){
        .name = "trouble", .hosts = 1, .losses = 25, .breaks = 30, .races = 15, .keeps = 10, .sha256 = 5});
}

Test(sync_property, shared_home)
{
    live(&(struct life){
        .name = "shared_home", .hosts = 2, .shared = true, .losses = 8, .breaks = 15, .races = 5});
}

Test(sync_property, large_files)
{
    live(
        &(struct life){.name = "large_files", .hosts = 2, .large = 8, .losses = 8, .breaks = 15, .races = 5});
}
