#!/usr/bin/env python3
"""assent-load as its users see it: what it begins, measures, asserts, saves, draws and refuses."""
import csv
import http.server
import json
import os
import signal
import subprocess
import threading
import time
import xml.dom.minidom

from orders import Service
from pipeline import BUILD, SERVICES, check, equal, main, until

FAST = ("--quiet", "--json")


def load(p, *arguments, wanted=0):
    """Runs it; the one JSON object, and what was said beside it."""
    status, out, err = p.run("assent-load", *FAST, *arguments)
    equal(status, wanted, "exit status of assent-load %s:\n%s%s" % (" ".join(arguments), out, err))
    equal(out.count("\n"), 1, "one line on stdout")
    return json.loads(out), err


def plot(*arguments):
    done = subprocess.run([os.path.join(BUILD, "bin", "assent-load"), "plot", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=20)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def databases(p):
    return [word for service in SERVICES for word in ("--" + service, p.db(service))]


def a_schedule_is_measured_saved_and_drawn(p):
    p.up()
    saved, series = os.path.join(p.folder, "<one> & only.json"), os.path.join(p.folder, "series.csv")
    told, err = load(p, "--rate", "200", "--arrivals", "poisson", "--warm-up", "1s", "--duration", "2s", "--protocol", "mix",
                     "--services", "order,payment,inventory", "--participants", "4", "--payload-size", "600", "--skew", "1.2",
                     "--abort-ratio", "0.1", "--duplicate-ratio", "0.2", "--save", saved, "--csv", series, *databases(p),
                     "--assert", "violations==0", "--assert", "p99<10s", "--assert", "lag_max < 2s")
    check(300 < told["count"] < 500, "about 400 in two seconds: %r" % told)
    check(100 < told["warm_up"] < 300, "about 200 before: %r" % told)
    equal(told["committed"] + told["aborted"], told["count"], "outcomes")
    check(0.02 < told["aborted"] / told["count"] < 0.25, "about a tenth is refused: %r" % told)
    check(0.1 < told["duplicates"] / told["count"] < 0.35 and told["duplicates_absorbed"] == told["duplicates"], str(told))
    equal((told["in_doubt"], told["violations"], told["rejected"], told["unknown"]), (0, 0, 0, 0), "the audit")
    equal([a["holds"] for a in told["assertions"]], [True] * 3, "assertions")
    equal((told["settings"]["rate"], told["settings"]["seed"], told["first_abort"]), (200, 1, None), "settings")
    check(told["p50_ms"] <= told["p99_ms"] <= told["p999_ms"] <= told["max_ms"], str(told))
    with open(saved) as file:
        whole = json.load(file)
    equal(sum(count for _, count in whole["histogram_us"]), told["count"], "the histogram holds every latency")
    with open(series) as file:
        rows = list(csv.DictReader(file))
    equal(sum(int(row["begun"]) for row in rows), told["count"], "the series holds every begin")
    check(len(rows) >= 2 and rows[0]["second"] == "1", "a line a second: %r" % rows)
    picture = os.path.join(p.folder, "picture.svg")
    status, out, err = plot(saved, saved, "-o", picture)
    equal(status, 0, out + err)
    drawn = xml.dom.minidom.parse(picture)
    equal(len(drawn.getElementsByTagName("polyline")), 4, "two curves for each of two results")
    check("<one> & only.json" in drawn.getElementsByTagName("tspan")[0].firstChild.data, "its name is there")
    # What the services saw.
    begins = {r["message"]["txn_id"]: r["message"] for r in p.tail("inbox") if r["message"]["type"] == "BEGIN"}
    equal({b["protocol"] for b in begins.values()}, {"2PC", "3PC"}, "both protocols")
    equal({len(b["branches"]) for b in begins.values()}, {4}, "branches")
    used = p.query("payment", "SELECT count(*) FROM ledger GROUP BY account ORDER BY 1 DESC")
    check(used[0][0] > 5 * used[len(used) // 2][0], "the first account is used most: %r" % used[:3])


def a_seed_gives_the_same_load_again(p):
    p.up()
    drawn = []
    for seed, same in (("7", False), ("7", True), ("8", False)):
        told, err = load(p, "-n", "200", "--abort-ratio", "0.3", "--duplicate-ratio", "0.3", "--seed", seed)
        p.audit()
        drawn.append((told["committed"], told["aborted"], told["duplicates"]))
        odd = p.query("payment", "SELECT account FROM ledger GROUP BY account HAVING count(*) % 2 = 1")
        equal(odd == [], same, "every account was charged twice as often: %r" % odd)
    equal(drawn[0], drawn[1], "the same seed")
    check(drawn[0] != drawn[2], "another seed: %r" % drawn)


def a_schedule_that_is_not_kept_is_said_to_lag(p):
    p.up()
    arguments = ("--rate", "5000", "--duration", "1s", "--in-flight", "4")
    told, err = load(p, *arguments, "--assert", "lag_max<50ms", "--assert", "not_begun==0", "--assert", "committed>0",
                     "--assert", "p99<1000s", wanted=1)
    check(told["not_begun"] > 0 and told["lag_max_ms"] > 100, str(told))
    check(4900 < told["count"] + told["not_begun"] < 5100, "the whole schedule: %r" % told)
    check(told["p50_ms"] > 50, "latencies count from the scheduled begin: %r" % told)
    equal([a["holds"] for a in told["assertions"]], [False, False, True, False], "assertions")
    equal(err.count("broken:"), 3, "a line for each broken assertion: " + err)
    check("lag_max<50ms: lag_max_ms is" in err, err)
    status, out, err = p.run("assent-load", "--quiet", *arguments)
    check(status == 0 and "NOT KEPT" in out and "never made" in out, out + err)


def an_interrupted_load_tells_what_it_has(p):
    p.up()
    process = p.launch("assent-load", "--rate", "50", "--duration", "1m", "--json")
    until("three seconds of it", lambda: process.text().count("tx/s") >= 3)
    process.signal(signal.SIGINT)
    status = process.popen.wait(15)
    check(status in (0, 4), "exit status %d" % status)
    text = process.text()
    told = json.loads(text[text.index("{"):])
    check(50 < told["committed"] < 250, text)
    check("tx/s" in text.split("{")[0], "a line of progress each second: " + text)


def shop(p, **settings):
    """The pipeline with an order service that listens."""
    p.topics()
    p.coordinator_process = p.coordinator()
    p.services = {name: p.participant(name) for name in ("payment", "inventory")}
    return Service(p, **settings).start()


def address(service):
    return ("--mode", "order", "--url", "http://127.0.0.1:%d" % service.port)


def judged(p, told):
    """What the load says against what stands in the databases; there were no other orders."""
    orders = told["orders"]
    committed, aborted = told["committed"] + orders["late_committed"], told["aborted"] + orders["late"] - orders["late_committed"]
    equal((told["rejected"], told["in_doubt"], told["violations"], orders["unsettled"]), (0, 0, 0, 0), str(told))
    equal((committed + aborted, orders["read_back"]), (told["count"],) * 2, "every order has an outcome, and was read back: %r" % told)
    equal(told["money_conserved"], True, "money")
    equal(p.query("order", "SELECT state, count(*) FROM orders GROUP BY state ORDER BY state"),
          [row for row in (("CANCELLED", aborted), ("CONFIRMED", committed)) if row[1]], "orders: %r" % told)
    equal(p.query("payment", "SELECT count(*), count(DISTINCT txn_id), sum(amount_cents) FROM ledger"), [(committed,) * 3],
          "each was charged once, one cent")
    equal(p.query("inventory", "SELECT sum(quantity) FROM shipments"), [(committed,)], "each was delivered once")


def orders_are_placed_measured_and_read_back(p):
    service = shop(p)
    saved = os.path.join(p.folder, "orders.json")
    told, err = load(p, *address(service), "-n", "600", "--in-flight", "40", "--abort-ratio", "0.2", "--duplicate-ratio", "0.4",
                     "--skew", "1.5", "--items", "10", "--payload-size", "700", "--save", saved, *databases(p), "--assert", "violations==0",
                     "--assert", "in_doubt==0", "--assert", "p99.99<30s")
    judged(p, told)
    equal(told["first_abort"], None, "only what was to be aborted was")
    check(60 < told["aborted"] < 180, "about a fifth: %r" % told)
    check(150 < told["duplicates"] < 330 and told["duplicates_absorbed"] == told["duplicates"], str(told))
    check(told["orders"]["replays"] >= told["duplicates"] // 2, "what was sent after the answer is a replay: %r" % told)
    reasons = " ".join(reason for reason, in p.query("order", "SELECT DISTINCT reason FROM orders WHERE state = 'CANCELLED'"))
    check("is short of" in reasons and "2 of 'desk' left" in reasons, "out of money, and out of stock: " + reasons)
    sold = p.query("inventory", "SELECT sku, sum(quantity) FROM shipments GROUP BY sku ORDER BY 2 DESC")
    check(sold[0][0] == "bolt" and len(sold) > 3 and sold[0][1] > 3 * sold[-1][1], "the first item is bought most: %r" % sold)
    used = p.query("payment", "SELECT count(*) FROM ledger GROUP BY account ORDER BY 1 DESC")
    check(used[0][0] > 5 * used[len(used) // 2][0], "the first account is used most: %r" % used[:3])
    status, out, err = plot(saved, "-o", os.path.join(p.folder, "orders.svg"))
    equal(status, 0, out + err)
    # On a schedule; and a broken assertion is the exit status, though all orders are right.
    rated, err = load(p, *address(service), "--rate", "100", "--arrivals", "poisson", "--warm-up", "50", "--duration", "2s",
                     "--assert", "p50<1us", "--assert", "violations==0", wanted=1)
    equal([a["holds"] for a in rated["assertions"]], [False, True], "assertions")
    check("broken: p50<1us" in err and 120 < rated["count"] < 280 and rated["warm_up"] >= 50, "%r %s" % (rated, err))
    equal(rated["money_conserved"], None, "without the database nobody knows")
    # The same run again is the same orders; other orders under its keys are refused.
    again = (*address(service), "-n", "30", "--run-id", "mine")
    first, err = load(p, *again)
    second, err = load(p, *again)
    equal((first["orders"]["replays"], second["orders"]["replays"], second["committed"]), (0, 30, 30), "replays")
    told, err = load(p, *again, "--seed", "2", wanted=6)
    check(told["rejected"] > 20 and told["first_rejection"].startswith("422"), str(told))
    equal(p.query("order", "SELECT count(*) FROM orders"), [(600 + rated["warm_up"] + rated["count"] + 30,)], "orders")


def nothing_is_lost_with_an_order_service_that_is_killed(p):
    service = shop(p, key_expiry_ms=600000)
    process = p.launch("assent-load", *address(service), "-n", "3000", "--in-flight", "32", "--abort-ratio", "0.1",
                       "--duplicate-ratio", "0.3", "--quiet", "--json", *databases(p))
    for placed in (400, 1000, 1600):  # long before the last
        until("orders go on", lambda: p.query("order", "SELECT count(*) FROM orders")[0][0] > placed, 60)
        service.process.kill()
        service.arguments = ("--listen", "127.0.0.1:%d" % service.port)  # where the load goes on asking
        service.start()
    equal(process.popen.wait(90), 0, "exit status: " + process.text())
    told = json.loads(process.text().splitlines()[-1])
    judged(p, told)
    check(told["orders"]["retries"] > 0 and told["duplicates_absorbed"] == told["duplicates"] > 0, str(told))


def orders_that_are_late_are_read_until_they_settle(p):
    service = shop(p)
    p.coordinator_process.kill()
    process = p.launch("assent-load", *address(service), "-n", "20", "--timeout", "1500ms", "--quiet", "--json", *databases(p))
    until("all are placed", lambda: p.query("order", "SELECT count(*) FROM orders") == [(20,)])
    time.sleep(3)
    p.coordinator_process = p.coordinator()
    equal(process.popen.wait(60), 0, "exit status: " + process.text())
    told = json.loads(process.text()[process.text().index("{"):].splitlines()[0])
    judged(p, told)
    equal((told["unknown"], told["orders"]["late"]), (20, 20), "nothing was answered in time: %r" % told)
    check(told["orders"]["not_modified"] > 0, "what had not changed came without a body: %r" % told)


class Liar:
    """An order service that keeps its promises but for what `lie` makes of an answer: (method, nth of its key, answer)."""

    def __init__(self, lie=lambda method, nth, answer: answer):
        liar, self.posts, self.lock = self, [], threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def reply(self, method, nth, answer):
                answer = lie(method, nth, answer)
                if answer is None:  # the connection goes, and nobody knows
                    self.close_connection = True
                    return
                status, headers, body = answer
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in dict(headers, **{"Content-Type": "application/json", "Content-Length": str(len(data))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                if "?" in self.path:
                    return self.reply("LIST", 1, (200, {}, {"orders": []}))
                order = json.loads(liar.posts[int(self.path.rsplit("-", 1)[1])][1])
                return self.reply("GET", 1, (200, {"ETag": '"2"'}, dict(order, state="CONFIRMED")))

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with liar.lock:
                    key = self.headers["Idempotency-Key"]
                    liar.posts.append((key, body, self.headers["Authorization"]))
                    keys = [post[0] for post in liar.posts]
                number = keys.index(key)
                self.reply("POST", keys.count(key), (201, {"ETag": '"2"', "Location": "/v1/orders/o-%d" % number},
                                                     {"order_id": "o-%d" % number, "outcome": "committed"}))

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def a_service_that_breaks_a_promise_is_caught(p):
    def other_body(method, nth, answer):
        return (answer[0], answer[1], dict(answer[2], more=1)) if (method, nth) == ("POST", 2) else answer

    def other_tag(method, nth, answer):
        return (answer[0], dict(answer[1], ETag='"3"'), answer[2]) if (method, nth) == ("POST", 2) else answer

    def refused(method, nth, answer):
        return (422, {}, {"detail": "no"}) if (method, nth) == ("POST", 2) else answer

    def no_outcome(method, nth, answer):
        return (answer[0], answer[1], {}) if method == "POST" else answer

    def older(method, nth, answer):
        return (200, {"ETag": '"1"'}, answer[2]) if method == "GET" else answer

    def gone(method, nth, answer):
        return (404, {}, {}) if method == "GET" else answer

    def cancelled(method, nth, answer):
        return (200, answer[1], dict(answer[2], state="CANCELLED")) if method == "GET" else answer

    def another(method, nth, answer):
        return (200, answer[1], dict(answer[2], total_cents=2)) if method == "GET" else answer

    for lie, part, *more in ((other_body, "two answers: 201 and 201"), (other_tag, "two answers: 201 and 201"),
                             (refused, "two answers: 201 and 422 no"), (no_outcome, "without its outcome"),
                             (older, 'version 2 was seen, and now "1"'), (gone, "is not there: 404"),
                             (cancelled, "was answered as committed, and is CANCELLED"), (another, "is not the order that was sent"),
                             (lambda method, nth, answer: answer, "could not be paid or delivered", "--abort-ratio", "1")):
        told, err = load(p, *address(Liar(lie)), "-n", "4", "--duplicate-ratio", "1", *more, wanted=1)
        check(told["violations"] > 0 and part in err and any(part in fault for fault in told["orders"]["faults"]),
              "%s: %r %s" % (part, told, err))


def an_order_is_sent_again_until_it_is_answered(p):
    answers = [(503, {"Retry-After": "1"}, {}), None, (409, {"Location": "/v1/transactions/x", "Retry-After": "1"}, {}), (500, {}, {})]

    def trouble(method, nth, answer):
        return answers[nth - 1] if method == "POST" and nth <= len(answers) else answer

    token = os.path.join(p.folder, "token")
    with open(token, "w") as file:
        file.write("0123456789abcdef\n")
    status, out, err = p.run("assent-load", *address(Liar()), "--token-file", token)
    check(status == 2 and "chmod 600" in err, "a token that others can read: " + err)
    os.chmod(token, 0o600)
    liar = Liar(trouble)
    told, err = load(p, *address(liar), "-n", "3", "--token-file", token, "--run-id", "again", "--assert", "p50>2s")
    equal((told["committed"], told["orders"]["read_back"], told["violations"]), (3, 3, 0), str(told))
    # libcurl itself sends once more what a kept connection has swallowed.
    check(9 <= told["orders"]["retries"] <= 12, str(told))
    equal({post[0] for post in liar.posts}, {"again-1", "again-2", "again-3"}, "keys")
    equal((len(liar.posts), len({post[:2] for post in liar.posts})), (15, 3), "the same body with the same key")
    equal({post[2] for post in liar.posts}, {"Bearer 0123456789abcdef"}, "the token")
    # What nobody answers in time is in doubt, and what is wrong is not sent again.
    told, err = load(p, *address(Liar(lambda method, *_: None if method == "POST" else (200, {}, {}))), "-n", "3", "--timeout", "1s",
                     wanted=4)
    equal((told["unknown"], told["in_doubt"], told["violations"]), (3, 3, 0), str(told))
    told, err = load(p, *address(Liar(lambda method, *_: (422, {}, {"detail": "no"}) if method == "POST" else (200, {}, {}))), "-n", "3",
                     wanted=6)
    equal((told["rejected"], told["first_rejection"], told["orders"]["retries"]), (3, "422 no", 0), str(told))
    status, out, err = p.run("assent-load", *address(Liar(lambda *_: (401, {}, {}))))
    check(status == 2 and "--token-file" in err, err)


def what_cannot_be_is_refused_before_anything_is_begun(p):
    nowhere = os.path.join(p.folder, "nowhere.db")
    for status, part, *arguments in (
            (2, "no whole number from 1 to 10000000", "--count", "0"),
            (2, "did you mean --rate", "--ratt", "5"),
            (2, "needs --rate", "--arrivals", "poisson"),
            (2, "the limit needs a unit", "--assert", "p99<5"),
            (2, "tx_per_s seconds p50_ms", "--assert", "p98<5ms"),
            (2, "more than 32", *["--assert", "count>0"] * 33),
            (2, "known only to the audit", "--assert", "violations==0"),
            (2, "known only with --rate", "--assert", "lag_max<1s"),
            (2, "--url is missing: --mode order needs it", "--mode", "order"),
            (2, "is neither raw nor order", "--mode", "http"),
            (2, "needs --mode order", "--url", "http://127.0.0.1:1"),
            (2, "is for --mode order", "--run-id", "x"),
            (2, "is for --mode raw", "--mode", "order", "--url", "http://127.0.0.1:1", "--services", "payment"),
            (5, "is the service up", "--mode", "order", "--url", "http://127.0.0.1:1"),
            (2, "nowhere.db: No such file", "--payment", nowhere),
            (2, "nowhere.db: No such file", nowhere),
            (2, "is no NAME", "--services", "payment,Inventory"),
            (2, "--save", "--save", os.path.join(nowhere, "x")),
            (2, "--csv", "--csv", os.path.join(nowhere, "x"))):
        got, out, err = p.run("assent-load", *arguments)
        check(got == status and part in err and out == "", "%r: %d %s%s" % (arguments, got, out, err))
    for status, part, *arguments in (
            (2, "Give -o FILE.svg", "x.json"),
            (2, "no result given", "-o", "x.svg"),
            (2, "x.json", "x.json", "-o", "x.svg"),
            (0, "Example:", "--help")):
        got, out, err = plot(*arguments)
        check(got == status and part in out + err, "%r: %d %s%s" % (arguments, got, out, err))
    p.up("payment")
    too_large = ("-n", "5", "--payload-size", "300000", "--services", "payment")
    got, out, err = p.run("assent-load", *too_large)
    check(got == 2 and "assent.record_bytes_max" in err and "lower --payload-size" in err, "%d %s%s" % (got, out, err))
    told, err = load(p, "-n", "5", "--services", "nobody:nothing", *["--assert", "count==5"] * 32)
    check(told["aborted"] == 5 and told["first_abort"] and len(told["assertions"]) == 32, "an abort that was not asked for tells why: %r" % told)


main(a_schedule_is_measured_saved_and_drawn, a_seed_gives_the_same_load_again, a_schedule_that_is_not_kept_is_said_to_lag,
     an_interrupted_load_tells_what_it_has, orders_are_placed_measured_and_read_back,
     nothing_is_lost_with_an_order_service_that_is_killed, orders_that_are_late_are_read_until_they_settle,
     a_service_that_breaks_a_promise_is_caught, an_order_is_sent_again_until_it_is_answered,
     what_cannot_be_is_refused_before_anything_is_begun)
