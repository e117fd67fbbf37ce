/* The bodies of POST and PATCH, at their limits and one past them; and those who wait for an answer. */
#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>

#include "../../consumers/order/body.c"
#include "../../consumers/order/waiters.c"

/* "" when the body is good, otherwise the members that are wrong. */
static const char *wrong(const char *text, struct order_placing *out)
{
        static char members[1024];
        json_t *body = json_loads(text, 0, NULL), *faults = NULL, *one;
        size_t i, used = 0;

        cr_assert_not_null(body, "%s", text);
        bool good = body_order(body, out, &faults);
        cr_assert_eq(good, faults == NULL);
        members[0] = '\0';
        json_array_foreach(faults, i, one)
                used += (size_t)snprintf(members + used, sizeof members - used, "%s%s", i ? " " : "",
                                         json_string_value(json_object_get(one, "member")));
        json_decref(faults);
        json_decref(body);
        if (good)
                free(out->items);
        return members;
}

static const char *wrong_with(const char *customer, const char *items, const char *cents)
{
        static char text[16384];
        struct order_placing out = {0};
        snprintf(text, sizeof text, "{\"customer\":%s,\"items\":%s,\"total_cents\":%s}", customer, items, cents);
        return wrong(text, &out);
}

#define LINE  "{\"sku\":\"a\",\"quantity\":1}"
#define LINES "[" LINE "]"

static const char *name_of(size_t size)
{
        static char text[128];
        memset(text, 'a', sizeof text);
        text[0] = text[size + 1] = '"';
        text[size + 2] = '\0';
        return text;
}

static const char *lines_of(size_t count)
{
        static char text[8192];
        size_t used = 0;
        for (size_t i = 0; i < count; i++)
                used += (size_t)snprintf(text + used, sizeof text - used, "%s" LINE, i ? "," : "[");
        snprintf(text + used, sizeof text - used, "]");
        return text;
}

Test(order_body, is_read_at_its_limits)
{
        struct order_placing out = {0};

        cr_expect_str_eq(wrong("{\"items\":[{\"quantity\":2,\"sku\":\"b\"}],\"total_cents\":7,\"customer\":\"x y\"}", &out),
                         "");
        cr_expect_str_eq(out.customer, "x y");
        cr_expect_eq(out.total_cents, 7);
        cr_expect_str_eq(wrong_with(name_of(64), LINES, "1"), "");
        cr_expect_str_eq(wrong_with(name_of(65), LINES, "1"), "customer");
        cr_expect_str_eq(wrong_with("\"\"", LINES, "1"), "customer");
        cr_expect_str_eq(wrong_with("\"\xc3\xbc\"", LINES, "1"), "customer");
        cr_expect_str_eq(wrong_with("\"\\u007f\"", LINES, "1"), "customer");
        cr_expect_str_eq(wrong_with("\"a\"", LINES, "1000000000000"), "");
        cr_expect_str_eq(wrong_with("\"a\"", LINES, "1000000000001"), "total_cents");
        cr_expect_str_eq(wrong_with("\"a\"", LINES, "0"), "total_cents");
        cr_expect_str_eq(wrong_with("\"a\"", LINES, "2.0"), "");
        cr_expect_str_eq(wrong_with("\"a\"", LINES, "2.5"), "total_cents");
        cr_expect_str_eq(wrong_with("\"a\"", LINES, "1e300"), "total_cents");
        cr_expect_str_eq(wrong_with("\"a\"", LINES, "\"1\""), "total_cents");
        cr_expect_str_eq(wrong_with("\"a\"", lines_of(100), "1"), "");
        cr_expect_str_eq(wrong_with("\"a\"", lines_of(101), "1"), "items");
        cr_expect_str_eq(wrong_with("\"a\"", "[]", "1"), "items");
        cr_expect_str_eq(wrong_with("\"a\"", "[{\"sku\":\"a\",\"quantity\":1000000000}]", "1"), "");
        cr_expect_str_eq(wrong_with("\"a\"", "[{\"sku\":\"a\",\"quantity\":1000000001}]", "1"), "items[0].quantity");
        cr_expect_str_eq(wrong_with("\"a\"", "[" LINE ",7]", "1"), "items[1]");
}

