/* assent-begin as a whole, before a client of the test's own: what it prints, and how it leaves. Everything that it
 * uses of the library's client and administration is defined here, so neither is linked. */
#include <criterion/criterion.h>
#include <unistd.h>

#define main begin_main
#include "../../producers/begin/main.c"
#undef main
#include "../../producers/begin/request.c"

#define ID "0193502e-8f3c-7c1e-9f6e-2b9d3a1c4f55"

struct assent_client {
        struct assent_client_options options;
        struct assent_uuid txn_id;
        bool told;
};

static struct {
        enum assent_err send_err;
        bool confirmed; /* the broker reports the begin, */
        enum assent_err begun_err;
        enum assent_outcome told;      /* and a coordinator this; 0: nothing */
        bool stopped;                  /* Ctrl-C */
        enum assent_err evaluate_err;  /* what the lane says */
        enum assent_outcome evaluated; /* when that is ASSENT_OK */
        int evaluations;
} script;
static char output[256];

static void set_up(void)
{
        script.confirmed = true;
}

TestSuite(client_program, .init = set_up);

enum assent_err assent_client_open(const struct assent_client_options *options, struct assent_client **out)
{
        *out = calloc(1, sizeof **out);
        (*out)->options = *options;
        return ASSENT_OK;
}

enum assent_err assent_client_send(struct assent_client *client, const struct assent_begin *begin_asked)
{
        client->txn_id = begin_asked->txn_id;
        return script.send_err;
}

static void tell(const struct assent_client *client, enum assent_outcome outcome)
{
        const struct assent_notice notice = {.txn_id = client->txn_id, .outcome = outcome};
        client->options.outcome(client->options.context, &notice);
}

enum assent_err assent_client_step(struct assent_client *client, int timeout_ms)
{
        if (script.stopped)
                return ASSENT_AGAIN;
        if (!script.confirmed || client->told)
                usleep((useconds_t)timeout_ms * 1000);
        if (script.confirmed && !client->told) {
                client->told = true;
                client->options.began(client->options.context, &client->txn_id, script.begun_err);
                if (script.told)
                        tell(client, script.told);
        }
        return ASSENT_OK;
}

enum assent_err assent_client_evaluate(struct assent_client *client, const struct assent_uuid *txn_id,
                                       struct assent_notice *notice)
{
        cr_assert_eq(memcmp(&client->txn_id, txn_id, sizeof *txn_id), 0);
        script.evaluations++;
        *notice = (struct assent_notice){.txn_id = *txn_id, .outcome = script.evaluated};
        return script.evaluate_err;
}

void assent_client_stop(struct assent_client *client)
{
        (void)client;
}

const char *assent_client_errmsg(const struct assent_client *client)
{
        (void)client;
        return "the client says why";
}

void assent_client_close(struct assent_client *client)
{
        free(client);
}

enum assent_err assent_admin_open(const struct assent_config *config, struct assent_admin **out)
{
        (void)config;
        *out = NULL;
        return ASSENT_E_MEMORY; /* the timeline is no part of these tests */
}

enum assent_err assent_admin_txn_show(struct assent_admin *admin, const struct assent_uuid *txn_id, assent_line line,
                                      void *context)
{
        (void)admin, (void)txn_id, (void)line, (void)context;
        return ASSENT_E_MEMORY;
}

const char *assent_admin_errmsg(const struct assent_admin *admin)
{
        (void)admin;
        return "";
}

void assent_admin_close(struct assent_admin *admin)
{
        (void)admin;
}

