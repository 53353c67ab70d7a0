/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* PLAN: which tests go to which host next. Pure: no clock, no I/O, one thread.
 *
 *   units come (add .. collected) ─► lines ─► next ─► a host holds the bundle ─► told, told .. ─► done
 *                                     ▲ first in line again, next attempt           │
 *                                     └──── lost · returned · stolen · again ◄──────┘
 *
 * After every event: pt_plan_impossible until it gives PT_NONE, pt_plan_next until 0, then pt_plan_recall,
 * pt_plan_steal and pt_plan_drop until 0 each. All are cheap when there is nothing to do. Near the end of a
 * run each outcome is an event.
 *
 * Bundles are made when they are dealt, from the longest units first; units of unknown duration come before
 * those of known duration. Small units are joined until a slot gets about bundles_per_worker bundles: first
 * with those that came next to them and share their file, and always in the order they came.
 * Heavy units go first, the heaviest of all before others; while one finds no room, a host is drained for it:
 * what is lighter goes there only beside it, into slots that it leaves. Those that are exclusive on their
 * host go to an idle one, those that are exclusive in the run go when nothing else can be dealt. Tests of
 * several ranks are heavy units of their number of slots. They never share a bundle with tests of other
 * ranks, are joined as small ones are, and parted between atoms into bundles that are short against what is
 * left of their size, as nothing is stolen from them. Those that no host can take alone go to several that
 * may run tests together, as few as can be, which are drained for one bundle at a time; each of them gives it
 * as many slots as it has ranks. When a host is lost, the tests it had not told go back. The bundles that
 * were at work there are accused; one that was in PT_PLAN_DEATHS deaths is split, and its tests are dealt one
 * by one, each to a host that has nothing else. One that hosts die of there PT_PLAN_ALONE times, and
 * PT_PLAN_KILLS times in all, is given up, and its deaths count against nothing else (plan_suspects.c). */
#include "common/message_group.h"

struct pt_err;
struct pt_plan;

#define PT_PLAN_LOSSES      3 /* bundles that end without a word of a test: it is given up */
#define PT_PLAN_DEATHS      2 /* of hosts while a bundle is at work: it is split */
#define PT_PLAN_ALONE       2 /* of hosts while a test of it is alone there: it is given up */
#define PT_PLAN_KILLS       3 /* deaths in all that nothing else explains, before that */
#define PT_PLAN_DEATHS_TOLD 8
#define PT_PLAN_ALL         0xfffffffeu

enum pt_schedule {
    PT_SCHEDULE_DYNAMIC,    /* on demand, longest first */
    PT_SCHEDULE_STATIC,     /* packed onto (host, slot) before the first is dealt: reproducible */
    PT_SCHEDULE_SEQUENTIAL, /* one bundle at a time in the whole run, in the order added, on one slot */
};

struct pt_plan_spec {
    uint32_t hosts;              /* hosts are numbered 0 .. hosts-1 */
    uint32_t more;               /* that may be added later */
    uint32_t bundles_per_worker; /* at least 1 */
    uint32_t timeout_ms;         /* goes into every bundle */
    enum pt_schedule schedule;
    bool in_order;  /* dynamic: units go out in the order added, not the longest first */
    bool across;    /* tests of several ranks are spread over hosts also where one host has slots enough */
    bool apart;     /* no test is spread over hosts: they have no network for it */
    bool speculate; /* a straggler is dealt a second time when slots idle; the first report counts */
    double leave; /* seconds of ordinary work that each slot is to hold, if there is so much; 0: no more than
                   * it takes to be never idle */
};

enum pt_exclusive { PT_EXCLUSIVE_NOT, PT_EXCLUSIVE_HOST, PT_EXCLUSIVE_RUN };

/* Tests that are dealt together, in this order. Two tests with one atom number next to each other are never
 * parted, also when a slot that began the unit is relieved of the rest. */
