/* What assent-load takes and refuses, and what it draws from it. */
#include <criterion/criterion.h>

#include <math.h>

#include "../../producers/audit/audit.c"
#include "../../producers/load/settings.c"
#include "../../producers/load/workload.c"

static struct assent_config *config;
static struct settings settings;

static void set_up(void)
{
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
}

static void tear_down(void)
{
        assent_config_close(config);
}

TestSuite(load_settings, .init = set_up, .fini = tear_down);

static void set(const char *assignment)
{
        cr_assert_eq(assent_config_set(config, assignment, "--test"), ASSENT_OK, "%s", assent_config_errmsg(config));
}

static void takes(const char *assignment)
{
        set(assignment);
        cr_assert(settings_read(config, NULL, 0, &settings), "%s: %s", assignment, settings.errmsg);
}

/* Refused with a sentence that holds `part`; `good` is what the key is set to afterwards. */
static void refuses(const char *assignment, const char *part, const char *good)
{
        set(assignment);
        cr_assert_not(settings_read(config, NULL, 0, &settings), "%s", assignment);
        cr_assert_not_null(strstr(settings.errmsg, part), "%s: %s", assignment, settings.errmsg);
        takes(good);
}

Test(load_settings, defaults)
{
        cr_assert(settings_read(config, NULL, 0, &settings));
        cr_assert_eq(settings.count, 1000);
        cr_assert_eq(settings.in_flight, 64);
        cr_assert_eq(settings.participants, 2);
        cr_assert_str_eq(settings.services[0].name, "payment");
        cr_assert_str_eq(settings.services[1].kind, "reserve");
        cr_assert_eq(settings.rate, 0);
        cr_assert_not(settings.audited);
}

Test(load_settings, limits_are_taken_and_one_past_them_is_refused)
{
        refuses("app.count=0", "--count 0 is no whole number from 1 to 10000000", "app.count=1");
        refuses("app.count=10000001", "--count 10000001", "app.count=10000000");
        refuses("app.in_flight=0", "from 1 to 100000", "app.in_flight=1");
        refuses("app.in_flight=100001", "from 1 to 100000", "app.in_flight=100000");
        refuses("app.accounts=0", "from 1 to 1000", "app.accounts=1");
        refuses("app.accounts=1001", "from 1 to 1000", "app.accounts=1000");
        refuses("app.payload_size=-1", "from 0 to 1048576", "app.payload_size=0");
        refuses("app.payload_size=1048577", "from 0 to 1048576", "app.payload_size=1048576");
        refuses("app.participants=0", "from 1 to 64", "app.participants=1");
        refuses("app.participants=65", "from 1 to 64", "app.participants=64");
        refuses("app.seed=-1", "from 0 to", "app.seed=0");
        refuses("app.skew=5.01", "no number from 0 to 5", "app.skew=5");
        refuses("app.skew=nan", "no number from 0 to 5", "app.skew=0");
        refuses("app.abort_ratio=1.01", "no number from 0 to 1", "app.abort_ratio=1");
        refuses("app.duplicate_ratio=-0.1", "no number from 0 to 1", "app.duplicate_ratio=0");
        refuses("app.rate=0.009", "no number from 0.01 to 1000000", "app.rate=0.01");
        refuses("app.rate=1000001", "no number from 0.01 to 1000000", "app.rate=1000000");
        refuses("app.duration=0s", "--duration 0s is no time", "app.duration=1ms");
        refuses("app.duration=61m", "at most an hour", "app.duration=60m");
        refuses("app.timeout=3600001ms", "at most an hour", "app.timeout=3600000ms");
        refuses("app.warm_up=10000001", "--warm-up", "app.warm_up=10000000");
        refuses("app.warm_up=61m", "neither a time", "app.warm_up=60m");
        refuses("app.protocol=4pc", "none of 2pc, 3pc and mix", "app.protocol=mix");
        refuses("app.arrivals=often", "neither constant nor poisson", "app.arrivals=poisson");
}