Test(order_body, tells_all_that_is_wrong)
{
        struct order_placing out = {0};

        cr_expect_str_eq(wrong("{}", &out), "customer items total_cents");
        cr_expect_str_eq(wrong("{\"customer\":null,\"items\":{},\"total_cents\":true,\"note\":\"x\"}", &out),
                         "customer items total_cents note");
        cr_expect_str_eq(wrong_with("\"a\"", "[{\"quantity\":0,\"x\":1}]", "1"), "items[0].sku items[0].quantity items[0].x");
}

Test(order_body, a_note_has_500_bytes)
{
        char note[ORDER_NOTE_SIZE_MAX + 1], text[ORDER_NOTE_SIZE_MAX + 2];
        bool given;
        json_t *faults, *body;

        memset(text, 'n', sizeof text - 1);
        text[sizeof text - 1] = '\0';
        body = json_pack("{s:s}", "note", text);
        cr_expect_not(body_note(body, note, &given, &faults));
        cr_expect_eq(json_array_size(faults), 1);
        json_decref(faults);
        json_object_set_new(body, "note", json_string(text + 1));
        cr_expect(body_note(body, note, &given, &faults) && given);
        cr_expect_str_eq(note, text + 1);
        json_object_set_new(body, "note", json_null());
        cr_expect(body_note(body, note, &given, &faults) && given && note[0] == '\0');
        json_object_clear(body);
        cr_expect(body_note(body, note, &given, &faults) && !given);
        json_decref(body);
}

/* ---- who waits ---- */

static struct waiter someone[4];
static atomic_int late_count;

static void late(void *context, struct waiter *waiter)
{
        cr_expect_eq(context, someone);
        cr_expect(waiter >= someone && waiter < someone + 4);
        late_count++;
}

static struct assent_uuid txn(uint8_t number)
{
        return (struct assent_uuid){.bytes = {[15] = number}};
}

static void add(struct waiters *waiters, int who, uint8_t number, int64_t until_ms)
{
        cr_assert(waiters_enter(waiters));
        someone[who] = (struct waiter){.txn_id = txn(number), .until_ms = until_ms};
        waiters_add(waiters, &someone[who]);
}

Test(order_waiters, each_is_handed_back_once)
{
        struct waiters *waiters;
        const struct assent_uuid one = txn(1), two = txn(2), other = {.bytes = {[0] = 1, [15] = 1}}; /* the bucket of one */

        cr_assert_eq(waiters_open(4, late, someone, &waiters), ASSENT_OK);
        add(waiters, 0, 1, INT64_MAX);
        add(waiters, 1, 1, INT64_MAX);
        add(waiters, 2, 2, 0); /* its time is over */
        add(waiters, 3, 3, INT64_MAX - 1);
        while (late_count == 0)
                sched_yield();
        cr_expect_null(waiters_settled(waiters, &two));
        cr_expect_null(waiters_settled(waiters, &other));
        struct waiter *found = waiters_settled(waiters, &one);
        cr_assert(found && found->next && !found->next->next);
        cr_expect(found != found->next && found <= &someone[1] && found->next <= &someone[1]);
        cr_expect_null(waiters_settled(waiters, &one));
        waiters_stop(waiters);
        cr_expect_eq(late_count, 2);
        waiters_close(waiters);
        waiters_close(NULL);
}

Test(order_waiters, there_is_room_for_so_many)
{
        struct waiters *waiters;
        const struct assent_uuid one = txn(1);

        cr_assert_eq(waiters_open(2, late, someone, &waiters), ASSENT_OK);
        add(waiters, 0, 1, INT64_MAX);
        cr_assert(waiters_enter(waiters));
        cr_assert_not(waiters_enter(waiters));
        waiters_leave(waiters);
        cr_assert(waiters_enter(waiters));
        waiters_leave(waiters);
        waiters_settled(waiters, &one);
        cr_assert(waiters_enter(waiters) && waiters_enter(waiters));
        cr_assert_not(waiters_enter(waiters));
        waiters_stop(waiters);
        waiters_close(waiters);
}
