#include "body.h"

__attribute__((format(printf, 3, 4))) static void fault(json_t *faults, const char *member, const char *format, ...)
{
        char detail[160];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(detail, sizeof detail, format, arguments);
        va_end(arguments);
        json_array_append_new(faults, json_pack("{s:s, s:s}", "member", member, "detail", detail));
}

/* A member's name in a fault is cut: it is the caller's. */
static void unknown_members(json_t *faults, json_t *object, const char *where, const char *const *known)
{
        char member[96];
        const char *key;
        json_t *value;

        json_object_foreach(object, key, value)
        {
                size_t i = 0;
                while (known[i] && strcmp(known[i], key) != 0)
                        i++;
                if (known[i])
                        continue;
                size_t size = strlen(key) < 64 ? strlen(key) : 64;
                while (size > 0 && ((unsigned char)key[size] & 0xc0) == 0x80) /* not within a character */
                        size--;
                snprintf(member, sizeof member, "%s%.*s", where, (int)size, key);
                fault(faults, member, "is unknown; leave it out");
        }
}

/* Printable ASCII: what can be said exactly in a schema, typed, and put into any header. */
static void take_name(json_t *faults, const json_t *value, const char *member, char out[SERVICE_NAME_SIZE_MAX + 1])
{
        const char *text = json_string_value(value);
        const size_t size = json_string_length(value);

        if (!text) {
                fault(faults, member, value ? "must be a text" : "is missing");
                return;
        }
        for (size_t i = 0; i < size; i++)
                if (text[i] < ' ' || text[i] > '~') {
                        fault(faults, member, "must be printable ASCII");
                        return;
                }
        if (size < 1 || size > SERVICE_NAME_SIZE_MAX)
                fault(faults, member, "has %zu characters; 1 to %d are allowed", size, SERVICE_NAME_SIZE_MAX);
        else
                memcpy(out, text, size + 1);
}

/* 2.0 is a whole number, too (JSON Schema); a double holds those exactly up to a limit above all of ours. */
static int64_t take_count(json_t *faults, const json_t *value, const char *member, int64_t max)
{
        const double real = json_real_value(value);
        const bool whole =
            json_is_real(value) && real >= 1 && real <= (double)SERVICE_CENTS_MAX && (double)(int64_t)real == real;
        int64_t number = whole ? (int64_t)real : json_integer_value(value);

        if (!json_is_integer(value) && !whole)
                fault(faults, member, value ? "must be a whole number" : "is missing");
        else if (number < 1 || number > max)
                fault(faults, member, "is %" PRId64 "; 1 to %" PRId64 " are allowed", number, max);
        return number;
}

static json_t *take_items(json_t *faults, const json_t *value)
{
        static const char *const known[] = {"sku", "quantity", NULL};
        json_t *items = json_array(), *line;
        char where[32], member[48], sku[SERVICE_NAME_SIZE_MAX + 1] = "";
        size_t i;

        if (!json_is_array(value) || json_array_size(value) < 1 || json_array_size(value) > SERVICE_ITEMS_MAX) {
                fault(faults, "items", "%s an array of 1 to %d lines", value ? "must be" : "is missing; it is",
                      SERVICE_ITEMS_MAX);
                return items;
        }
        json_array_foreach(value, i, line)
        {
                snprintf(where, sizeof where, "items[%zu]", i);
                if (!json_is_object(line)) {
                        fault(faults, where, "must be {\"sku\", \"quantity\"}");
                        continue;
                }
                snprintf(member, sizeof member, "%s.sku", where);
                take_name(faults, json_object_get(line, "sku"), member, sku);
                snprintf(member, sizeof member, "%s.quantity", where);
                int64_t quantity = take_count(faults, json_object_get(line, "quantity"), member, SERVICE_QUANTITY_MAX);
                snprintf(member, sizeof member, "%s.", where);
                unknown_members(faults, line, member, known);
                json_array_append_new(items, json_pack("{s:s, s:I}", "sku", sku, "quantity", (json_int_t)quantity));
        }
        return items;
}

/* No faults, and so none to hand over. */
static bool clean(json_t **faults)
{
        if (json_array_size(*faults) > 0)
                return false;
        json_decref(*faults);
        *faults = NULL;
        return true;
}

bool body_order(json_t *body, struct order_placing *out, json_t **faults)
{
        static const char *const known[] = {"customer", "items", "total_cents", NULL};

        *faults = json_array();
        take_name(*faults, json_object_get(body, "customer"), "customer", out->customer);
        json_t *items = take_items(*faults, json_object_get(body, "items"));
        out->total_cents = take_count(*faults, json_object_get(body, "total_cents"), "total_cents", SERVICE_CENTS_MAX);
        unknown_members(*faults, body, "", known);
        const bool good = *faults && clean(faults);
        out->items = good ? json_dumps(items, JSON_COMPACT) : NULL;
        json_decref(items);
        return out->items != NULL;
}

bool body_note(json_t *body, char note[ORDER_NOTE_SIZE_MAX + 1], bool *given, json_t **faults)
{
        static const char *const known[] = {"note", NULL};
        const json_t *value = json_object_get(body, "note");

        *faults = json_array();
        *given = value != NULL;
        note[0] = '\0';
        if (value && !json_is_string(value) && !json_is_null(value))
                fault(*faults, "note", "must be a text, or null to remove it");
        else if (json_string_length(value) > ORDER_NOTE_SIZE_MAX)
                fault(*faults, "note", "has %zu bytes; %d are allowed", json_string_length(value), ORDER_NOTE_SIZE_MAX);
        else if (json_is_string(value))
                memcpy(note, json_string_value(value), json_string_length(value) + 1);
        unknown_members(*faults, body, "", known);
        return *faults && clean(faults);
}
