/* Keys and values: the table, its bounds, the allowlist, secrets, origins. */
#include "config_files.h"

#include "base/config_table.h"

#include <inttypes.h>
#include <stdio.h>

static enum assent_err set(struct assent_config *config, const char *assignment)
{
        return assent_config_set(config, assignment, "here");
}

Test(config_values, defaults_stand_and_say_so)
{
        struct assent_config *config = config_new();
        cr_assert_eq(assent_config_int(config, "assent.window_ms"), 90000);
        cr_assert_eq(assent_config_int(config, "assent.memory_bytes_max"), INT64_C(4294967296));
        cr_assert_str_eq(assent_config_get(config, "assent.broker"), "kafka");
        cr_assert_str_eq(assent_config_get(config, "assent.db"), "");
        cr_assert_not(assent_config_bool(config, "assent.dev"));
        cr_assert_str_eq(assent_config_origin(config, "assent.window_ms"), "default");
        cr_assert_null(assent_config_get(config, "app.seed"));
        cr_assert_null(assent_config_origin(config, "app.seed"));
        assent_config_close(config);
        assent_config_close(NULL);
}

Test(config_values, each_number_is_taken_at_its_bounds_and_refused_one_past)
{
        struct assent_config *config = config_new();
        char text[200];
        for (size_t i = 0; i < assent_config_keys_count; i++) {
                const struct assent_config_key *key = &assent_config_keys[i];
                if (key->type != ASSENT_CONFIG_INT)
                        continue;
                snprintf(text, sizeof text, "%s=%" PRId64, key->name, key->min);
                cr_assert_eq(set(config, text), ASSENT_OK, "%s", text);
                cr_assert_eq(assent_config_int(config, key->name), key->min);
                snprintf(text, sizeof text, "%s=%" PRId64, key->name, key->max);
                cr_assert_eq(set(config, text), ASSENT_OK, "%s", text);
                cr_assert_eq(assent_config_int(config, key->name), key->max);
                snprintf(text, sizeof text, "%s=%" PRId64, key->name, key->min - 1);
                cr_assert_eq(set(config, text), ASSENT_E_CONFIG, "%s", text);
                snprintf(text, sizeof text, "%s=%" PRIu64, key->name, (uint64_t)key->max + 1);
                cr_assert_eq(set(config, text), ASSENT_E_CONFIG, "%s", text);
                cr_assert_eq(assent_config_int(config, key->name), key->max,
                             "a refused value changes nothing");
        }
        assent_config_close(config);
}

Test(config_values, what_is_no_plain_number_is_refused_with_range_and_default)
{
        static const char *const wrong[] = {"",       "+5000",  "-1",
                                            "0x2000", "9000ms", "9 000",
                                            "9000.0", "1e4",    "99999999999999999999"};
        struct assent_config *config = config_new();
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                char text[100];
                snprintf(text, sizeof text, "assent.window_ms=%s", wrong[i]);
                cr_assert_eq(set(config, text), ASSENT_E_CONFIG, "%s", text);
                check_errmsg(config,
                             "here: assent.window_ms must be a whole number from 1000 to 3600000");
                check_errmsg(config, "(default 90000)");
        }
        assent_config_close(config);
}

Test(config_values, words_and_flags_are_exact)
{
        struct assent_config *config = config_new();
        cr_assert_eq(set(config, "assent.broker=embedded"), ASSENT_OK);
        cr_assert_eq(set(config, "assent.broker=kafka|embedded"), ASSENT_E_CONFIG);
        cr_assert_eq(set(config, "assent.broker=Kafka"), ASSENT_E_CONFIG);
        cr_assert_eq(set(config, "assent.broker=kafk"), ASSENT_E_CONFIG);
        check_errmsg(config, "must be one of kafka|embedded, not \"kafk\"");
        cr_assert_str_eq(assent_config_get(config, "assent.broker"), "embedded");
        cr_assert_eq(set(config, "assent.dev=true"), ASSENT_OK);
        cr_assert(assent_config_bool(config, "assent.dev"));
        cr_assert_eq(set(config, "assent.dev=yes"), ASSENT_E_CONFIG);
        cr_assert_eq(set(config, "assent.dev=false"), ASSENT_OK);
        cr_assert_not(assent_config_bool(config, "assent.dev"));
        assent_config_close(config);
}

