/* audit.c: walks all databases side by side in the order of the transaction ids and judges one
 * transaction after the other.
 *
 * Each database tells the same story twice: the framework's table (assent_branch: what was voted
 * and decided) and the service's own (orders, ledger and holds, shipments and reservations: what
 * happened). Four things are proved:
 *  1. in each database, a branch has its effect exactly when it is committed, and exactly once;
 *  2. over all databases, a transaction is committed in every one of its branches or in none;
 *  3. nothing is in doubt, parked, frozen or held;
 *  4. the sums follow: each account's balance is its opening balance plus and minus its ledger
 * rows, and so for stock. */
#include "audit.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <assent/types.h>

/* What a row of the service's tables says about a branch. */
enum effect { EFFECT_NONE, EFFECT_UNDONE, EFFECT_HELD, EFFECT_APPLIED };

/* What a row of assent_branch says. The numbers are those of the file format, see
 * framework/core/participant.h. */
enum state_class { CLASS_IN_DOUBT, CLASS_COMMITTED, CLASS_ABORTED, CLASS_READ_ONLY };

static const struct state {
        const char *name;
        enum state_class class;
} states[] = {
    [0] = {"UNKNOWN", CLASS_ABORTED}, /* only frozen ones have such a row */
    [1] = {"PARKED", CLASS_IN_DOUBT},     [2] = {"PREPARED", CLASS_IN_DOUBT}, [3] = {"PRE_COMMITTED", CLASS_IN_DOUBT},
    [4] = {"COMMITTED", CLASS_COMMITTED}, [5] = {"ABORTED", CLASS_ABORTED},   [6] = {"REFUSED", CLASS_ABORTED},
    [7] = {"READ_ONLY", CLASS_READ_ONLY}, [8] = {"TOMBSTONE", CLASS_ABORTED},
};
#define STATES (sizeof states / sizeof *states)

#define NAMES_SIZE_MAX 48 /* several databases, in a sentence */

static const char branches_sql[] = "SELECT txn_id, branch, state, branches_count, frozen, parked FROM assent_branch"
                                   " ORDER BY txn_id, branch";

/* Per service: its effects in key order (1 undone, 2 held, 3 applied: enum effect), and questions
 * whose every row is a violation (subject, sentence). */
static const struct audited {
        const char *name;
        const char *effects_sql;
        const char *sums_sql; /* opening, now */
        const char *checks_sql[3];
} audited[AUDIT_SERVICES] = {
    [AUDIT_ORDER] = {.name = "order",
                     .effects_sql = "SELECT txn_id, branch, CASE state WHEN 'CANCELLED' THEN 1"
                                    " WHEN 'PENDING' THEN 2 ELSE 3 END FROM orders ORDER BY txn_id, branch",
                     .checks_sql = {"SELECT order_id, format('is %s at version %d', state, version) FROM orders"
                                    " WHERE version <> 1 + (state <> 'PENDING') + edits + (deleted_ms > 0)"}},
    [AUDIT_PAYMENT] =
        {.name = "payment",
         .effects_sql = "SELECT txn_id, branch, 2 FROM holds"
                        " UNION ALL SELECT txn_id, branch, 3 FROM ledger ORDER BY 1, 2",
         .sums_sql = "SELECT sum(opening_cents), sum(balance_cents) FROM accounts",
         .checks_sql = {"WITH moved(account, cents) AS (SELECT account, -amount_cents FROM ledger"
                        "  UNION ALL SELECT payee, amount_cents FROM ledger),"
                        " total(account, cents) AS (SELECT account, sum(cents) FROM moved GROUP BY account)"
                        " SELECT account, format('balance is %d cents, opening and ledger make %d',"
                        "  balance_cents, opening_cents + coalesce(cents, 0))"
                        " FROM accounts LEFT JOIN total USING(account)"
                        " WHERE balance_cents <> opening_cents + coalesce(cents, 0)",
                        "WITH held(account, cents) AS"
                        "  (SELECT account, sum(amount_cents) FROM holds GROUP BY account)"
                        " SELECT account, format('%d cents held, its holds make %d',"
                        "  held_cents, coalesce(cents, 0))"
                        " FROM accounts LEFT JOIN held USING(account) WHERE held_cents <> coalesce(cents, 0)",
                        "SELECT 'all accounts', format('%d cents at the start, %d now',"
                        "  sum(opening_cents), sum(balance_cents))"
                        " FROM accounts HAVING sum(opening_cents) <> sum(balance_cents)"}},
    [AUDIT_INVENTORY] =
        {.name = "inventory",
         .effects_sql = "SELECT txn_id, branch, 2 FROM reservations GROUP BY txn_id, branch"
                        " UNION ALL SELECT txn_id, branch, 3 FROM shipments GROUP BY txn_id, branch"
                        " ORDER BY 1, 2",
         .sums_sql = "SELECT sum(opening),"
                     " sum(on_hand) + coalesce((SELECT sum(quantity) FROM shipments), 0) FROM stock",
         .checks_sql = {"WITH gone(sku, pieces) AS (SELECT sku, sum(quantity) FROM shipments GROUP BY sku)"
                        " SELECT sku, format('%d on hand, opening and shipments make %d',"
                        "  on_hand, opening - coalesce(pieces, 0))"
                        " FROM stock LEFT JOIN gone USING(sku)"
                        " WHERE on_hand <> opening - coalesce(pieces, 0)",
                        "WITH held(sku, pieces) AS (SELECT sku, sum(quantity) FROM reservations GROUP BY sku)"
                        " SELECT sku, format('%d reserved, its reservations make %d',"
                        "  reserved, coalesce(pieces, 0))"
                        " FROM stock LEFT JOIN held USING(sku) WHERE reserved <> coalesce(pieces, 0)"}},
};

