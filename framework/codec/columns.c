#include "codec/columns.h"

#include <string.h>

#include "base/panic.h"

#define WORDS(set, type)                                                                                               \
        static bool set##_read(struct assent_bytes text, void *out)                                                    \
        {                                                                                                              \
                return assent_##set##_from(text, out);                                                                 \
        }                                                                                                              \
        static const char *set##_name(const void *in)                                                                  \
        {                                                                                                              \
                return assent_##set##_name(*(const type *)in);                                                         \
        }                                                                                                              \
        static const struct assent_words set##_words = {set##_read, set##_name};

WORDS(protocol, enum assent_protocol)
WORDS(phase, enum assent_phase)
WORDS(answer, enum assent_answer)
WORDS(outcome, enum assent_outcome)
WORDS(control_kind, enum assent_control_kind)

/* Times lie where every reader's arithmetic on them is exact and cannot overflow. */
#define TIME_MAX_MS ((INT64_C(1) << 53) - 1)

#define REQUIRED     ASSENT_COLUMN_REQUIRED
#define AT(field)    offsetof(struct assent_message, field)
#define WIDTH(field) sizeof(((struct assent_message *)0)->field)

#define UUID(name, field)                                                                                              \
        {                                                                                                              \
                name, ASSENT_COLUMN_UUID, AT(field), 0, 0, 0, REQUIRED, NULL                                           \
        }
#define NUMBER(name, field, min, max, absent)                                                                          \
        {                                                                                                              \
                name, ASSENT_COLUMN_NUMBER, AT(field), WIDTH(field), min, max, absent, NULL                            \
        }
#define FLAG(name, field, absent)                                                                                      \
        {                                                                                                              \
                name, ASSENT_COLUMN_FLAG, AT(field), 0, 0, 1, absent, NULL                                             \
        }
#define TEXT(name, field, size_max)                                                                                    \
        {                                                                                                              \
                name, ASSENT_COLUMN_TEXT, AT(field), 0, 0, size_max, 0, NULL                                           \
        }
#define WORD(name, field, words, absent)                                                                               \
        {                                                                                                              \
                name, ASSENT_COLUMN_WORD, AT(field), 0, 0, 0, absent, &words                                           \
        }
#define BYTES(name, field)                                                                                             \
        {                                                                                                              \
                name, ASSENT_COLUMN_BYTES, AT(field), 0, 0, 0, 0, NULL                                                 \
        }

#define COMMON                                                                                                         \
        UUID("message_id", message_id), UUID("txn_id", txn_id), NUMBER("lamport", lamport, 0, INT64_MAX, REQUIRED)

static const struct assent_column begin_columns[] = {
    COMMON,
    WORD("protocol", body.begin.protocol, protocol_words, REQUIRED),
    NUMBER("timeout_ms", body.begin.timeout_ms, 0, UINT32_MAX, REQUIRED),
    FLAG("notify_completed", body.begin.notify_completed, false),
    {"branches", ASSENT_COLUMN_LIST, AT(body.begin), 0, 0, 0, REQUIRED, NULL},
};

static const struct assent_column command_columns[] = {
    COMMON,
    NUMBER("branch", body.command.branch, 0, UINT16_MAX, REQUIRED),
    NUMBER("branches_count", body.command.branches_count, 0, UINT16_MAX, REQUIRED),
    TEXT("service", body.command.service, ASSENT_SERVICE_SIZE_MAX),
    WORD("phase", body.command.phase, phase_words, REQUIRED),
    NUMBER("deadline_ms", body.command.deadline_ms, -TIME_MAX_MS, TIME_MAX_MS, REQUIRED),
    TEXT("kind", body.command.kind, ASSENT_KIND_SIZE_MAX),
    BYTES("payload", body.command.payload),
};

static const struct assent_column reply_columns[] = {
    COMMON,
    NUMBER("branch", body.reply.branch, 0, UINT16_MAX, REQUIRED),
    TEXT("service", body.reply.service, ASSENT_SERVICE_SIZE_MAX),
    WORD("phase", body.reply.phase, phase_words, REQUIRED),
    WORD("answer", body.reply.answer, answer_words, REQUIRED),
    TEXT("reason", body.reply.reason, ASSENT_REASON_SIZE_MAX),
};