struct pt_plan_unit {
    const struct pt_bundle_file *files; /* a path may come again */
    uint32_t nfiles;
    const uint32_t *atoms;   /* one for each test, in order; NULL: all of them are one */
    const float *seconds_of; /* expected, one for each test; NULL or < 0: not known */
    double seconds;          /* expected of all, with imports; < 0: not known */
    uint32_t weight;         /* slots of one host that it takes; 0 is 1 */
    uint32_t ranks; /* of MPI that run each of its tests; 0 and 1: it is an ordinary one. PT_PLAN_ALL: as many
                     * as the slots of the host it goes to, all of which it takes */
    bool numa;      /* its ranks have a NUMA domain to themselves */
    enum pt_exclusive exclusive;
    uint64_t needs; /* labels that its host must have, a bit each */
    uint32_t host;  /* must run there; PT_NONE: anywhere */
    uint32_t rank;  /* of that host; PT_NONE: on any slot. Of tests of several ranks: a number that those have
                     * that run one after the other, in the order added, on any slots of that host */
    bool alone;     /* is a bundle of its own: never joined with others, never cut */
};

struct pt_plan *pt_plan_create(const struct pt_plan_spec *spec, struct pt_err *err);
void pt_plan_destroy(struct pt_plan *plan);

/* A file and its chosen tests in the order to run, each an atom; everything is copied. Test numbers are the
 * caller's, each given once in a plan. seconds: what the file took last time, < 0 when unknown. n = 0 adds
 * nothing. */
int pt_plan_add_file(struct pt_plan *plan, const char *path, const struct pt_bundle_test *tests, uint32_t n,
                     double seconds, struct pt_err *err);
/* The same for any unit. Units pinned to one (host, rank) are dealt in the order added, each as a bundle. A
 * unit never weighs less than its ranks. One
 * whose names do not fit a message goes in parts, between atoms if that can be. */
int pt_plan_add(struct pt_plan *plan, const struct pt_plan_unit *unit, struct pt_err *err);
/* As in_order of the spec, before the first unit comes. */
void pt_plan_keep_order(struct pt_plan *plan);
/* No more files will come. */
void pt_plan_collected(struct pt_plan *plan);

/* This host will come with so many slots (0: it will not): sizes bundles, and tells what is too heavy. A
 * static run begins when every host is here, was lost for good (never), or was expected with 0. Optional. */
void pt_plan_expect(struct pt_plan *plan, uint32_t host, uint32_t slots);
/* This host takes bundles on so many slots from now on; 0 stops dealing to it, what it holds stays held. */
void pt_plan_host(struct pt_plan *plan, uint32_t host, uint32_t slots);

/* What this host can do, a bit each: for units with needs. Before it is dealt anything. */
void pt_plan_labels(struct pt_plan *plan, uint32_t host, uint64_t labels);
/* This host will never come (again): units that only it could take become impossible. */
void pt_plan_never(struct pt_plan *plan, uint32_t host);
/* One more host, of as yet unknown slots; its number, PT_NONE when there is no room for more. What was
 * impossible before it came stays so. Not with a schedule that is not dynamic. */
uint32_t pt_plan_add_host(struct pt_plan *plan);
/* Nothing more is dealt to this host, for good: pt_plan_recall asks for all that waits there, pt_plan_steal
 * for the later parts of what runs, and the rest may end. False, and nothing is changed: some test that
 * waits, or that it holds, could run on no other host. */
bool pt_plan_drain(struct pt_plan *plan, uint32_t host);
/* Neither does it hold a bundle, nor has it a share of one. */
bool pt_plan_is_free(const struct pt_plan *plan, uint32_t host);
/* Do tests wait for several hosts together, and is one up that was not when pt_plan_together was told last,
 * or that was lost since? Then ask the hosts who reaches whom, and tell it. */
bool pt_plan_wants_together(const struct pt_plan *plan);
/* Those of these hosts (by number, n flags) that are up may run tests together from now on, the others that
 * are up may not; a later call replaces it. Tests for which these and those still to come are too few become
 * impossible. A host that is lost may no more. */