/* A statement in key order, standing on its current row. */
struct cursor {
        sqlite3_stmt *statement;
        bool done;
        struct assent_uuid txn_id;
        uint16_t branch;
};

struct source {
        sqlite3 *db;
        struct cursor branches, effects;
};

/* What is known about one branch of the transaction being judged. */
struct share {
        uint16_t source; /* the database that it was first seen in */
        uint16_t state;
        bool known; /* by the framework: assent_branch has a row of it */
        bool frozen;
        uint32_t applied, held, undone; /* rows of the service's tables */
};

struct audit {
        struct audit_report *report;
        const struct audit_options *options;
        struct source sources[AUDIT_DATABASES_MAX];
        struct assent_uuid txn_id; /* the transaction being judged */
        uint64_t seen;             /* its branches found, one bit each */
        uint32_t branches_count;   /* as its rows say; 0: none says */
        struct share shares[ASSENT_BRANCHES_MAX];
};

const char *audit_service_name(enum audit_service service)
{
        assert((unsigned)service < AUDIT_SERVICES);
        return audited[service].name;
}

/* The databases given are numbered: those of the three services, then the others. */
static unsigned sources_count(const struct audit_options *options)
{
        assert(options->others_count <= AUDIT_OTHERS_MAX);
        return AUDIT_SERVICES + (unsigned)options->others_count;
}

static const char *source_path(const struct audit_options *options, unsigned source)
{
        assert(source < sources_count(options));
        return source < AUDIT_SERVICES ? options->paths[source] : options->others[source - AUDIT_SERVICES];
}

/* A service's name, or the file's. */
static const char *source_name(const struct audit_options *options, unsigned source)
{
        if (source < AUDIT_SERVICES)
                return audited[source].name;
        const char *path = source_path(options, source), *slash = strrchr(path, '/');
        return slash ? slash + 1 : path;
}

__attribute__((format(printf, 4, 5))) static void violate(struct audit *audit, const char *service, bool about_txn,
                                                          const char *format, ...)
{
        struct audit_report *report = audit->report;

        if (report->violations < AUDIT_SHOWN_MAX) {
                struct audit_violation *violation = &report->shown[report->violations];
                va_list arguments;
                snprintf(violation->service, sizeof violation->service, "%s", service);
                violation->txn_id[0] = '\0';
                if (about_txn)
                        assent_uuid_format(&audit->txn_id, violation->txn_id);
                va_start(arguments, format);
                vsnprintf(violation->text, sizeof violation->text, format, arguments);
                va_end(arguments);
        }
        report->violations++;
}

