#!/usr/bin/env python3
"""The order service as its clients see it: a request that is sent again has one effect and one answer, whatever dies."""
import http.client
import json
import os
import random
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from orders import Events, Gone, Service, Watcher, order, settled
from pipeline import PATIENT, SEAMS, check, equal, main, until

SEED = int(os.environ.get("SEED", "1"))
POSTS, KILLS = 1000, 12
# Where a claim, its order and its begin may be when the service dies; each with the passing at which it does.
POINTS = ["participant_after_work:1", "participant_before_store_commit:2", "participant_after_store_commit:2",
          "participant_before_done:1", "client_queued:1", "client_acknowledged:1", "participant_after_handler:1",
          "participant_after_handler:2", "participant_after_publish:2", "outbox_before_send:2", "outbox_after_send:2",
          "outbox_acknowledged:1", "outbox_deleting:1"]


def up(p, *arguments, **settings):
    p.topics()
    p.coordinator_process = p.coordinator()
    p.services = {name: p.participant(name) for name in ("payment", "inventory")}
    return Service(p, *arguments, **settings)


def charges(p):
    return p.query("payment", "SELECT count(*), coalesce(sum(amount_cents), 0) FROM ledger")[0]


def charged(p, count, cents):
    """The order may be confirmed a moment before payment has applied the same decision."""
    p.audit()
    equal(charges(p), (count, cents), "charges and their sum")


def problem(answer, status, slug):
    equal((answer.status, answer.problem()), (status, slug), repr(answer))
    equal(answer.json["status"], status, "the problem's status")
    return answer


def a_request_has_one_effect_and_one_answer(p):
    shop = up(p).start()
    first = shop.place("key-1")
    equal(first.status, 201, repr(first))
    equal(first.json["state"], "CONFIRMED", "state")
    equal(first.json["outcome"], "committed", "outcome")
    equal(first.headers["ETag"], '"%d"' % first.json["version"], "entity tag")
    equal(first.headers["Idempotency-Key-Lifetime"], "86400", "the lifetime of the key")
    check("Idempotent-Replayed" not in first.headers, "the first answer is no replay")
    again = shop.place('"key-1"')
    equal((again.status, again.body, again.headers["Location"], again.headers["ETag"]),
          (201, first.body, first.headers["Location"], first.headers["ETag"]), "the same answer")
    equal(again.headers["Idempotent-Replayed"], "true", "marked as a replay")
    seen = shop.get(first.headers["Location"])
    equal({**seen.json, "outcome": "committed"}, first.json, "the order")
    txn = shop.get("/v1/transactions/" + first.json["txn_id"]).json
    equal((txn["state"], txn["reason"], txn["order"]), ("COMMITTED", None, first.headers["Location"]), "the transaction")
    problem(shop.place("key-1", order(cents=101)), 422, "idempotency-key-reused")
    problem(shop.place(None), 400, "idempotency-key-missing")
    problem(shop.place("k" * 256), 400, "idempotency-key-invalid")
    equal(shop.place("k" * 255).status, 201, "a key of 255 characters")
    charged(p, 2, 200)


def an_abort_is_a_result_with_its_reason(p):
    shop = up(p).start()
    for body, reason in ((order("nobody"), "unknown account"), (order(cents=99999999), "short of"), (order(sku="moon"), "moon")):
        first = shop.place(body["customer"] + reason.split()[0], body)
        equal((first.status, first.json["outcome"], first.json["state"]), (200, "aborted", "CANCELLED"), repr(first))
        check(reason in first.json["reason"], "the reason: " + repr(first))
        again = shop.place(body["customer"] + reason.split()[0], body)
        equal((again.status, again.body), (200, first.body), "again")
        txn = settled(shop, first.json["txn_id"])
        equal((txn["state"], txn["reason"]), ("ABORTED", first.json["reason"]), "the transaction")
        check("reason" not in shop.get(first.headers["Location"]).json, "the order itself has no reason")
    charged(p, 0, 0)