/* Runs it; what it printed to standard output stands in `output`. */
static int run(const char *extra)
{
        char program[] = "assent-begin", branch[] = "--branch=payment:charge:{}", txn[] = "--txn=" ID;
        char wait[] = "--wait=30ms", more[32];
        char *argv[] = {program, branch, txn, wait, extra ? more : NULL, NULL};
        snprintf(more, sizeof more, "%s", extra ? extra : "");
        const int argc = extra ? 5 : 4;
        FILE *file = tmpfile();
        fflush(stdout);
        const int saved = dup(STDOUT_FILENO);
        cr_assert(file && saved >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
        const int status = begin_main(argc, argv);
        fflush(stdout);
        dup2(saved, STDOUT_FILENO);
        close(saved);
        rewind(file);
        output[fread(output, 1, sizeof output - 1, file)] = '\0';
        fclose(file);
        return status;
}

Test(client_program, what_is_refused_has_no_id)
{
        script.send_err = ASSENT_E_ARGUMENT;
        cr_assert_eq(run(NULL), EXIT_USAGE);
        cr_assert_str_eq(output, "");
        script.send_err = ASSENT_E_LIMIT;
        cr_assert_eq(run(NULL), EXIT_USAGE);
        cr_assert_str_eq(output, "");
}

Test(client_program, an_outcome_that_is_told_is_not_evaluated)
{
        script.told = ASSENT_COMMITTED;
        cr_assert_eq(run(NULL), EXIT_COMMITTED);
        cr_assert_str_eq(output, ID "\nCOMMITTED\n");
        script.told = ASSENT_ABORTED;
        cr_assert_eq(run(NULL), EXIT_ABORTED);
        cr_assert_str_eq(output, ID "\nABORTED\n");
        cr_assert_eq(script.evaluations, 0);
}

Test(client_program, c3_with_no_coordinator_the_lane_tells_the_outcome)
{
        script.evaluated = ASSENT_COMMITTED;
        cr_assert_eq(run(NULL), EXIT_COMMITTED);
        cr_assert_str_eq(output, ID "\nCOMMITTED\n");
        script.evaluated = ASSENT_ABORTED;
        cr_assert_eq(run("--json"), EXIT_ABORTED);
        cr_assert_not_null(strstr(output, "\"outcome\":\"ABORTED\""), "%s", output);
        cr_assert_eq(script.evaluations, 2);
}

Test(client_program, what_the_lane_does_not_know_stays_unknown)
{
        script.evaluate_err = ASSENT_AGAIN;
        cr_assert_eq(run(NULL), EXIT_UNKNOWN);
        cr_assert_str_eq(output, ID "\nUNKNOWN\n");
        script.evaluate_err = ASSENT_E_NOT_FOUND;
        cr_assert_eq(run(NULL), EXIT_UNKNOWN);
        script.evaluate_err = ASSENT_E_BROKER;
        cr_assert_eq(run(NULL), EXIT_UNKNOWN);
        cr_assert_eq(script.evaluations, 3);
}

Test(client_program, a_begin_that_nobody_confirms_is_looked_for_in_the_lane)
{
        script.confirmed = false;
        script.evaluate_err = ASSENT_E_NOT_FOUND;
        cr_assert_eq(run("--no-wait"), EXIT_UNKNOWN);
        cr_assert_str_eq(output, ID "\nUNKNOWN\n");
        cr_assert_eq(script.evaluations, 1);
}

Test(client_program, ctrl_c_asks_nobody_any_more)
{
        script.stopped = true;
        cr_assert_eq(run(NULL), EXIT_UNKNOWN);
        cr_assert_str_eq(output, ID "\nUNKNOWN\n");
        cr_assert_eq(script.evaluations, 0);
}

Test(client_program, no_wait_leaves_when_the_broker_holds_it)
{
        cr_assert_eq(run("--no-wait"), EXIT_COMMITTED);
        cr_assert_str_eq(output, ID "\n");
        cr_assert_eq(script.evaluations, 0);
}

Test(client_program, a_begin_that_the_broker_refuses_fails)
{
        script.begun_err = ASSENT_E_DENIED;
        cr_assert_eq(run(NULL), EXIT_FAILED);
        cr_assert_str_eq(output, ID "\n");
        cr_assert_eq(script.evaluations, 0);
}
