/* topics_check.c: making the topics of a prefix, and refusing those that are not as they must be. Refusals need a real
 * Kafka: the embedded broker knows no topic settings, only existence and lanes are looked at there. */
#include "contract.h"

#include "kafka/topics.h"

static char prefix[128], name[ASSENT_TOPIC_SIZE_MAX], errmsg[1024];
static struct assent_topics_report report;
static const struct assent_bytes payment = {.data = "payment", .size = 7}, none = {0};

static void open_with_prefix(void)
{
        char base[64], assignment[160];
        contract_cluster();
        snprintf(base, sizeof base, "p%d", (int)getpid());
        contract_name(base, prefix);
        snprintf(assignment, sizeof assignment, "assent.prefix=%s", prefix);
        contract_set(assignment);
        contract_bus();
}

TestSuite(topics, .init = open_with_prefix, .fini = contract_close, .timeout = 120);

static void create(const char *rest)
{
        snprintf(name, sizeof name, "%s.%s", prefix, rest);
        cr_assert_eq(assent_topics_create(bus, config, name, errmsg), ASSENT_OK, "%s", errmsg);
}

static void create_all(void)
{
        create("inbox");
        create("outcomes");
        create("payment.commands");
}

static enum assent_err check(struct assent_bytes service)
{
        return assent_topics_check(bus, config, service, &report);
}

/* The inbox made by hand with these settings, then refused with `sentence`. */
static void inbox_refused(int lanes, const char *const *settings, const char *sentence)
{
        snprintf(name, sizeof name, "%s.inbox", prefix);
        contract_topic_admin(name, lanes, settings);
        contract_topic_await(name, lanes);
        create("outcomes");
        cr_assert_eq(check(none), ASSENT_E_TOPIC);
        cr_assert_not_null(strstr(report.errmsg, sentence), "%s", report.errmsg);
        cr_assert_not_null(strstr(report.errmsg, prefix), "%s", report.errmsg);
}

Test(topics, names_follow_from_the_prefix)
{
        char longest[ASSENT_TOPIC_SIZE_MAX];
        contract_set("assent.prefix=shop.eu");
        assent_topic_inbox(config, name);
        cr_assert_str_eq(name, "shop.eu.inbox");
        assent_topic_dead_letters(name, longest);
        cr_assert_str_eq(longest, "shop.eu.inbox-dlt");
        assent_topic_outcomes(config, name);
        cr_assert_str_eq(name, "shop.eu.outcomes");
        assent_topic_commands(config, (struct assent_bytes){"payments", 7}, name);
        cr_assert_str_eq(name, "shop.eu.payment.commands");
        assent_group_coordinator(config, name);
        cr_assert_str_eq(name, "shop.eu.coordinator");
        assent_group_service(config, payment, name);
        cr_assert_str_eq(name, "shop.eu.payment");
}

Test(topics, created_ones_pass_the_check_and_creating_again_is_fine)
{
        create_all();
        create_all();
        cr_assert_eq(check(payment), ASSENT_OK, "%s", report.errmsg);
        cr_assert_eq(report.lanes, 4);
        cr_assert_eq(report.cluster_id[0] != '\0', contract_real());
}

Test(topics, a_missing_one_is_refused_and_not_made)
{
        create("inbox");
        create("outcomes");
        cr_assert_eq(check(none), ASSENT_OK, "%s", report.errmsg);
        for (int i = 0; i < 2; i++) {
                cr_assert_eq(check(payment), ASSENT_E_TOPIC);
                cr_assert_not_null(
                    strstr(report.errmsg, ".payment.commands: missing: make it with assentctl topics apply"), "%s",
                    report.errmsg);
        }
}

Test(topics, the_list_shows_what_is_there_what_lacks_and_what_else_there_is)
{
        static const char *const services[] = {"payment"};
        struct assent_topic_state states[8];
        size_t count = 0;
        create("inbox");
        create("inbox-dlt");
        create("other.events");
        cr_assert_eq(assent_topics_list(bus, config, services, 1, states, 8, &count, errmsg), ASSENT_OK, "%s", errmsg);
        cr_assert_eq(count, 6);
        cr_assert_str_eq(states[0].verdict, "ok");
        cr_assert(states[0].exists);
        cr_assert_eq(states[0].lanes, 4);
        cr_assert_eq(states[0].replication, 1);
        cr_assert_eq(strstr(states[0].settings, "message.timestamp.type=LogAppendTime cleanup.policy=delete") != NULL,
                     contract_real(), "%s", states[0].settings);
        cr_assert_str_eq(states[1].verdict, "ok");
        cr_assert_str_eq(states[2].verdict, "missing");
        cr_assert_not(states[2].exists);
        cr_assert_str_eq(states[3].verdict, "missing");
        cr_assert_str_eq(states[4].verdict, "missing");
        cr_assert_str_eq(states[5].verdict, "not of the protocol");
        cr_assert_not_null(strstr(states[5].name, ".other.events"));
        cr_assert_eq(assent_topics_list(bus, config, services, 1, states, 5, &count, errmsg), ASSENT_E_LIMIT);
        cr_assert_eq(assent_topics_list(bus, config, services, 1, states, 4, &count, errmsg), ASSENT_E_LIMIT);
}