void pt_plan_together(struct pt_plan *plan, const bool *may, uint32_t n);
/* A test that waits and that no host of the run can ever take (needs, weight, pinned), or PT_NONE. It counts
 * as told from then on. Hosts whose slots are not known yet count as able; with no host left it is every test
 * that waits. */
uint32_t pt_plan_impossible(struct pt_plan *plan);
/* Is that for want of slots for its ranks? Then want is how many it takes, and most what the largest host has
 * or had that has all else it needs, or all those together that were not found unable to. False: for another
 * reason, or not known. */
bool pt_plan_lacks_slots(const struct pt_plan *plan, uint32_t test, uint32_t *want, uint32_t *most);

struct pt_plan_deal {
    uint32_t host;
    const struct pt_bundle *bundle; /* the plan's, valid until destroy */
    bool copy;  /* of a bundle that another slot is at (speculation), under a number of its own */
    bool alone; /* a suspect: nothing else is on its hosts until it is through */
    /* Of several ranks, packed by a static run: its step among those of its host (first fit, the widest
     * first, as many beside each other as there are slots), the first slot of it and how many it takes. Else
     * step is PT_NONE. */
    uint32_t step, slot, width;
};
/* Deal one bundle: 1 and fills deal; 0 nothing to deal now; -1 no memory (nothing is lost: ask again). Picks
 * the host with most room; a host holds more than its slots only while no other that may take the work has a
 * free slot, and never beside a heavy bundle. A bundle with a spread goes to the first host of it, which
 * alone counts as holding it; it takes slots of all. When one of the others is lost, it is accused, nothing
 * more that is said of it is believed, pt_plan_drop has the first host told, and with that one's DONE it goes
 * back. */
int pt_plan_next(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err);

/* Is a message about (bundle, attempt, test) from this host believable? test may be PT_NONE. Of a copied
 * bundle both holders are believed; of a test that was stolen or is to run again, only who gets it next. */
bool pt_plan_holds(const struct pt_plan *plan, uint32_t host, uint32_t bundle, uint32_t attempt,
                   uint32_t test);
/* Was that test ever dealt to this host, in its last bundle or a copy of it? */
bool pt_plan_had(const struct pt_plan *plan, uint32_t host, uint32_t test);
/* The last attempt of that bundle, valid until destroy; NULL when it was never dealt. */
const struct pt_bundle *pt_plan_bundle(const struct pt_plan *plan, uint32_t bundle);
/* The test has its outcome. False when it had one already (or is no test): drop the report. */
bool pt_plan_told(struct pt_plan *plan, uint32_t test);
/* That test has begun there, says its host. Not believed when it does not hold it. */
void pt_plan_begun(struct pt_plan *plan, uint32_t host, uint32_t bundle, uint32_t attempt, uint32_t test);
/* The host is through with that attempt. Tests it did not tell go back, each counted as lost once (given_up
 * as in pt_plan_lost). False when the host does not hold it: ignore the message. */
bool pt_plan_done(struct pt_plan *plan, uint32_t host, uint32_t bundle, uint32_t attempt,
                  void (*given_up)(void *arg, uint32_t test), void *arg);
/* The host's workers are gone: all it held goes back, and it has no slots until pt_plan_host. given_up (may
 * be NULL) is called once for each test that is not tried again; these count as told. */
void pt_plan_lost(struct pt_plan *plan, uint32_t host, void (*given_up)(void *arg, uint32_t test), void *arg);
/* Was that test given up as it brings hosts down? Then of which hosts it did, oldest first, the last `alone`
 * times as all that ran there. Before that its bundle was at work there. */
struct pt_plan_deaths {
    uint32_t n, alone;
    uint32_t hosts[PT_PLAN_DEATHS_TOLD];
};
bool pt_plan_killed(const struct pt_plan *plan, uint32_t test, struct pt_plan_deaths *deaths);
/* Deaths of that host that are not its own fault: a suspect was tried there, or a test that was given up
 * explains them. */