Test(load_settings, a_duration_alone_has_no_count_and_a_rate_no_small_concurrency)
{
        takes("app.duration=2s");
        cr_assert_eq(settings.count, 0);
        takes("app.rate=10");
        cr_assert_eq(settings.in_flight, IN_FLIGHT_MAX);
        takes("app.count=5");
        cr_assert_eq(settings.count, 5);
        cr_assert_eq(settings.duration_ms, 2000);
}

Test(load_settings, arrivals_need_a_rate)
{
        refuses("app.arrivals=constant", "needs --rate", "app.rate=1");
}

Test(load_settings, warm_up_is_a_number_or_a_time)
{
        takes("app.warm_up=500");
        cr_assert(settings.warm_up_count == 500 && settings.warm_up_ms == 0);
        takes("app.warm_up=500ms");
        cr_assert(settings.warm_up_count == 0 && settings.warm_up_ms == 500);
}

Test(load_settings, participants_are_a_number_or_the_services)
{
        takes("app.participants=order,payment,inventory");
        cr_assert_eq(settings.participants, 3);
        cr_assert_str_eq(settings.services[0].name, "order");
        set("app.services=order");
        refuses("app.participants=order,payment", "and so does --services", "app.participants=3");
        cr_assert_eq(settings.services_count, 1);
        cr_assert_eq(settings.participants, 3);
}

Test(load_settings, services_are_names_with_kinds)
{
        char longest[96] = "app.services=", longer[sizeof longest + 1];

        takes("app.services=seats:take,payment,x-9");
        cr_assert_str_eq(settings.services[0].kind, "take");
        cr_assert_eq(settings.services[0].sample, AUDIT_SERVICES);
        cr_assert_str_eq(settings.services[1].kind, "charge");
        cr_assert_str_eq(settings.services[2].kind, "load");
        refuses("app.services=Seats", "'Seats' is no NAME", "app.services=seats");
        refuses("app.services=seats,", "'' is no NAME", "app.services=seats");
        refuses("app.services=seats:", "'seats:' is no NAME", "app.services=seats");
        refuses("app.services=seats,seats", "names seats twice", "app.services=seats");
        memset(longest + strlen(longest), 'a', ASSENT_SERVICE_SIZE_MAX);
        takes(longest);
        snprintf(longer, sizeof longer, "%sa", longest);
        refuses(longer, "1 to 40 of a-z", "app.services=a");
}

Test(load_settings, a_database_that_is_not_there_is_refused_before_the_load)
{
        static const char *others[AUDIT_OTHERS_MAX + 1];

        set("app.payment=/nonexistent.db");
        cr_assert_not(settings_read(config, NULL, 0, &settings));
        cr_assert_not_null(strstr(settings.errmsg, "/nonexistent.db: No such file"), "%s", settings.errmsg);
        takes("app.no_audit=true");
        cr_assert_not(settings.audited);
        set("app.no_audit=false");
        set("app.payment=/dev/null");
        for (size_t i = 0; i <= AUDIT_OTHERS_MAX; i++)
                others[i] = "/dev/null";
        cr_assert(settings_read(config, others, AUDIT_OTHERS_MAX, &settings));
        cr_assert(settings.audited);
        cr_assert_not(settings_read(config, others, AUDIT_OTHERS_MAX + 1, &settings));
        cr_assert_not_null(strstr(settings.errmsg, "at most 61"), "%s", settings.errmsg);
}

Test(load_settings, a_refusal_says_where_a_configured_value_stands)
{
        cr_assert_eq(assent_config_set(config, "app.count=x", "load.properties:3"), ASSENT_OK);
        cr_assert_not(settings_read(config, NULL, 0, &settings));
        cr_assert_not_null(strstr(settings.errmsg, "--count x (load.properties:3) is no whole number"), "%s",
                           settings.errmsg);
}

