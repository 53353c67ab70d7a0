/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to all runs at once: what each test came to, and what one gave in each. */
#include "common/err.h"
#include "ledger_inside.h"

/* One row a test and run: the gravest of what counted, and how often it was tried. Not of a run whose reports
 * another took over. */
#define SEEN                                                                                                 \
    "SELECT t.run, t.nodeid, t.occurrence, MAX(CASE WHEN r.counted>0 THEN r.outcome END) AS outcome,"        \
    " MAX(CASE WHEN r.counted>0 AND r.extra=0 THEN r.duration END) AS duration,"                             \
    " MAX(CASE WHEN r.counted>0 AND r.extra=0 THEN r.host END) AS host,"                                     \
    " MAX(ifnull(r.try,1)) AS tries FROM tests t JOIN reports r ON r.run=t.run AND r.test=t.number"          \
    " AND (r.counted>0 OR r.rerun>0)"                                                                        \
    " AND t.run NOT IN (SELECT resumes FROM runs WHERE resumes>0 AND argv IS NOT NULL)"

#define TEST " PARTITION BY nodeid, occurrence ORDER BY duration IS NULL, "

static const char trends[] =
    "WITH seen AS (" SEEN " GROUP BY t.run, t.number),"
    " ranked AS (SELECT *, ROW_NUMBER() OVER (" TEST "duration) AS place,"
    " COUNT(duration) OVER (PARTITION BY nodeid, occurrence) AS timed,"
    " FIRST_VALUE(duration) OVER (" TEST "run DESC) AS last FROM seen)"
    " SELECT nodeid, occurrence, ifnull(SUM(outcome=?1),0), ifnull(SUM(outcome>=?2),0),"
    " ifnull(SUM(outcome=?1 AND tries>1),0),"
    " AVG(CASE WHEN place IN ((timed+1)/2, (timed+2)/2) THEN duration END) AS median, MAX(last)"
    " FROM ranked GROUP BY nodeid, occurrence ORDER BY median DESC, nodeid, occurrence";

_Static_assert(PT_OUTCOME_ERROR < PT_OUTCOME_FAILED && PT_OUTCOME_LOST < PT_OUTCOME_ERROR &&
                   PT_OUTCOME_CRASHED + 1 == PT_OUTCOMES,
               "from error on, a test went wrong");

int pt_ledger_each_trend(struct pt_ledger *l, pt_ledger_trend_fn *fn, void *arg, struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(l, trends, 0, err);
    int rc = 0, step = SQLITE_DONE;
    if (!s)
        return -1;
    sqlite3_bind_int(s, 1, PT_OUTCOME_PASSED);
    sqlite3_bind_int(s, 2, PT_OUTCOME_ERROR);
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct pt_ledger_trend t = {.nodeid = pt_column_text(s, 0),
                                    .occurrence = pt_column_u32(s, 1),
                                    .passed = pt_column_u32(s, 2),
                                    .failed = pt_column_u32(s, 3),
                                    .reran = pt_column_u32(s, 4),
                                    .median = pt_column_real(s, 5),
                                    .last = pt_column_real(s, 6)};
        rc = fn(arg, &t);
    }
    return pt_ledger_end_read(l, s, step, rc, err);
}

static const char pasts[] =
    "SELECT nodeid, occurrence, u.name, h.name, u.started, ifnull(outcome,0), tries, duration FROM"
    " (" SEEN " WHERE instr(t.nodeid, ?1) > 0 GROUP BY t.run, t.number) p JOIN runs u ON u.id=p.run"
    " LEFT JOIN hosts h ON h.run=p.run AND h.number=p.host ORDER BY nodeid, occurrence, p.run DESC";

int pt_ledger_each_past(struct pt_ledger *l, const char *part, pt_ledger_past_fn *fn, void *arg,
                        struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(l, pasts, 0, err);
    int rc = 0, step = SQLITE_DONE;
    if (!s)
        return -1;
    pt_bind_text(s, 1, part);
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct pt_ledger_past p = {.nodeid = pt_column_text(s, 0),
                                   .occurrence = pt_column_u32(s, 1),
                                   .run = pt_column_text(s, 2),
                                   .host = pt_column_text(s, 3),
                                   .started = pt_column_real(s, 4),
                                   .outcome = pt_column_u32(s, 5),
                                   .tries = pt_column_u32(s, 6),
                                   .duration = pt_column_real(s, 7)};
        rc = fn(arg, &p);
    }
    return pt_ledger_end_read(l, s, step, rc, err);
}
