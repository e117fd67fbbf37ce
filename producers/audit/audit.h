/* audit.h: proves from the services' own databases that every transaction had its effect everywhere
 * exactly once, or nowhere. Reads only; needs neither broker nor coordinator. */
#ifndef ASSENT_PRODUCERS_AUDIT_H
#define ASSENT_PRODUCERS_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum audit_service { AUDIT_ORDER, AUDIT_PAYMENT, AUDIT_INVENTORY, AUDIT_SERVICES };

#define AUDIT_DATABASES_MAX 64
#define AUDIT_OTHERS_MAX    (AUDIT_DATABASES_MAX - AUDIT_SERVICES)

#define AUDIT_SHOWN_MAX 20 /* violations kept as text; the others are counted */

struct audit_violation {
        char service[48]; /* "order", or "order, payment" where they disagree */
        char txn_id[37];  /* "" when it is about no transaction in particular */
        char text[160];
};

/* What one database holds. */
struct audit_database {
        bool audited;
        char name[48];      /* the service's, or the file's */
        uint64_t branches;  /* that the framework still remembers (P12 forgets old ones) */
        uint64_t committed; /* of them */
        uint64_t aborted;   /* of them, whatever way: refused, aborted, never prepared */
        uint64_t in_doubt;  /* of them: voted, or parked before a vote, and not decided */
        uint64_t effects;   /* branches that had their effect; only the three services' are known */
        uint64_t held;      /* branches for which something is still held; as above */
        int64_t opening;    /* payment: cents; inventory: pieces, all SKUs together */
        int64_t now;        /* payment: cents; inventory: pieces left and shipped */
};

struct audit_report {
        struct audit_database databases[AUDIT_DATABASES_MAX]; /* the services', then the others */
        uint64_t transactions, committed, aborted, in_doubt;
        uint64_t elsewhere; /* of the committed: with branches in none of the databases, unless `complete` */
        uint64_t violations;
        struct audit_violation shown[AUDIT_SHOWN_MAX];
        char errmsg[512];
};

struct audit_options {
        const char *paths[AUDIT_SERVICES]; /* by service; NULL: not to be audited */
        /* Databases of other participants, at most AUDIT_OTHERS_MAX: their branches are audited, their effects are
         * nothing that the audit knows of. */
        const char *const *others;
        size_t others_count;
        bool complete; /* these are all databases: a committed transaction must have all its branches in them */
};

const char *audit_service_name(enum audit_service service);

/* Audits once. False when a database cannot be read (errmsg says why); a violation is not a failure
 * to audit. */
bool audit_run(const struct audit_options *options, struct audit_report *report);

/* Audits again and again until there is no violation or `wait_ms` have passed: what is in doubt now
 * may be decided soon, and the databases of running services are not read at the same instant. */
bool audit_wait(const struct audit_options *options, int64_t wait_ms, struct audit_report *report);

/* Reads "30s", "500ms" or "2m". False when it is none of these or above an hour. */
bool audit_duration_parse(const char *text, int64_t *duration_ms);

void audit_print(const struct audit_report *report, FILE *out);

#endif