uint32_t pt_plan_excused(const struct pt_plan *plan, uint32_t host);

/* Is there a bundle worth calling back, as another host idles or this one is drained? 1: send RECALL bundle
 * to host, then call pt_plan_returned with the answer; 0 no. */
int pt_plan_recall(struct pt_plan *plan, uint32_t *host, uint32_t *bundle);
/* The answer to a recall: given back (true) or too late. False when nothing was asked: ignore the message. */
bool pt_plan_returned(struct pt_plan *plan, uint32_t host, uint32_t bundle, bool given_back);

/* Is there a bundle whose later part is worth taking to an idle slot? 1: fills tests (the plan's, valid until
 * the answer), send STEAL, then call pt_plan_stolen with the answer; 0 no. The atom that runs, as far as
 * was told, and the one after it stay. Dynamic schedule only; nothing pinned to a slot, heavy,
 * exclusive or alone is cut. Optional: who never calls this has only whole bundles moved and copied. */
struct pt_plan_steal {
    uint32_t host, bundle;
    const uint32_t *tests;
    uint32_t n;
};
int pt_plan_steal(struct pt_plan *plan, struct pt_plan_steal *steal);
/* The answer: these were given back and wait again, as a unit of their own. False when nothing was asked or a
 * test is not of it: ignore the message. */
bool pt_plan_stolen(struct pt_plan *plan, uint32_t host, uint32_t bundle, uint32_t attempt,
                    const uint32_t *tests, uint32_t n);
/* Is there a held bundle of which all is told, as its copy was quicker, or one that lost a host of its
 * spread? 1: send DROP, DONE follows; 0 no. */
int pt_plan_drop(struct pt_plan *plan, uint32_t *host, uint32_t *bundle);

/* The test is to run once more: untold again, in a unit of its own, as early as can be, on another host if
 * one has a free slot. After pt_plan_told and before the next question; one that is untold stays as it is. -1
 * no memory, or no such test. */
int pt_plan_again(struct pt_plan *plan, uint32_t test, struct pt_err *err);

/* Deal no more (a limit of failures, an interrupt): what waits stays untold. */
void pt_plan_stop(struct pt_plan *plan);
/* Every test told or given up and collection ended; after pt_plan_stop: no host holds anything. */
bool pt_plan_over(const struct pt_plan *plan);

/* Bundles a host holds; tests still without an outcome. */
uint32_t pt_plan_held(const struct pt_plan *plan, uint32_t host);
uint32_t pt_plan_untold(const struct pt_plan *plan);
/* Has this test its outcome, or was it given up? */
bool pt_plan_is_told(const struct pt_plan *plan, uint32_t test);
/* Units that wait to be dealt for the first time, and bundles that wait to be dealt again. */
uint32_t pt_plan_waiting(const struct pt_plan *plan);
/* The same, and bundles that a host holds, of tests of one rank only. */
uint32_t pt_plan_waiting_plain(const struct pt_plan *plan);
uint32_t pt_plan_held_plain(const struct pt_plan *plan, uint32_t host);
/* Numbers of ranks above 1 that tests want which wait and which this host may take, in the order in which
 * they would be dealt, the greatest first: at most max of them, how many. Tests that run again count, those
 * at work and those that several hosts take together do not. */
uint32_t pt_plan_sizes(const struct pt_plan *plan, uint32_t host, struct pt_size *sizes, uint32_t max);

/* --dry-run: call `each` for all bundles in the order they would be dealt, on the hosts that pt_plan_host or
 * pt_plan_expect told of, as if each took what is expected. Uses the plan up; what is untold then could not
 * be dealt. */
int pt_plan_preview(struct pt_plan *plan, void (*each)(void *arg, const struct pt_plan_deal *deal), void *arg,
                    struct pt_err *err);