static void refuses_now(const char *assignment, const char *part)
{
        set(assignment);
        cr_assert_not(settings_read(config, NULL, 0, &settings), "%s", assignment);
        cr_assert_not_null(strstr(settings.errmsg, part), "%s: %s", assignment, settings.errmsg);
}

static void order_mode(void)
{
        set("app.mode=order");
        set("app.url=http://127.0.0.1:8080");
}

Test(load_settings, orders_have_their_own_defaults_and_limits)
{
        char url[ORDER_URL_SIZE_MAX + 32] = "app.url=http://", run[RUN_ID_SIZE_MAX + 32] = "app.run_id=";
        char first[RUN_ID_SIZE_MAX + 1];

        order_mode();
        takes("app.mode=order");
        cr_assert_eq(settings.in_flight, 64);
        cr_assert_eq(settings.timeout_ms, 60000);
        cr_assert_eq(settings.services_count, 3);
        snprintf(first, sizeof first, "%s", settings.run_id);
        takes("app.mode=order");
        cr_assert_str_neq(settings.run_id, first, "each run has its own");
        refuses("app.in_flight=10001", "from 1 to 10000", "app.in_flight=10000");
        refuses("app.payload_size=65537", "from 0 to 65536", "app.payload_size=65536");
        refuses("app.items=0", "from 1 to 1000", "app.items=1");
        refuses("app.items=1001", "from 1 to 1000", "app.items=1000");
        refuses("app.run_id=a b", "no text of 1 to 64 letters", "app.run_id=a-._9");
        memset(run + strlen(run), 'r', RUN_ID_SIZE_MAX);
        takes(run);
        cr_assert_eq(strlen(settings.run_id), RUN_ID_SIZE_MAX);
        strncat(run, "r", 2);
        refuses(run, "no text of 1 to 64", "app.run_id=x");
        memset(url + strlen(url), 'h', ORDER_URL_SIZE_MAX - strlen("http://"));
        takes(url);
        strncat(url, "h", 2);
        refuses(url, "at most 256 characters", "app.url=https://shop:8443/");
}

Test(load_settings, an_order_service_is_named_by_its_address)
{
        static const char *const bad[] = {"127.0.0.1:8080", "ftp://x", "http://", "https://", "http:///v1", "http://a@b",
                                          "http://a?b"};
        char assignment[64];

        refuses_now("app.mode=http", "neither raw nor order");
        refuses_now("app.mode=order", "--url is missing");
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                snprintf(assignment, sizeof assignment, "app.url=%s", bad[i]);
                refuses_now(assignment, "is no http://HOST:PORT");
        }
        takes("app.url=http://127.0.0.1:8080");
        refuses_now("app.mode=raw", "needs --mode order");
}

Test(load_settings, what_is_of_the_other_mode_is_refused)
{
        refuses_now("app.run_id=x", "--run-id x is for --mode order");
        order_mode();
        takes("app.items=5");
        refuses_now("app.protocol=3pc", "--protocol 3pc is for --mode raw");
}

Test(load_settings, participants_are_not_chosen_with_orders)
{
        order_mode();
        refuses_now("app.participants=3", "is for --mode raw");
}

Test(load_settings, services_are_not_chosen_with_orders)
{
        order_mode();
        refuses_now("app.services=payment", "is for --mode raw");
}

Test(load_settings, items_are_ordered)
{
        refuses_now("app.items=5", "--items 5 is for --mode order");
}