def bad_orders_are_told_all_that_is_wrong(p):
    shop = up(p).start()
    answer = problem(shop.place("k", {"customer": 1, "items": [{"sku": "", "quantity": 0, "x": 1}], "cents": 1}), 422, "order-invalid")
    equal([fault["member"] for fault in answer.json["errors"]],
          ["customer", "items[0].sku", "items[0].quantity", "items[0].x", "total_cents", "cents"], "members")
    for body, slug, status in ((b"{", "malformed-json", 400), (b"[]", "malformed-json", 400), (b'{"a":1,"a":2}', "malformed-json", 400),
                               (b'"%s"' % (b"x" * 65536), "body-too-large", 413)):
        problem(shop.place("k", body), status, slug)
    problem(shop.ask("POST", "/v1/orders", b"{}", {"Idempotency-Key": "k"}), 415, "unsupported-media-type")
    equal(shop.place("k", order(cents=10)).status, 201, "nothing was claimed: the key is as good as new")
    least_most = [(dict(order(), customer="a" * 64), 200), (dict(order(), customer="a" * 65), 422),
                  (order(cents=10**12), 200), (order(cents=10**12 + 1), 422), (order(count=10**9 + 1), 422),
                  (dict(order(), items=[{"sku": "moon", "quantity": 1}] * 100), 200),
                  (dict(order(), items=[{"sku": "moon", "quantity": 1}] * 101), 422)]
    for number, (body, status) in enumerate(least_most):
        equal(shop.place("limit-%d" % number, body).status, status, repr(body)[:200])


def same_answers(p, shop, posts, key):
    """`posts` requests at once, and nothing but the mark of a replay tells them apart."""
    with ThreadPoolExecutor(posts) as pool:
        answers = list(pool.map(lambda _: shop.place(key, order(cents=7), Prefer="wait=30"), range(posts)))
    equal({(answer.status, answer.body, answer.headers["ETag"], answer.headers["Location"]) for answer in answers},
          {(201, answers[0].body, '"2"', answers[0].headers["Location"])}, "answers")
    equal(sum("Idempotent-Replayed" not in answer.headers for answer in answers), 1, "one of them did it")
    equal(p.query("order", "SELECT count(*) FROM orders WHERE total_cents = 7"), [(1,)], "orders")
    begun = {record["message"]["txn_id"] for record in p.tail("inbox") if record["message"]["type"] == "BEGIN"}
    equal(begun, {answers[0].json["txn_id"]}, "transactions that were begun")


def a_thousand_posts_with_one_key_are_one(p):
    same_answers(p, up(p).start(), POSTS, "the-one")
    charged(p, 1, 7)


def a_thousand_posts_with_one_key_are_one_under_sanitizers(p):
    shop = up(p).start(build=SEAMS)
    same_answers(p, shop, POSTS, "the-one")
    equal(shop.process.stop(40), 0, "the service ends: " + shop.process.text()[-3000:])
    check(not shop.process.said("ERROR: .*Sanitizer|runtime error:"), "a sanitizer found something")
    shop.start()
    charged(p, 1, 7)


def without_a_coordinator_it_is_accepted_and_goes_on(p):
    shop = up(p, timeout_ms=4000).start()
    p.coordinator_process.kill()
    first = shop.place("slow", Prefer="respond-async")
    equal((first.status, first.json["state"], first.headers["Retry-After"]), (202, "PENDING", "1"), repr(first))
    equal(first.headers["Location"], "/v1/transactions/" + first.json["txn_id"], "where to look")
    seen = shop.get(first.json["order"])
    equal((seen.json["state"], seen.headers["ETag"]), ("PENDING", '"1"'), "the order")
    pending = shop.get(first.headers["Location"])
    equal((pending.json["state"], pending.json["settled_ms"], pending.headers["ETag"]), ("PENDING", None, '"1"'), "the transaction")
    again = problem(shop.place("slow", Prefer="wait=1"), 409, "idempotency-key-in-progress")
    equal((again.headers["Location"], again.json["txn_id"]), (first.headers["Location"], first.json["txn_id"]), "the same one")
    problem(shop.place("slow", order(cents=5)), 422, "idempotency-key-reused")
    p.coordinator_process = p.coordinator()
    last = until("a result", lambda: (lambda a: a if a.status in (200, 201) else None)(shop.place("slow")))
    equal(last.json["txn_id"], first.json["txn_id"], "the same transaction")
    equal(last.headers["Idempotent-Replayed"], "true", "a replay")
    txn = settled(shop, first.json["txn_id"])
    equal(txn["state"], "COMMITTED" if last.status == 201 else "ABORTED", "agree")
    equal(shop.get(first.headers["Location"], If_None_Match='"1"').status, 200, "it has changed since")
    equal(shop.get(first.headers["Location"], If_None_Match='"2"').status, 304, "and will not change again")
    charged(p, *((1, 100) if last.status == 201 else (0, 0)))