Test(config_values, prefix_is_a_topic_name)
{
        static const char *const wrong[] = {"", "Shop", "a..b", "a.", "a/b", "a b", "\xc3\xa4"};
        struct assent_config *config = config_new();
        char text[100] = "assent.prefix=";
        size_t start = strlen(text);
        memset(text + start, 'p', 64);
        cr_assert_eq(set(config, text), ASSENT_OK);
        memset(text + start, 'p', 65);
        cr_assert_eq(set(config, text), ASSENT_E_CONFIG);
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                snprintf(text, sizeof text, "assent.prefix=%s", wrong[i]);
                cr_assert_eq(set(config, text), ASSENT_E_CONFIG, "%s", text);
        }
        cr_assert_eq(set(config, "assent.prefix=shop-1.eu_w"), ASSENT_OK);
        assent_config_close(config);
}

Test(config_values, sizes_are_taken_at_the_limit_and_refused_one_past)
{
        struct assent_config *config = config_new();
        char text[5000];
        int key_size = ASSENT_CONFIG_KEY_SIZE_MAX;
        snprintf(text, sizeof text, "app.%0*d=x", key_size - 4, 0);
        cr_assert_eq(set(config, text), ASSENT_OK);
        snprintf(text, sizeof text, "app.%0*d=x", key_size - 3, 0);
        cr_assert_eq(set(config, text), ASSENT_E_CONFIG);
        check_errmsg(config, "129 bytes; at most 128");
        snprintf(text, sizeof text, "app.v=%0*d", ASSENT_CONFIG_VALUE_SIZE_MAX, 0);
        cr_assert_eq(set(config, text), ASSENT_OK);
        cr_assert_eq(strlen(assent_config_get(config, "app.v")), 4096);
        snprintf(text, sizeof text, "app.v=%0*d", ASSENT_CONFIG_VALUE_SIZE_MAX + 1, 0);
        cr_assert_eq(set(config, text), ASSENT_E_CONFIG);
        check_errmsg(config, "4097 bytes; at most 4096");
        assent_config_close(config);
}

Test(config_values, keys_are_taken_up_to_512_and_known_ones_still_change)
{
        struct assent_config *config = config_new();
        char text[80];
        size_t room = ASSENT_CONFIG_KEYS_MAX - assent_config_keys_count;
        for (size_t i = 0; i < room; i++) {
                snprintf(text, sizeof text, "app.k%zu=%zu", i, i);
                cr_assert_eq(set(config, text), ASSENT_OK);
        }
        cr_assert_eq(set(config, "app.onemore=1"), ASSENT_E_CONFIG);
        check_errmsg(config, "at most 512");
        cr_assert_eq(set(config, "app.k7=new"), ASSENT_OK);
        cr_assert_eq(set(config, "assent.dev=true"), ASSENT_OK);
        cr_assert_str_eq(assent_config_get(config, "app.k7"), "new");
        cr_assert_str_eq(assent_config_get(config, "app.k8"), "8");
        assent_config_close(config);
}

Test(config_values, brokers_have_two_names_and_one_value)
{
        struct assent_config *config = config_new();
        cr_assert_eq(set(config, "bootstrap.servers=a:1"), ASSENT_OK);
        cr_assert_str_eq(assent_config_get(config, "assent.brokers"), "a:1");
        cr_assert_eq(set(config, "assent.brokers=b:2"), ASSENT_OK);
        cr_assert_str_eq(assent_config_get(config, "bootstrap.servers"), "b:2");
        assent_config_close(config);
}