Test(topics, without_a_broker_the_check_gives_up_in_time)
{
        assent_bus_close(bus);
        contract_set("assent.brokers=127.0.0.1:1");
        contract_set("assent.start_timeout_ms=100");
        contract_bus();
        int64_t began_ms = assent_clock_ms();
        cr_assert_eq(check(none), ASSENT_E_BROKER);
        cr_assert_lt(assent_clock_ms() - began_ms, 5000);
        cr_assert_not_null(strstr(report.errmsg, "assent.brokers"), "%s", report.errmsg);
}

Test(topics, another_number_of_lanes_is_refused)
{
        create("inbox");
        snprintf(name, sizeof name, "%s.outcomes", prefix);
        if (contract_real())
                contract_topic_admin(name, 3, (const char *const[]){"message.timestamp.type=LogAppendTime", NULL});
        else
                rd_kafka_mock_topic_create(contract_mock, name, 3, 1);
        contract_topic_await(name, 3);
        cr_assert_eq(check(none), ASSENT_E_TOPIC);
        cr_assert_not_null(strstr(report.errmsg, ".outcomes: it has 3 lanes, the inbox has 4"), "%s", report.errmsg);
}

Test(topics, the_embedded_broker_cannot_make_another_number_of_lanes)
{
        contract_set("assent.lanes_count=3");
        snprintf(name, sizeof name, "%s.inbox", prefix);
        enum assent_err err = assent_topics_create(bus, config, name, errmsg);
        cr_assert_eq(err, contract_real() ? ASSENT_OK : ASSENT_E_TOPIC, "%s", errmsg);
        if (err)
                cr_assert_not_null(strstr(errmsg, "assent-devbroker --lanes 3 --topic"), "%s", errmsg);
}

Test(topics, create_time_is_refused)
{
        if (!contract_real())
                return;
        inbox_refused(4, (const char *const[]){"retention.bytes=-1", NULL},
                      "message.timestamp.type is CreateTime, must be LogAppendTime");
}

Test(topics, compaction_is_refused)
{
        if (!contract_real())
                return;
        inbox_refused(
            4, (const char *const[]){"message.timestamp.type=LogAppendTime", "cleanup.policy=compact,delete", NULL},
            "cleanup.policy is ");
}

Test(topics, a_size_limit_of_the_log_is_refused)
{
        if (!contract_real())
                return;
        inbox_refused(4, (const char *const[]){"message.timestamp.type=LogAppendTime", "retention.bytes=1000000", NULL},
                      "retention.bytes is 1000000, must be -1");
}

/* window 90 s + skew 5 s + timeout_max 30 s = 125 s, at the limit. */
Test(topics, retention_at_the_window_is_refused)
{
        if (!contract_real())
                return;
        inbox_refused(4, (const char *const[]){"message.timestamp.type=LogAppendTime", "retention.ms=125000", NULL},
                      "retention.ms is 125000, must exceed window_ms + skew_ms + timeout_max_ms = 125000");
}

Test(topics, retention_just_above_the_window_and_endless_retention_pass)
{
        static const char *const just[] = {"message.timestamp.type=LogAppendTime", "retention.ms=125001", NULL};
        static const char *const endless[] = {"message.timestamp.type=LogAppendTime", "retention.ms=-1", NULL};
        if (!contract_real())
                return;
        snprintf(name, sizeof name, "%s.inbox", prefix);
        contract_topic_admin(name, 4, just);
        contract_topic_await(name, 4);
        snprintf(name, sizeof name, "%s.outcomes", prefix);
        contract_topic_admin(name, 4, endless);
        contract_topic_await(name, 4);
        cr_assert_eq(check(none), ASSENT_OK, "%s", report.errmsg);
}

/* 262,144 + 4,096 = 266,240, one below the limit. */
Test(topics, a_small_message_limit_is_refused)
{
        if (!contract_real())
                return;
        inbox_refused(4,
                      (const char *const[]){"message.timestamp.type=LogAppendTime", "max.message.bytes=266239", NULL},
                      "max.message.bytes is 266239, must be at least 266240");
}

Test(topics, one_replica_is_refused_outside_development)
{
        if (!contract_real())
                return;
        create_all();
        contract_set("assent.dev=false");
        cr_assert_eq(check(payment), ASSENT_E_TOPIC);
        cr_assert_not_null(strstr(report.errmsg, "replication is 1, must be at least 3"), "%s", report.errmsg);
        cr_assert_not_null(strstr(report.errmsg, "assent.dev=true"), "%s", report.errmsg);
}

Test(topics, more_replicas_than_brokers_is_explained)
{
        if (!contract_real())
                return;
        contract_set("assent.replication=9");
        snprintf(name, sizeof name, "%s.inbox", prefix);
        cr_assert_eq(assent_topics_create(bus, config, name, errmsg), ASSENT_E_TOPIC);
        cr_assert_not_null(strstr(errmsg, "lower assent.replication"), "%s", errmsg);
        contract_set("assent.replication=1");
        contract_set("assent.min_insync_replicas=2");
        cr_assert_eq(assent_topics_create(bus, config, name, errmsg), ASSENT_E_TOPIC);
        cr_assert_not_null(strstr(errmsg, "assent.min_insync_replicas=2 is above assent.replication=1"), "%s", errmsg);
}