def preconditions_are_judged_in_order(p):
    shop = up(p).start()
    path = shop.place("k", order("nobody")).headers["Location"]
    length = shop.get(path).headers["Content-Length"]
    for headers, status in (({}, 200), ({"If-None-Match": '"2"'}, 304), ({"If-None-Match": 'W/"2"'}, 304), ({"If-None-Match": '"1"'}, 200),
                            ({"If-None-Match": "*"}, 304), ({"If-None-Match": '"1", "2"'}, 304), ({"If-Match": '"2"'}, 200),
                            ({"If-Match": "*"}, 200), ({"If-Match": '"1"'}, 412), ({"If-Match": 'W/"2"'}, 412),
                            ({"If-Match": '"1"', "If-None-Match": '"2"'}, 412), ({"If-Match": '"2"', "If-None-Match": '"2"'}, 304),
                            ({"If-None-Match": "2"}, 400), ({"If-Match": '*, "2"'}, 400)):
        for method in ("GET", "HEAD"):
            answer = shop.ask(method, path, None, headers)
            equal(answer.status, status, "%s %r" % (method, headers))
            check(status not in (200, 304) or answer.headers["ETag"] == '"2"', "the entity tag: " + repr(answer))
            check((method == "GET" and status != 304) or not answer.body, "no body: " + repr(answer))
            check(status not in (200, 304) or answer.headers["Content-Length"] == length, "the length of the 200: " + repr(answer))
    problem(shop.place("unmet", If_Match="*"), 412, "precondition-failed")
    problem(shop.place("unmet", If_None_Match="2"), 400, "malformed-precondition")
    placed = shop.place("unmet", order("nobody"), If_None_Match="*")
    equal((placed.status, "Idempotent-Replayed" in placed.headers), (200, False), "what was refused has claimed nothing")
    problem(shop.patch(path, {"note": "x"}), 428, "precondition-required")
    problem(shop.patch(path, {"note": "x"}, '"1"'), 412, "precondition-failed")
    problem(shop.patch(path, {"note": "x"}, 'W/"2"'), 412, "precondition-failed")
    answer = problem(shop.patch(path, {"note": 1, "state": "CONFIRMED"}, '"1"'), 422, "note-invalid")
    equal([fault["member"] for fault in answer.json["errors"]], ["note", "state"], "the body comes before the preconditions")
    equal(shop.patch(path, {"note": "ü" * 251}, '"2"').status, 422, "a note of 502 bytes")
    changed = shop.patch(path, {"note": "ü" * 250}, '"2"')
    equal((changed.status, changed.json["version"], changed.headers["ETag"]), (200, 3, '"3"'), "a note of 500 bytes")
    equal(shop.patch(path, {}, '"3"').headers["ETag"], '"3"', "nothing to change")
    equal(shop.patch(path, {"note": None}, "*").json["note"], "", "null removes it")
    problem(shop.patch("/v1/orders/none", {"note": "x"}, "*"), 404, "order-not-found")
    problem(shop.delete(path), 428, "precondition-required")
    problem(shop.delete(path, '"3"'), 412, "precondition-failed")
    equal(shop.delete(path, '"4"').status, 204, "deleted")
    gone = problem(shop.get(path), 410, "order-deleted")
    equal(gone.headers["ETag"], '"5"', "the version at which it went")
    for answer in (shop.delete(path, '"5"'), shop.patch(path, {"note": "x"}, '"5"')):
        problem(answer, 410, "order-deleted")
    kept = shop.place("k2").headers["Location"]
    problem(shop.delete(kept, '"2"'), 409, "order-confirmed")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: shop.patch(kept, {"note": str(n)}, '"2"').status, range(20)))
    equal(sorted(answers), [200] + [412] * 19, "one of twenty changes to one version is made")
    equal(shop.get(kept).headers["ETag"], '"3"', "once")
    p.audit()


def a_pending_order_is_cancelled_by_delete(p):
    shop = up(p).start()
    p.services["inventory"].signal(signal.SIGSTOP)
    first = shop.place("k", Prefer="respond-async")
    equal(first.status, 202, repr(first))
    path = first.json["order"]
    problem(shop.delete(path, '"7"'), 412, "precondition-failed")
    asked = shop.delete(path, '"1"')
    equal((asked.status, asked.headers["Location"]), (202, first.headers["Location"]), repr(asked))
    txn = settled(shop, first.json["txn_id"])
    equal((txn["state"], txn["reason"]), ("ABORTED", "cancelled by DELETE"), "the transaction")
    again = shop.place("k")
    equal((again.status, again.json["reason"]), (200, "cancelled by DELETE"), "what the key says")
    equal(shop.delete(path, '"2"').status, 204, "deleted")
    equal(shop.get(path).status, 410, "gone")
    equal([seen["order_id"] for seen in shop.get("/v1/orders").json["orders"]], [], "and not in the list")
    equal(shop.place("k").body, again.body, "the key still says what it said")
    p.services["inventory"].signal(signal.SIGCONT)
    p.audit()


