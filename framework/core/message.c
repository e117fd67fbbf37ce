/* message.c: the words of the protocol as they travel, and back. */
#include "core/message.h"

#include <string.h>

struct word {
        const char *name;
        int value;
};

static const struct word types[] = {{"BEGIN", ASSENT_BEGIN},     {"COMMAND", ASSENT_COMMAND}, {"REPLY", ASSENT_REPLY},
                                    {"OUTCOME", ASSENT_OUTCOME}, {"CONTROL", ASSENT_CONTROL}, {NULL, 0}};
static const struct word protocols[] = {{"2PC", ASSENT_2PC}, {"3PC", ASSENT_3PC}, {NULL, 0}};
static const struct word phases[] = {{"PREPARE", ASSENT_PREPARE},       {"CAN_COMMIT", ASSENT_CAN_COMMIT},
                                     {"PRE_COMMIT", ASSENT_PRE_COMMIT}, {"COMMIT", ASSENT_COMMIT},
                                     {"ABORT", ASSENT_ABORT},           {NULL, 0}};
static const struct word answers[] = {
    {"YES", ASSENT_YES}, {"NO", ASSENT_NO}, {"READ_ONLY", ASSENT_READ_ONLY}, {"DONE", ASSENT_DONE}, {NULL, 0}};
static const struct word outcomes[] = {{"COMMITTED", ASSENT_COMMITTED}, {"ABORTED", ASSENT_ABORTED},
                                       {"COMPLETED", ASSENT_COMPLETED}, {"UNCONFIRMED", ASSENT_UNCONFIRMED},
                                       {"REJECTED", ASSENT_REJECTED},   {NULL, 0}};
static const struct word controls[] = {{"SETTINGS", ASSENT_SETTINGS},
                                       {"TICK", ASSENT_TICK},
                                       {"CANCEL", ASSENT_CANCEL},
                                       {"INQUIRE", ASSENT_INQUIRE},
                                       {NULL, 0}};

static const char *name_of(const struct word *words, int value)
{
        for (; words->name; words++)
                if (words->value == value)
                        return words->name;
        return "?";
}

static int value_of(const struct word *words, struct assent_bytes text)
{
        for (; words->name; words++)
                if (strlen(words->name) == text.size && memcmp(words->name, text.data, text.size) == 0)
                        return words->value;
        return 0;
}

const char *assent_message_type_name(enum assent_message_type type)
{
        return name_of(types, (int)type);
}

const char *assent_control_kind_name(enum assent_control_kind kind)
{
        return name_of(controls, (int)kind);
}

const char *assent_protocol_name(enum assent_protocol protocol)
{
        return name_of(protocols, (int)protocol);
}

const char *assent_phase_name(enum assent_phase phase)
{
        return name_of(phases, (int)phase);
}

const char *assent_answer_name(enum assent_answer answer)
{
        return name_of(answers, (int)answer);
}

const char *assent_outcome_name(enum assent_outcome outcome)
{
        return name_of(outcomes, (int)outcome);
}

bool assent_protocol_from(struct assent_bytes text, enum assent_protocol *out)
{
        int value = value_of(protocols, text);
        if (value)
                *out = (enum assent_protocol)value;
        return value != 0;
}

bool assent_phase_from(struct assent_bytes text, enum assent_phase *out)
{
        int value = value_of(phases, text);
        if (value)
                *out = (enum assent_phase)value;
        return value != 0;
}

bool assent_answer_from(struct assent_bytes text, enum assent_answer *out)
{
        int value = value_of(answers, text);
        if (value)
                *out = (enum assent_answer)value;
        return value != 0;
}

bool assent_outcome_from(struct assent_bytes text, enum assent_outcome *out)
{
        int value = value_of(outcomes, text);
        if (value)
                *out = (enum assent_outcome)value;
        return value != 0;
}

bool assent_control_kind_from(struct assent_bytes text, enum assent_control_kind *out)
{
        int value = value_of(controls, text);
        if (value)
                *out = (enum assent_control_kind)value;
        return value != 0;
}

bool assent_service_valid(struct assent_bytes service)
{
        if (service.size < 1 || service.size > ASSENT_SERVICE_SIZE_MAX)
                return false;
        const char *name = service.data;
        for (size_t i = 0; i < service.size; i++)
                if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9') && name[i] != '-')
                        return false;
        return true;
}