static bool fail(struct audit *audit, unsigned source, const char *what)
{
        snprintf(audit->report->errmsg, sizeof audit->report->errmsg, "%.60s (%.200s): %s: %.160s",
                 source_name(audit->options, source), source_path(audit->options, source), what,
                 sqlite3_errmsg(audit->sources[source].db));
        return false;
}

/* --- cursors
 * --------------------------------------------------------------------------------------------------------
 */

static bool cursor_next(struct audit *audit, unsigned number, struct cursor *cursor)
{
        int code = sqlite3_step(cursor->statement);

        assert(!cursor->done);
        if (code == SQLITE_DONE) {
                cursor->done = true;
                return true;
        }
        if (code != SQLITE_ROW)
                return fail(audit, number, "read");
        int64_t branch = sqlite3_column_int64(cursor->statement, 1);
        if (sqlite3_column_bytes(cursor->statement, 0) != sizeof cursor->txn_id.bytes || branch < 0 ||
            branch >= ASSENT_BRANCHES_MAX)
                return fail(audit, number, "a row is keyed by no txn id and branch");
        memcpy(cursor->txn_id.bytes, sqlite3_column_blob(cursor->statement, 0), sizeof cursor->txn_id.bytes);
        cursor->branch = (uint16_t)branch;
        return true;
}

static bool cursor_open(struct audit *audit, unsigned number, struct cursor *cursor, const char *sql)
{
        if (sqlite3_prepare_v2(audit->sources[number].db, sql, -1, &cursor->statement, NULL) != SQLITE_OK)
                return fail(audit, number, "not a database of this service");
        return cursor_next(audit, number, cursor);
}