Test(config_values, allowlist_passes_and_all_else_is_refused_by_name)
{
        struct assent_config *config = config_new();
        char text[200];
        for (size_t i = 0; i < assent_config_kafka_keys_count; i++) {
                snprintf(text, sizeof text, "%s=x", assent_config_kafka_keys[i]);
                cr_assert_eq(set(config, text), ASSENT_OK, "%s", text);
        }
        for (size_t i = 0; i < assent_config_denied_count; i++) {
                snprintf(text, sizeof text, "%s=x", assent_config_denied[i].name);
                cr_assert_eq(set(config, text), ASSENT_E_CONFIG, "%s", text);
                check_errmsg(config, assent_config_denied[i].name);
                check_errmsg(config, assent_config_denied[i].hint);
                cr_assert_null(assent_config_get(config, assent_config_denied[i].name));
        }
        cr_assert_eq(set(config, "debug=all"), ASSENT_E_CONFIG);
        check_errmsg(config, "here: debug is neither a key of assent's nor a librdkafka setting");
        cr_assert_eq(set(config, "assent.windw_ms=1"), ASSENT_E_CONFIG);
        check_errmsg(config, "did you mean assent.window_ms?");
        cr_assert_eq(set(config, "assent.nonsense=1"), ASSENT_E_CONFIG);
        check_errmsg(config, "unknown key assent.nonsense");
        assent_config_close(config);
}

Test(config_values, malformed_assignments_are_refused)
{
        static const char *const wrong[] = {
            "", "assent.dev", "=x", " =x", "Assent.dev=true", "app.a b=c", "app.a=\x01"};
        struct assent_config *config = config_new();
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
                cr_assert_eq(set(config, wrong[i]), ASSENT_E_CONFIG, "%s", wrong[i]);
        assent_config_close(config);
}

Test(config_values, secrets_are_refused_from_argv_and_masked)
{
        struct assent_config *config = config_new();
        cr_assert_eq(assent_config_set(config, "sasl.password=hush", "--set"), ASSENT_E_CONFIG);
        check_errmsg(config, "assent.sasl_password_file");
        cr_assert_null(strstr(assent_config_errmsg(config), "hush"));
        cr_assert_eq(assent_config_set(config, "ssl.key.password=hush", "--set"), ASSENT_E_CONFIG);
        cr_assert_null(assent_config_get(config, "sasl.password"));
        cr_assert_eq(assent_config_set(config, "sasl.password=hush", "ASSENT_KAFKA_SASL_PASSWORD"),
                     ASSENT_OK);
        cr_assert_str_eq(assent_config_get(config, "sasl.password"), "hush");
        assent_config_close(config);
}

struct seen {
        char last_key[200];
        size_t count;
        size_t masked;
};

static void each(void *context, const char *key, const char *value, const char *origin)
{
        struct seen *seen = context;
        cr_assert_lt(strcmp(seen->last_key, key), 0, "sorted, each once");
        snprintf(seen->last_key, sizeof seen->last_key, "%s", key);
        cr_assert_null(strstr(value, "hush"));
        seen->masked += strcmp(value, "********") == 0;
        seen->count++;
        cr_assert_gt(strlen(origin), 0);
}

Test(config_values, each_is_sorted_and_shows_no_secret)
{
        struct assent_config *config = config_new();
        struct seen seen = {.last_key = ""};
        set(config, "sasl.password=hush");
        set(config, "ssl.key.password=hush");
        set(config, "app.z=1");
        set(config, "app.a=1");
        assent_config_each(config, each, &seen);
        cr_assert_eq(seen.count, assent_config_keys_count + 4);
        cr_assert_eq(seen.masked, 2);
        assent_config_close(config);
}

static char reference[1 << 16];

static void collect(void *context, const char *text)
{
        size_t *size = context;
        cr_assert_null(strchr(text, '\n'));
        *size += (size_t)snprintf(reference + *size, sizeof reference - *size, "%s\n", text);
        cr_assert_lt(*size, sizeof reference);
}

Test(config_values, reference_names_every_key_and_is_itself_a_file)
{
        size_t size = 0;
        assent_config_reference(collect, &size);
        for (size_t i = 0; i < assent_config_keys_count; i++) {
                char line[200];
                snprintf(line, sizeof line, "\n#%s=%s\n", assent_config_keys[i].name,
                         assent_config_keys[i].value);
                cr_assert_not_null(strstr(reference, line), "%s", line);
                cr_assert_not_null(strstr(reference, assent_config_keys[i].help));
        }
        cr_assert_not_null(strstr(reference, "(1000 to 3600000)"));
        struct assent_config *config = config_new();
        cr_assert_eq(load_text(config, reference), ASSENT_OK);
        assent_config_close(config);
}