def a_cancellation_is_asked_for_until_there_is_an_outcome(p):
    shop = up(p).start()
    p.coordinator_process.kill()
    first = shop.place("k", Prefer="respond-async")
    other = shop.place("other", Prefer="respond-async")
    equal(shop.delete(first.json["order"], '"1"').status, 202, "asked for")

    def asked(seen=first):
        return [record for record in p.tail("inbox") if record["message"]["type"] == "CONTROL"
                and record["message"]["txn_id"] == seen.json["txn_id"]]
    until("it is asked for again by itself", lambda: len(asked()) > 1)
    equal(asked(other), [], "of the other order nothing was asked")
    p.coordinator_process = p.coordinator()
    equal(settled(shop, first.json["txn_id"])["reason"], "cancelled by DELETE", "the reason")
    check(settled(shop, other.json["txn_id"])["reason"] != "cancelled by DELETE", "the other one is not cancelled")
    p.audit()


def pages_hold_every_order_once(p):
    shop = up(p).start()
    placed = [shop.place("k%d" % n, order("nobody" if n % 3 == 0 else "alice", 1)).json["order_id"] for n in range(12)]
    for query, wanted in (("", placed), ("&state=CONFIRMED", [o for n, o in enumerate(placed) if n % 3]),
                          ("&state=CANCELLED", placed[::3]), ("&state=PENDING", [])):
        for limit in (1, 5, 12, 100):
            found, path = [], "/v1/orders?limit=%d%s" % (limit, query)
            while path:
                page = shop.get(path)
                check(page.status == 200 and len(page.json["orders"]) <= limit, repr(page))
                found += [seen["order_id"] for seen in page.json["orders"]]
                equal(page.headers.get("Link"), '<%s>; rel="next"' % page.json["next"] if page.json["next"] else None, "Link")
                path = page.json["next"]
            equal(found, wanted[::-1], "orders by pages of %d, %s" % (limit, query))
    for query in ("limit=0", "limit=101", "limit=1e1", "limit=", "after=x", "after=c", "state=DELETED", "after=cffffffffffffffff"):
        problem(shop.get("/v1/orders?" + query), 400, "query-invalid")


def events_go_on_where_they_ended(p):
    shop = up(p, events_kept=6).start()
    live, names = Events(shop), ["order.placed", "order.confirmed"]
    shop.place("k1")
    until("two events", lambda: len(live.events) == 2)
    live.close()
    path = shop.place("k2").headers["Location"]
    shop.patch(path, {"note": "x"}, '"2"')
    rest = Events(shop, last=live.events[-1][0])
    until("the events missed", lambda: len(rest.events) == 3)
    equal(rest.names(), names + ["order.changed"], "events")
    equal([number for number, _, _ in live.events + rest.events], [1, 2, 3, 4, 5], "ids")
    equal([data["version"] for _, _, data in rest.events], [1, 2, 3], "versions")
    equal(rest.events[-1][2], shop.get(path).json, "the last one is the order as it is")
    shop.place("k3", order("nobody"))
    until("the live events", lambda: len(rest.events) == 5)
    equal(rest.names()[3:], ["order.placed", "order.cancelled"], "events")
    late = Events(shop, query=0)
    until("a reset, then what is kept", lambda: len(late.events) == 7)
    equal([(number, event) for number, event, _ in late.events][:2], [(1, "reset"), (2, "order.confirmed")], "reset")
    ahead = Events(shop, last=999)
    until("a reset", lambda: ahead.events)
    equal(ahead.events[0][:2], (7, "reset"), "an id that is not there yet")
    problem(shop.get("/v1/events", Last_Event_ID="x"), 400, "last-event-id-invalid")
    records = until("a record for each version", lambda: (lambda r: r if len(r) == 7 else None)(p.tail("order.events")))
    equal(sorted(record["key"] for record in records), sorted(seen["order_id"] for _, _, seen in live.events + rest.events), "keys")
    equal(shop.process.stop(), 0, "streams do not keep it from ending")
    until("the streams end", lambda: rest.ended and late.ended and ahead.ended)
    for stream in (rest, late, ahead):
        stream.close()