static const struct assent_column outcome_columns[] = {
    COMMON,
    WORD("outcome", body.outcome.outcome, outcome_words, REQUIRED),
    TEXT("reason", body.outcome.reason, ASSENT_REASON_SIZE_MAX),
    NUMBER("decided_at_ms", body.outcome.decided_at_ms, -TIME_MAX_MS, TIME_MAX_MS, REQUIRED),
    NUMBER("rejected_lane", body.outcome.rejected_lane, -1, ASSENT_LANES_MAX - 1, -1),
    NUMBER("rejected_offset", body.outcome.rejected_offset, -1, INT64_MAX, -1),
};

static const struct assent_column control_columns[] = {
    COMMON,
    WORD("kind", body.control.kind, control_kind_words, REQUIRED),
    NUMBER("branch", body.control.branch, ASSENT_NO_BRANCH, UINT16_MAX, ASSENT_NO_BRANCH),
    NUMBER("attempt", body.control.attempt, 0, UINT32_MAX, 0),
    TEXT("reason", body.control.reason, ASSENT_REASON_SIZE_MAX),
    TEXT("settings", body.control.settings, INT64_MAX),
};

/* No limits here: the begin's are judged by R2, whose answer is a rejection with a reason, not
 * silence. */
static const struct assent_column branch_columns[] = {
    {"service", ASSENT_COLUMN_TEXT, offsetof(struct assent_branch_request, service), 0, 0, INT64_MAX, 0, NULL},
    {"kind", ASSENT_COLUMN_TEXT, offsetof(struct assent_branch_request, kind), 0, 0, INT64_MAX, 0, NULL},
    {"payload", ASSENT_COLUMN_BYTES, offsetof(struct assent_branch_request, payload), 0, 0, 0, 0, NULL},
};

#define COLUMNS(table)                                                                                                 \
        {                                                                                                              \
                table, sizeof(table) / sizeof(*(table))                                                                \
        }

struct assent_columns assent_columns_of(enum assent_message_type type)
{
        static const struct assent_columns of[] = {
            [ASSENT_BEGIN] = COLUMNS(begin_columns),     [ASSENT_COMMAND] = COLUMNS(command_columns),
            [ASSENT_REPLY] = COLUMNS(reply_columns),     [ASSENT_OUTCOME] = COLUMNS(outcome_columns),
            [ASSENT_CONTROL] = COLUMNS(control_columns),
        };
        ASSENT_ASSERT(type >= ASSENT_BEGIN && type <= ASSENT_CONTROL);
        return of[type];
}

struct assent_columns assent_columns_of_branch(void)
{
        return (struct assent_columns)COLUMNS(branch_columns);
}

int64_t assent_column_number(const struct assent_column *column, const void *base)
{
        const void *at = (const char *)base + column->offset;
        switch (column->width) {
        case sizeof(uint16_t):
                return *(const uint16_t *)at;
        case sizeof(uint32_t):
                return column->min < 0 ? *(const int32_t *)at : (int64_t) * (const uint32_t *)at;
        default:
                ASSENT_ASSERT(column->width == sizeof(int64_t));
                return *(const int64_t *)at;
        }
}

bool assent_column_set_number(const struct assent_column *column, void *base, int64_t number)
{
        void *at = (char *)base + column->offset;
        if (number < column->min || number > column->max)
                return false;
        switch (column->width) {
        case sizeof(uint16_t):
                *(uint16_t *)at = (uint16_t)number;
                break;
        case sizeof(uint32_t):
                *(uint32_t *)at = (uint32_t)number;
                break;
        default:
                ASSENT_ASSERT(column->width == sizeof(int64_t));
                *(int64_t *)at = number;
        }
        return true;
}

void assent_column_set_absent(const struct assent_column *column, void *base)
{
        void *at = (char *)base + column->offset;
        ASSENT_ASSERT(column->absent != REQUIRED);
        switch (column->kind) {
        case ASSENT_COLUMN_NUMBER: {
                bool fits = assent_column_set_number(column, base, column->absent);
                ASSENT_ASSERT(fits);
                break;
        }
        case ASSENT_COLUMN_FLAG:
                *(bool *)at = column->absent != 0;
                break;
        case ASSENT_COLUMN_WORD:
                *(int *)at = (int)column->absent;
                break;
        default:
                ASSENT_ASSERT(column->kind == ASSENT_COLUMN_TEXT || column->kind == ASSENT_COLUMN_BYTES);
                *(struct assent_bytes *)at = (struct assent_bytes){.data = "", .size = 0};
        }
}
