#include "runtime/terminate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "core/ids.h"

struct search {
        struct assent_decisions *out;
        int64_t birth_ms; /* nothing born before counts */
        int32_t lane;
        const struct assent_open_branches *doubted;
        struct assent_bytes service;
        size_t wanted;
};

static bool asked_about(const struct search *search, const struct assent_open_branch *entry)
{
        return entry && entry->in_doubt && entry->lane == search->lane &&
               assent_txn_id_birth_ms(&entry->txn_id) >= search->birth_ms;
}

/* The decision is taken from the emission, not from the state: R11 may forget it in the very step that decides. */
static void keep_decision(void *context, const struct assent_message *message)
{
        struct search *search = context;
        struct assent_decisions *out = search->out;
        if (message->type != ASSENT_COMMAND || !assent_phase_is_decision(message->body.command.phase) ||
            message->body.command.service.size != search->service.size ||
            memcmp(message->body.command.service.data, search->service.data, search->service.size) != 0)
                return;
        if (!asked_about(search,
                         assent_open_branches_find(search->doubted, &message->txn_id, message->body.command.branch)))
                return;
        for (size_t i = 0; i < out->count; i++) /* R10 emits again: the first one is the decision */
                if (out->commands[i].body.command.branch == message->body.command.branch &&
                    memcmp(&out->commands[i].txn_id, &message->txn_id, sizeof message->txn_id) == 0)
                        return;
        if (out->count == out->capacity) {
                out->capacity = out->capacity ? out->capacity * 2 : 64;
                out->commands = realloc(out->commands, out->capacity * sizeof *out->commands);
                ASSENT_NEED(out->commands);
        }
        struct assent_message *kept = &out->commands[out->count++];
        *kept = *message;
        kept->body.command.service = search->service;
        ASSENT_ASSERT(kept->body.command.kind.size == 0 && kept->body.command.payload.size == 0);
        kept->body.command.kind = kept->body.command.payload = (struct assent_bytes){0};
}

static bool more(void *context, const struct assent_core *core)
{
        (void)core;
        const struct search *search = context;
        return search->out->count < search->wanted;
}

enum assent_err assent_terminate(struct assent_bus *bus, struct assent_codec *codec, const struct assent_config *config,
                                 const struct assent_settings *settings, struct assent_bytes service,
                                 const struct assent_uuid *first, int64_t end_offset,
                                 const struct assent_open_branches *doubted, struct assent_decisions *out)
{
        memset(out, 0, sizeof *out);
        struct search search = {.out = out,
                                .birth_ms = assent_txn_id_birth_ms(first),
                                .lane = assent_lane_of(first, settings->lanes),
                                .doubted = doubted,
                                .service = service};
        for (size_t i = 0; i < assent_open_branches_count(doubted); i++)
                search.wanted += asked_about(&search, assent_open_branches_at(doubted, i));
        struct assent_story story = {.settings = settings,
                                     .txn_id = *first,
                                     .end_offset = end_offset,
                                     .emit = keep_decision,
                                     .more = more,
                                     .context = &search};
        enum assent_err err = assent_lane_story(bus, codec, config, &story);
        if (!err && story.cut) {
                err = ASSENT_E_POSITION;
                out->count = 0;
                snprintf(out->errmsg, sizeof out->errmsg, "the inbox lane starts too late to evaluate it; only a coordinator's "
                                                          "checkpoint still knows: start a coordinator");
        } else {
                memcpy(out->errmsg, story.errmsg, sizeof out->errmsg);
        }
        return err;
}

void assent_decisions_free(struct assent_decisions *decisions)
{
        free(decisions->commands);
        memset(decisions, 0, sizeof *decisions);
}
