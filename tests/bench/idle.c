/* idle: a participant that votes YES to everything and does nothing, so that what is measured is the framework alone.
 * With --db :memory: it keeps nothing either; then it must not be started twice in one prefix.
 *
 *   idle --config FILE --service NAME --db FILE */
#include <stdio.h>

#include <assent/participant.h>

static enum assent_vote prepare(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        (void)app, (void)tx, (void)branch;
        return ASSENT_VOTE_YES;
}

static enum assent_result decided(void *app, struct assent_tx *tx, const struct assent_branch *branch)
{
        (void)app, (void)tx, (void)branch;
        return ASSENT_RESULT_DONE;
}

static enum assent_err configured(void *app, const struct assent_config *config)
{
        struct assent_participant_options *options = app;

        options->service = assent_config_get(config, "app.service");
        if (!options->service)
                fputs("idle: --service NAME is missing\n", stderr);
        return options->service ? ASSENT_OK : ASSENT_E_CONFIG;
}

int main(int argc, char **argv)
{
        static const struct assent_flag flags[] = {
            {"service", "NAME", "app.service", "the service to be"},
            {NULL, NULL, NULL, NULL},
        };
        static const struct assent_handlers handlers = {
            .prepare = prepare, .pre_commit = decided, .commit = decided, .abort = decided};
        struct assent_participant_options options = ASSENT_PARTICIPANT_OPTIONS_INIT;

        options.handlers = &handlers;
        options.app = &options;
        return assent_participant_main(argc, argv, "Votes YES and does nothing.", flags, &options, configured);
}