static bool source_open(struct audit *audit, unsigned number)
{
        struct source *source = &audit->sources[number];
        struct audit_database *database = &audit->report->databases[number];

        if (sqlite3_open_v2(source_path(audit->options, number), &source->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
                return fail(audit, number, "open");
        sqlite3_busy_timeout(source->db, 5000);
        /* One snapshot for all questions to this database. */
        if (sqlite3_exec(source->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
                return fail(audit, number, "begin");
        database->audited = true;
        snprintf(database->name, sizeof database->name, "%s", source_name(audit->options, number));
        if (!cursor_open(audit, number, &source->branches, branches_sql))
                return false;
        return number >= AUDIT_SERVICES || cursor_open(audit, number, &source->effects, audited[number].effects_sql);
}

static void source_close(struct source *source)
{
        sqlite3_finalize(source->branches.statement);
        sqlite3_finalize(source->effects.statement);
        int code = sqlite3_close(source->db);
        assert(code == SQLITE_OK); /* else a statement is left */
}

/* --- one transaction
 * ------------------------------------------------------------------------------------------------
 */

static struct share *share_of(struct audit *audit, unsigned number, uint16_t branch)
{
        struct share *share = &audit->shares[branch];

        if (!(audit->seen & UINT64_C(1) << branch)) {
                audit->seen |= UINT64_C(1) << branch;
                *share = (struct share){.source = (uint16_t)number};
        } else if (share->source != number) {
                violate(audit, source_name(audit->options, number), true, "branch %u is in the database of %s too",
                        branch, source_name(audit->options, share->source));
        }
        return share;
}

static bool take_branches(struct audit *audit, unsigned number)
{
        struct cursor *cursor = &audit->sources[number].branches;
        struct audit_database *database = &audit->report->databases[number];

        while (!cursor->done && memcmp(&cursor->txn_id, &audit->txn_id, sizeof audit->txn_id) == 0) {
                struct share *share = share_of(audit, number, cursor->branch);
                int64_t state = sqlite3_column_int64(cursor->statement, 2);
                int64_t count = sqlite3_column_int64(cursor->statement, 3);
                if (state < 0 || state >= (int64_t)STATES)
                        return fail(audit, number, "a branch has an unknown state");
                share->known = true;
                share->state = (uint16_t)state;
                share->frozen = sqlite3_column_int(cursor->statement, 4) != 0;
                database->branches++;
                database->committed += states[state].class == CLASS_COMMITTED;
                database->aborted += states[state].class == CLASS_ABORTED;
                database->in_doubt += states[state].class == CLASS_IN_DOUBT;
                if (sqlite3_column_int(cursor->statement, 5) != 0)
                        violate(audit, source_name(audit->options, number), true, "branch %u has parked messages",
                                cursor->branch);
                if (audit->branches_count && audit->branches_count != count)
                        violate(audit, source_name(audit->options, number), true,
                                "is one of %" PRId64 " branches here, of %u elsewhere", count, audit->branches_count);
                audit->branches_count = (uint32_t)count;
                if (!cursor_next(audit, number, cursor))
                        return false;
        }
        return true;
}

static bool take_effects(struct audit *audit, unsigned number)
{
        struct cursor *cursor = &audit->sources[number].effects;
        struct audit_database *database = &audit->report->databases[number];

        while (!cursor->done && memcmp(&cursor->txn_id, &audit->txn_id, sizeof audit->txn_id) == 0) {
                struct share *share = share_of(audit, number, cursor->branch);
                enum effect effect = (enum effect)sqlite3_column_int(cursor->statement, 2);
                share->undone += effect == EFFECT_UNDONE;
                share->held += effect == EFFECT_HELD;
                share->applied += effect == EFFECT_APPLIED;
                database->held += effect == EFFECT_HELD;
                database->effects += effect == EFFECT_APPLIED;
                if (!cursor_next(audit, number, cursor))
                        return false;
        }
        return true;
}

/* Proofs 1 and 3 for one branch. Returns what it counts as; a branch that the framework has
 * forgotten (P12) speaks through its effect alone. */
static enum state_class judge_share(struct audit *audit, uint16_t branch)
{
        const struct share *share = &audit->shares[branch];
        const char *name = source_name(audit->options, share->source);
        const bool effects_known = share->source < AUDIT_SERVICES;
        enum state_class class = share->known     ? states[share->state].class
                                 : share->applied ? CLASS_COMMITTED
                                                  : CLASS_ABORTED;

        if (share->frozen)
                violate(audit, name, true, "branch %u is frozen: it saw contradicting decisions", branch);
        if (share->applied > 1 || share->applied + share->held + share->undone > 1)
                violate(audit, name, true, "branch %u has more than one effect", branch);
        if (class == CLASS_IN_DOUBT)
                violate(audit, name, true, "branch %u is in doubt (%s)", branch, states[share->state].name);
        else if (share->held)
                violate(audit, name, true, "branch %u still holds something", branch);
        if (class == CLASS_COMMITTED && effects_known && !share->applied)
                violate(audit, name, true, "branch %u is committed and has no effect", branch);
        if (class != CLASS_COMMITTED && share->applied)
                violate(audit, name, true, "branch %u has its effect and is %s", branch, states[share->state].name);
        return class;
}

/* The names of the databases whose bit is set. */
static void names_join(const struct audit *audit, uint64_t set, char names[NAMES_SIZE_MAX])
{
        size_t used = 0;

        names[0] = '\0';
        for (unsigned number = 0; number < sources_count(audit->options) && used < NAMES_SIZE_MAX; number++)
                if (set & UINT64_C(1) << number)
                        used += (size_t)snprintf(names + used, NAMES_SIZE_MAX - used, "%s%s", used ? ", " : "",
                                                 source_name(audit->options, number));
}

/* A committed transaction of which not all branches were found. */
static void judge_missing(struct audit *audit, const char *names, uint32_t count)
{
        assert(count != audit->branches_count);
        if (audit->options->complete)
                violate(audit, names, true, "committed, but only %u of its %u branches are in these databases", count,
                        audit->branches_count);
        else
                audit->report->elsewhere++;
}

/* Proof 2. */
static void judge(struct audit *audit)
{
        uint64_t committed = 0, aborted = 0, all = 0; /* databases, one bit each */
        uint32_t count = 0, in_doubt = 0;
        char names[NAMES_SIZE_MAX], committed_names[NAMES_SIZE_MAX], aborted_names[NAMES_SIZE_MAX];

        for (uint16_t branch = 0; branch < ASSENT_BRANCHES_MAX; branch++) {
                if (!(audit->seen & UINT64_C(1) << branch))
                        continue;
                const uint64_t bit = UINT64_C(1) << audit->shares[branch].source;
                enum state_class class = judge_share(audit, branch);
                count++;
                in_doubt += class == CLASS_IN_DOUBT;
                committed |= class == CLASS_COMMITTED ? bit : 0;
                aborted |= class == CLASS_ABORTED ? bit : 0;
                all |= bit;
        }
        assert(count > 0);
        audit->report->transactions++;
        audit->report->committed += committed != 0;
        audit->report->aborted += !committed && aborted;
        audit->report->in_doubt += in_doubt > 0;
        names_join(audit, all, names);
        names_join(audit, committed, committed_names);
        names_join(audit, aborted, aborted_names);
        if (committed && aborted)
                violate(audit, names, true, "SPLIT: committed in %s, aborted in %s", committed_names, aborted_names);
        if (committed && audit->branches_count && count != audit->branches_count)
                judge_missing(audit, names, count);
}

/* The smallest txn id that any cursor stands on. False at the end. */
static bool next_txn(struct audit *audit)
{
        bool found = false;

        for (unsigned number = 0; number < sources_count(audit->options); number++) {
                const struct cursor *cursors[] = {&audit->sources[number].branches, &audit->sources[number].effects};
                for (size_t i = 0; i < 2; i++) {
                        if (!cursors[i]->statement || cursors[i]->done)
                                continue;
                        if (!found || memcmp(&cursors[i]->txn_id, &audit->txn_id, sizeof audit->txn_id) < 0)
                                audit->txn_id = cursors[i]->txn_id;
                        found = true;
                }
        }
        return found;
}

static bool walk(struct audit *audit)
{
        while (next_txn(audit)) {
                audit->seen = 0;
                audit->branches_count = 0;
                for (unsigned number = 0; number < sources_count(audit->options); number++) {
                        if (!source_path(audit->options, number))
                                continue;
                        if (!take_branches(audit, number))
                                return false;
                        if (number < AUDIT_SERVICES && !take_effects(audit, number))
                                return false;
                }
                judge(audit);
        }
        return true;
}

/* --- one database (proof 4)
 * ----------------------------------------------------------------------------------------- */

static bool check(struct audit *audit, enum audit_service service, const char *sql)
{
        sqlite3_stmt *statement;
        int code;

        if (sqlite3_prepare_v2(audit->sources[service].db, sql, -1, &statement, NULL) != SQLITE_OK)
                return fail(audit, service, "not a database of this service");
        while ((code = sqlite3_step(statement)) == SQLITE_ROW)
                violate(audit, audited[service].name, false, "%s: %s", (const char *)sqlite3_column_text(statement, 0),
                        (const char *)sqlite3_column_text(statement, 1));
        sqlite3_finalize(statement);
        return code == SQLITE_DONE || fail(audit, service, "read");
}

static bool check_sums(struct audit *audit, enum audit_service service)
{
        struct audit_database *database = &audit->report->databases[service];
        sqlite3_stmt *statement;

        for (size_t i = 0; i < 3 && audited[service].checks_sql[i]; i++)
                if (!check(audit, service, audited[service].checks_sql[i]))
                        return false;
        if (!audited[service].sums_sql)
                return true;
        if (sqlite3_prepare_v2(audit->sources[service].db, audited[service].sums_sql, -1, &statement, NULL) !=
            SQLITE_OK)
                return fail(audit, service, "not a database of this service");
        int code = sqlite3_step(statement);
        if (code == SQLITE_ROW) {
                database->opening = sqlite3_column_int64(statement, 0);
                database->now = sqlite3_column_int64(statement, 1);
        }
        sqlite3_finalize(statement);
        return code == SQLITE_ROW || fail(audit, service, "read");
}

/* --- the whole
 * ------------------------------------------------------------------------------------------------------
 */

bool audit_run(const struct audit_options *options, struct audit_report *report)
{
        struct audit audit = {.report = report, .options = options};
        bool ran = true;

        memset(report, 0, sizeof *report);
        if (options->others_count > AUDIT_OTHERS_MAX) {
                snprintf(report->errmsg, sizeof report->errmsg, "%zu other databases are given; at most %d are taken",
                         options->others_count, AUDIT_OTHERS_MAX);
                return false;
        }
        const unsigned count = sources_count(options);
        for (unsigned number = 0; number < count && ran; number++)
                if (source_path(options, number))
                        ran = source_open(&audit, number);
        ran = ran && walk(&audit);
        for (int service = 0; service < AUDIT_SERVICES && ran; service++)
                if (options->paths[service])
                        ran = check_sums(&audit, (enum audit_service)service);
        for (unsigned number = 0; number < count; number++)
                source_close(&audit.sources[number]);
        assert(ran == (report->errmsg[0] == '\0'));
        return ran;
}

static int64_t monotonic_ms(void)
{
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool audit_wait(const struct audit_options *options, int64_t wait_ms, struct audit_report *report)
{
        int64_t end_ms = monotonic_ms() + wait_ms;

        for (;;) {
                int64_t begun_ms = monotonic_ms();
                bool ran = audit_run(options, report);
                int64_t now_ms = monotonic_ms();
                if (!ran || report->violations == 0 || now_ms >= end_ms)
                        return ran;
                /* At most half the time goes into looking. */
                int64_t pause_ms = now_ms - begun_ms > 200 ? now_ms - begun_ms : 200;
                nanosleep(&(struct timespec){pause_ms / 1000, pause_ms % 1000 * 1000000}, NULL);
        }
}

bool audit_duration_parse(const char *text, int64_t *duration_ms)
{
        static const struct {
                const char *name;
                int64_t ms;
        } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}};
        char *unit;

        if (text[0] < '0' || text[0] > '9')
                return false;
        errno = 0;
        long long value = strtoll(text, &unit, 10);
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
                if (strcmp(unit, units[i].name) == 0 && errno == 0 && value <= 3600000 / units[i].ms) {
                        *duration_ms = value * units[i].ms;
                        return true;
                }
        }
        return false;
}

static void print_sum(const struct audit_report *report, enum audit_service service, const char *what, FILE *out)
{
        const struct audit_database *database = &report->databases[service];
        int64_t unit = service == AUDIT_PAYMENT ? 100 : 1;

        if (!database->audited)
                return;
        fprintf(out, "  %-10s %" PRId64, what, database->opening / unit);
        if (unit > 1)
                fprintf(out, ".%02" PRId64, database->opening % unit);
        fprintf(out, " at the start, %" PRId64, database->now / unit);
        if (unit > 1)
                fprintf(out, ".%02" PRId64, database->now % unit);
        fprintf(out, " now%s\n", database->opening == database->now ? "" : "   <-- NOT THE SAME");
}

void audit_print(const struct audit_report *report, FILE *out)
{
        fprintf(out, "  %-10s %10s %10s %10s %10s %10s %10s\n", "database", "branches", "committed", "aborted",
                "effects", "in doubt", "held");
        for (int i = 0; i < AUDIT_DATABASES_MAX; i++) {
                const struct audit_database *database = &report->databases[i];
                if (database->audited)
                        fprintf(out,
                                "  %-10s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64
                                " %10" PRIu64 "\n",
                                database->name, database->branches, database->committed, database->aborted,
                                database->effects, database->in_doubt, database->held);
        }
        print_sum(report, AUDIT_PAYMENT, "money", out);
        print_sum(report, AUDIT_INVENTORY, "pieces", out);
        fprintf(out,
                "  %" PRIu64 " transactions: %" PRIu64 " committed, %" PRIu64 " aborted, %" PRIu64 " in doubt; %" PRIu64
                " violations\n",
                report->transactions, report->committed, report->aborted, report->in_doubt, report->violations);
        if (report->elsewhere)
                fprintf(out,
                        "  note: %" PRIu64
                        " committed transactions have branches elsewhere, which were not looked at\n",
                        report->elsewhere);
        for (uint64_t i = 0; i < report->violations && i < AUDIT_SHOWN_MAX; i++)
                fprintf(out, "  VIOLATION %s%s%s: %s\n", report->shown[i].service,
                        report->shown[i].txn_id[0] ? " " : "", report->shown[i].txn_id, report->shown[i].text);
        if (report->violations > AUDIT_SHOWN_MAX)
                fprintf(out, "  … and %" PRIu64 " more\n", report->violations - AUDIT_SHOWN_MAX);
}
