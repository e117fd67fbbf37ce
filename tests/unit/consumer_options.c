/* What assent_consumer_open refuses before it connects anywhere. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <assent/consumer.h>

static enum assent_result handle(void *app, struct assent_tx *tx, const struct assent_delivery *delivery)
{
        (void)app, (void)tx, (void)delivery;
        return ASSENT_RESULT_DONE;
}

/* The longest name that leaves room for "-dlt" is 245 characters: Kafka takes 249. */
static enum assent_err open_topic(size_t size, char errmsg[512])
{
        char topic[256];
        memset(topic, 't', size);
        topic[size] = '\0';
        struct assent_config *config;
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
        struct assent_consumer_options options = ASSENT_CONSUMER_OPTIONS_INIT;
        options.topic = topic;
        options.group = "group";
        options.handle = handle;
        options.config = config;
        struct assent_consumer *consumer;
        enum assent_err err = assent_consumer_open(&options, &consumer);
        snprintf(errmsg, 512, "%s", assent_consumer_errmsg(consumer));
        assent_consumer_close(consumer);
        assent_config_close(config);
        return err;
}

Test(consumer_options, topic_whose_dead_letters_would_have_no_name_is_refused)
{
        char errmsg[512];
        cr_assert_eq(open_topic(246, errmsg), ASSENT_E_ARGUMENT);
        cr_assert(strstr(errmsg, "more than 245"), "%s", errmsg);
        cr_assert_eq(open_topic(245, errmsg), ASSENT_E_CONFIG, "%s", errmsg);
        cr_assert(strstr(errmsg, "assent.db"), "%s", errmsg);
}