Test(load_settings, a_token_is_the_first_line_of_a_file_that_nobody_else_reads)
{
        char path[] = "/tmp/assent-token-XXXXXX", assignment[64], token[TOKEN_SIZE_MAX + 3];
        const int file = mkstemp(path);

        order_mode();
        snprintf(assignment, sizeof assignment, "app.token_file=%s", path);
        refuses_now(assignment, "a line of 1 to 255 bytes");
        memset(token, 't', sizeof token);
        token[TOKEN_SIZE_MAX] = '\n';
        cr_assert_eq(pwrite(file, token, TOKEN_SIZE_MAX + 1, 0), TOKEN_SIZE_MAX + 1);
        takes(assignment);
        cr_assert_eq(strlen(settings.token), TOKEN_SIZE_MAX);
        token[TOKEN_SIZE_MAX] = 't';
        cr_assert_eq(pwrite(file, token, TOKEN_SIZE_MAX + 1, 0), TOKEN_SIZE_MAX + 1);
        refuses_now(assignment, "a line of 1 to 255 bytes");
        cr_assert_eq(fchmod(file, 0640), 0);
        refuses_now(assignment, "chmod 600");
        close(file);
        unlink(path);
        refuses_now(assignment, "No such file");
}

/* --- what is drawn ------------------------------------------------------------------------------------------------ */

static struct workload workload;

static void open_workload(const char *const *assignments)
{
        for (size_t i = 0; assignments[i]; i++)
                takes(assignments[i]);
        cr_assert(workload_open(&workload, &settings));
}

/* Only the id differs from run to run. */
static void draw_text(char *text, size_t size)
{
        const struct draft *draft = workload_draw(&workload);

        snprintf(text, size, "%d %d %d %.*s", draft->refuse, draft->twice, (int)draft->begin.protocol,
                 (int)draft->branches[0].payload.size, (const char *)draft->branches[0].payload.data);
}

Test(load_settings, a_seed_gives_one_workload)
{
        static char drawn[500][256], again[256];
        bool differs = false;

        open_workload((const char *const[]){"app.abort_ratio=0.2", "app.duplicate_ratio=0.3", "app.protocol=mix",
                                            "app.skew=1", "app.seed=5", NULL});
        for (size_t i = 0; i < 500; i++)
                draw_text(drawn[i], sizeof drawn[i]);
        workload_close(&workload);
        for (int seed = 5; seed <= 6; seed++) {
                open_workload((const char *const[]){seed == 5 ? "app.seed=5" : "app.seed=6", NULL});
                for (size_t i = 0; i < 500; i++) {
                        draw_text(again, sizeof again);
                        if (seed == 5)
                                cr_assert_str_eq(again, drawn[i]);
                        differs = differs || strcmp(again, drawn[i]) != 0;
                }
                workload_close(&workload);
        }
        cr_assert(differs);
}

static void count_accounts(const char *skew, int counts[10], int draws)
{
        open_workload((const char *const[]){"app.accounts=10", skew, NULL});
        for (int i = 0; i < draws; i++) {
                const int64_t account = draw_account(&workload);
                cr_assert(account >= 0 && account < 10);
                counts[account]++;
        }
        workload_close(&workload);
}

Test(load_settings, accounts_are_chosen_by_the_zipf_law)
{
        int even[10] = {0}, skewed[10] = {0};
        double sum = 0;

        count_accounts("app.skew=0", even, 100000);
        count_accounts("app.skew=1.5", skewed, 100000);
        for (int i = 0; i < 10; i++)
                sum += pow(i + 1, -1.5);
        for (int i = 0; i < 10; i++) {
                cr_assert_float_eq(even[i], 10000, 400);
                cr_assert_float_eq(skewed[i], 100000 * pow(i + 1, -1.5) / sum, 600, "%d", i);
        }
}