def until_answered(shop, key, body, status=201):
    """What a client does that may not lose its order: the same request until there is a result."""
    def ask():
        try:
            answer = shop.place(key, body, Prefer="wait=5")
        except Gone:
            return None
        check(answer.status in (status, 202, 409, 503), repr(answer))
        return answer if answer.status == status else None
    return until("a result for " + key, ask, 40)


def streams_have_limits(p):
    shop = up(p, streams_max=2, backlog_max=20).start(build=SEAMS)
    path = shop.place("k", dict(order("nobody"), items=[{"sku": "%064d" % n, "quantity": 1} for n in range(100)])).headers["Location"]
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", shop.port))
    slow.sendall(b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    response = http.client.HTTPResponse(slow, method="GET")
    response.begin()  # and nothing more is read, until far more is there than fits in between
    for version in range(2, 62):
        equal(shop.patch(path, {"note": "%d" % version}, '"%d"' % version).status, 200, "a change")
    text = response.read().decode()
    numbers = [int(number) for number in re.findall("^id: (.*)", text, re.M)]
    told = json.loads(re.search('event: behind\ndata: (.*)\n\n$', text).group(1))
    equal(numbers, list(range(3, 3 + len(numbers))), "what came before it was cut off")
    equal((numbers[-1] + told["waiting"], told["most"]), (62, 20), "what it is told")
    check(told["waiting"] > 20 and shop.process.said("its reader is too slow"), "why: %r" % told)
    slow.close()
    back = Events(shop, last=numbers[-1])
    until("what it missed", lambda: len(back.events) == told["waiting"])
    equal([number for number, _, _ in back.events], list(range(numbers[-1] + 1, 63)), "none is left out")
    other = Events(shop)
    problem(shop.get("/v1/events"), 503, "too-many-streams")
    check(int(shop.get("/v1/events").headers["Retry-After"]) > 0, "when to come back")
    shop.patch(path, {"note": "x"}, '"62"')
    until("those who have a stream go on", lambda: back.events[-1][0] == 63 and other.events)
    back.close()
    again = until("a place is free again", lambda: stream_or_none(shop, path))
    for stream in (other, again):
        stream.close()
    equal(shop.process.stop(40), 0, "the service ends: " + shop.process.text()[-3000:])
    check(not shop.process.said("ERROR: .*Sanitizer|runtime error:"), "a sanitizer found something")


def stream_or_none(shop, path):
    """A stream, if there is a place. That a reader is gone shows when it is to be told something."""
    shop.patch(path, {"note": str(time.monotonic())}, "*")
    stream = Events(shop)
    if stream.response.status == 200:
        return stream
    stream.close()


def dying_at_its_crash_points_it_charges_once(p):
    p.settings.update(PATIENT)
    shop = up(p, timeout_ms=15000).start()
    watcher = Watcher(shop)
    shop.process.stop()
    for number, point in enumerate(POINTS):
        shop.start(build=SEAMS, environment={"ASSENT_CRASH_POINT": point})
        body = order(cents=1 + number)
        try:
            answer = shop.place("key-%d" % number, body, Prefer="wait=5")
            check(answer.status in (201, 202), repr(answer))
        except Gone:
            pass
        until("it dies at " + point, lambda: shop.process.popen.poll() is not None)
        equal(shop.process.popen.returncode, -signal.SIGKILL, "how it died at %s: %s" % (point, shop.process.text()[-2000:]))
        shop.start()
        first = until_answered(shop, '"key-%d"' % number, body)
        equal(until_answered(shop, '"key-%d"' % number, body).body, first.body, "the same again")
        equal(shop.process.stop(), 0, "the service ends")
    shop.start()
    watcher.finish()
    equal(p.query("order", "SELECT count(*) FROM orders"), [(len(POINTS),)], "orders")
    charged(p, len(POINTS), sum(range(1, len(POINTS) + 1)))
    # A repeat looks like what it repeats: the two versions of an order are of different lengths.
    until("each order's two events are there", lambda: len({(event["key"], event["size"]) for event in p.tail("order.events")})
          == 2 * len(POINTS))


def killed_at_random_it_charges_once(p):
    p.settings.update(PATIENT)
    rng, shop = random.Random(SEED), up(p, timeout_ms=15000)
    shop.start()
    watcher, answers, over = Watcher(shop), {}, threading.Event()

    def client(number):
        while not over.is_set():
            key = "%d-%d" % (number, len(answers))
            answers[key] = until_answered(shop, key, order(cents=3)).body

    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(client, number) for number in range(6)]
        try:
            for _ in range(KILLS):
                time.sleep(rng.uniform(0, 0.4))
                shop.process.kill()
                shop.start()
        finally:
            over.set()
        for future in clients:
            future.result()
    for key, body in sorted(answers.items())[::10]:
        equal(shop.place(key, order(cents=3)).body, body, "the same again")
    watcher.finish()
    print("# SEED=%d, %d kills, %d orders" % (SEED, KILLS, len(answers)))
    equal(p.query("order", "SELECT count(*), min(version), max(version) FROM orders"), [(len(answers), 2, 2)], "orders")
    charged(p, len(answers), 3 * len(answers))