Test(load_settings, branches_are_dealt_in_turn_and_payloads_padded)
{
        open_workload((const char *const[]){"app.services=order,seats,inventory", "app.participants=5",
                                            "app.payload_size=400", "app.abort_ratio=1", NULL});
        const struct draft *draft = workload_draw(&workload);
        cr_assert_eq(draft->begin.branches_count, 5);
        cr_assert_str_eq(draft->branches[3].service, "order");
        cr_assert_str_eq(draft->branches[4].service, "seats");
        cr_assert(draft->refuse);
        for (size_t i = 0; i < 5; i++) {
                json_t *payload = json_loadb(draft->branches[i].payload.data, draft->branches[i].payload.size, 0, NULL);
                cr_assert_eq(draft->branches[i].payload.size, 400);
                cr_assert_not_null(payload);
                const char *order_id = json_string_value(json_object_get(payload, "order_id"));
                cr_assert_eq(order_id != NULL, i % 3 == 0);
                if (i == 3) /* an order id is used once */
                        cr_assert_str_eq(order_id + strlen(order_id) - 2, "-3");
                json_decref(payload);
        }
        workload_close(&workload);
}

Test(load_settings, a_mix_is_half_and_half)
{
        int three = 0;

        open_workload((const char *const[]){"app.protocol=mix", NULL});
        for (int i = 0; i < 10000; i++)
                three += workload_draw(&workload)->begin.protocol == ASSENT_3PC;
        workload_close(&workload);
        cr_assert_float_eq(three, 5000, 200);
}

/* Text of an order; the same for the same number and seed. */
static void draw_body(char *text, size_t size)
{
        const struct draft *draft = workload_draw(&workload);

        snprintf(text, size, "%d %d %d %" PRIu64 " %.*s", draft->refuse, draft->twice, draft->later, draft->number,
                 (int)draft->branches[0].payload.size, (const char *)draft->branches[0].payload.data);
}

Test(load_settings, a_seed_gives_the_same_orders)
{
        static char drawn[300][512], again[512];

        order_mode();
        for (int run = 0; run < 2; run++) {
                open_workload((const char *const[]){"app.abort_ratio=0.3", "app.duplicate_ratio=0.3", "app.items=7",
                                                    "app.payload_size=300", NULL});
                for (size_t i = 0; i < 300; i++) {
                        draw_body(run ? again : drawn[i], sizeof again);
                        if (run)
                                cr_assert_str_eq(again, drawn[i]);
                }
                workload_close(&workload);
        }
}

Test(load_settings, what_cannot_succeed_wants_too_much_money_or_too_many)
{
        size_t money = 0, stock = 0, later = 0;
        int64_t items[3] = {0};

        order_mode();
        open_workload((const char *const[]){"app.abort_ratio=0.5", "app.items=3", "app.skew=1", NULL});
        for (size_t i = 1; i <= 10000; i++) {
                const struct draft *draft = workload_draw(&workload);
                json_t *body = json_loadb(draft->branches[0].payload.data, draft->branches[0].payload.size, 0, NULL), *line;
                cr_assert_not_null(body);
                cr_assert_eq(draft->number, i);
                line = json_array_get(json_object_get(body, "items"), 0);
                const char *sku = json_string_value(json_object_get(line, "sku"));
                const bool much = json_integer_value(json_object_get(body, "total_cents")) == CENTS_BEYOND;
                const bool many = json_integer_value(json_object_get(line, "quantity")) > 1;
                cr_assert_eq(draft->refuse, much || many);
                cr_assert_eq(many, strcmp(sku, "desk") == 0);
                cr_assert_eq(draft->cents, json_integer_value(json_object_get(body, "total_cents")));
                money += much;
                stock += many;
                later += draft->later;
                if (!many)
                        items[strcmp(sku, "bolt") == 0 ? 0 : strtol(sku + strlen("load-"), NULL, 10)]++;
                json_decref(body);
        }
        workload_close(&workload);
        cr_assert_float_eq((double)money, 2500, 250);
        cr_assert_float_eq((double)stock, 2500, 250);
        cr_assert_float_eq((double)later, 5000, 300);
        cr_assert_float_eq((double)items[0], 7500 * 6 / 11.0, 300); /* 1 : 1/2 : 1/3 */
        cr_assert_float_eq((double)items[2], 7500 * 2 / 11.0, 250);
}