def what_was_claimed_too_long_ago_is_cancelled(p):
    p.settings.update(window_ms=2000, timeout_max_ms=800, skew_ms=1000)
    shop = up(p, timeout_ms=800).start(build=SEAMS, environment={"ASSENT_CRASH_POINT": "participant_before_done"})
    try:
        shop.place("k")
    except Gone:
        pass
    until("it dies between claim and begin", lambda: shop.process.popen.poll() is not None)
    txn = p.query("order", "SELECT txn_id, state FROM orders")[0]
    equal(txn[1], "PENDING", "the order is there")
    born = int.from_bytes(txn[0][:6], "big")
    until("the window has passed", lambda: time.time() * 1000 > born + 2200)
    shop.start()
    answer = until_answered(shop, "k", order(), status=200)
    equal((answer.json["state"], answer.json["reason"]), ("CANCELLED", "refused: STALE"), repr(answer))
    p.audit()


def it_says_no_when_too_many_wait_and_ends_with_all_answered(p):
    shop = up(p, waiting_max=3).start()
    p.coordinator_process.kill()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(shop.place, "k%d" % number, order(), Prefer="wait=20") for number in range(3)]
        until("three orders", lambda: p.query("order", "SELECT count(*) FROM orders") == [(3,)])
        problem(shop.place("k4"), 503, "too-many-waiting")
        equal(p.query("order", "SELECT count(*) FROM orders"), [(3,)], "it was not let in")
        equal(shop.get("/v1/orders").status, 200, "who does not wait is served")
        shop.process.signal(signal.SIGTERM)
        equal([future.result().status for future in waiting], [202] * 3, "told that it goes on")
    equal(shop.process.popen.wait(15), 0, "it ends")
    p.coordinator_process = p.coordinator()
    shop.start()
    for number in range(3):
        check(until("a result", lambda n=number: (lambda a: a if a.status in (200, 201) else None)(shop.place("k%d" % n))), "settled")
    p.audit()


def callers_have_keys_of_their_own(p):
    tokens = os.path.join(p.folder, "tokens")
    with open(os.open(tokens, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write("ann ann-secret-token-0123456789\nben ben-secret-token-0123456789\n")
    shop = up(p, "--tokens", tokens).start()
    problem(shop.place("k"), 401, "unauthorized")
    equal(shop.get("/openapi.json").status, 200, "the description is open")
    ann, ben = ("Bearer %s-secret-token-0123456789" % name for name in ("ann", "ben"))
    first = shop.place("k", Authorization=ann)
    equal(first.status, 201, repr(first))
    equal(shop.place("k", order(cents=9), Authorization=ben).status, 201, "the same key of another caller")
    equal(shop.place("k", Authorization=ann).body, first.body, "each has its own")
    charged(p, 2, 109)


if __name__ == "__main__":
    main(a_request_has_one_effect_and_one_answer, an_abort_is_a_result_with_its_reason, bad_orders_are_told_all_that_is_wrong,
         a_thousand_posts_with_one_key_are_one, a_thousand_posts_with_one_key_are_one_under_sanitizers,
         without_a_coordinator_it_is_accepted_and_goes_on, preconditions_are_judged_in_order,
         a_pending_order_is_cancelled_by_delete, a_cancellation_is_asked_for_until_there_is_an_outcome,
         pages_hold_every_order_once, events_go_on_where_they_ended, streams_have_limits,
         dying_at_its_crash_points_it_charges_once, killed_at_random_it_charges_once,
         what_was_claimed_too_long_ago_is_cancelled, it_says_no_when_too_many_wait_and_ends_with_all_answered,
         callers_have_keys_of_their_own)
