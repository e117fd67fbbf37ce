#!/usr/bin/env python3
"""The order service with read caches in front of it: what a read costs and says, and that no version that anybody has read is
ever followed by an older one, while events come twice, late or not at all and caches and Redis are killed."""
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid

from pipeline import BROKERS, BUILD, ENVIRONMENT, LANES, Process, check, main, until
from pipeline import equal as equal_as

FINGERPRINT = 0x84184EC29F2AB493  # of schemas/order_event.v1.avsc
# What was confirmed 100 ms ago is rare where many read and where an entry soon makes room; what is older than 1 ms is not.
LEVELS = {"strong": "?consistency=strong", "bounded": "?consistency=bounded&bound_ms=100", "tight": "?consistency=bounded&bound_ms=1",
          "cached": "?consistency=cached"}


def equal(got, wanted, what="this"):
    equal_as(got, wanted, what)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Answer:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body
        tag = re.fullmatch(r'"(\d+)"', response.headers.get("ETag", ""))
        self.version = int(tag.group(1)) if tag else None
        self.how = response.headers.get("Cache-Status", "").removeprefix("assent-cache; ")


class Client:
    """One connection, opened again after a failure; a request that got no answer is None."""

    def __init__(self, port, seconds=10):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)

    def ask(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = self.connection.getresponse()
            return Answer(response, response.read())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return None

    def get(self, order, level="strong", **headers):
        return self.ask("GET", "/v1/orders/%s%s" % (order, LEVELS[level]), **headers)


def put_long(value):
    value, out = (value << 1) ^ (value >> 63), bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def put_text(text):
    return put_long(len(text.encode())) + text.encode()


def event_bytes(order):
    """The record that told of this version, out of its representation."""
    items = b"".join(put_text(item["sku"]) + put_long(item["quantity"]) for item in order["items"])
    return (b"\xc3\x01" + FINGERPRINT.to_bytes(8, "little") + put_text(order["order_id"]) + put_long(order["version"])
            + put_text(order["state"]) + uuid.UUID(order["txn_id"]).bytes + put_text(order["customer"])
            + put_long(order["total_cents"]) + put_long(len(order["items"])) + items + put_long(0) + put_text(order["note"])
            + put_long(order["created_ms"]) + put_long(order["updated_ms"]))


class Shop:
    """The pipeline with HTTP in front of its orders."""

    def __init__(self, p):
        self.p, self.source_port = p, free_port()
        p.topics()
        self.events(p)
        p.coordinator()
        self.order_start()
        p.participant("payment")
        p.participant("inventory")
        self.source = Client(self.source_port, 40)

    @staticmethod
    def events(p, prefix=None):
        kept, p.prefix = p.prefix, prefix or p.prefix
        status, out, err = p.ctl("topics", "apply", "--service", "order", "--events", "order.events")
        p.prefix = kept
        equal(status, 0, "assentctl topics apply --events:\n" + out + err)

    def order_start(self):
        self.order = self.p.start("assent-order", "--db", self.p.db("order"), "--listen", "127.0.0.1:%d" % self.source_port,
                                  "--set", "app.wait_ms=30000", name="order")

    def place(self, cents=1, customer="load-001"):
        body = {"customer": customer, "total_cents": cents, "items": [{"sku": "bolt", "quantity": 1}]}
        answer = Client(self.source_port, 40).ask("POST", "/v1/orders", body, Content_Type="application/json",
                                                  Idempotency_Key=uuid.uuid4().hex)
        check(answer and answer.status in (200, 201), "POST: %r" % (answer and (answer.status, answer.body),))
        return json.loads(answer.body)["order_id"]

    def patch(self, order, note, client=None):
        client = client or self.source
        version = client.get(order).version
        return client.ask("PATCH", "/v1/orders/" + order, {"note": note}, Content_Type="application/merge-patch+json",
                          If_Match='"%s"' % version)

    def version(self, order):
        return self.p.query("order", "SELECT version FROM orders WHERE order_id = ?", order)[0][0]

    def told(self):
        """Every version of every order that there was an event of, as its representation."""
        return [row[0] for row in self.p.query("order", "SELECT data FROM order_events ORDER BY seq")]


class Cache:
    def __init__(self, shop, name="cache", prefix=None, source_port=None, **settings):
        self.shop, self.name, self.port, self.admin_port = shop, name, free_port(), free_port()
        self.arguments = ["--db", shop.p.db(name), "--listen", "127.0.0.1:%d" % self.port, "--group", "%s.%s" % (shop.p.prefix, name),
                          "--source", "http://127.0.0.1:%d" % (source_port or shop.source_port),
                          "--set", "assent.admin_listen=127.0.0.1:%d" % self.admin_port]
        if prefix:
            self.arguments += ["--prefix", prefix]
        for key, value in settings.items():
            self.arguments += ["--set", "app.%s=%s" % (key, value)]
        self.start()

    def start(self):
        self.process = self.shop.p.start("assent-cache", *self.arguments, name=self.name, retry_max_ms=300, skew_ms=0)

    def client(self, seconds=10):
        return Client(self.port, seconds)

    def counts(self):
        page = Client(self.admin_port).ask("GET", "/metrics").body.decode()
        return {match.group(1): float(match.group(2))
                for match in re.finditer(r'^assent_cache_\w+_total\{result="(\w+)"\} (\S+)$', page, re.M)}


class Redis:
    def __init__(self, p):
        self.p, self.port = p, free_port()
        self.start()

    def start(self):
        self.process = Process("redis", [shutil.which("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
                                         "--save", "", "--appendonly", "no", "--dir", self.p.folder], self.p.folder)
        self.p.processes.append(self.process)
        until("redis answers", self.answers)

    def tell(self, command):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.sendall(command + b"\r\n")
                return s.recv(100)
        except OSError:
            return b""

    def answers(self):
        return self.tell(b"PING").startswith(b"+PONG")


# ---- one read after the other ----

def a_read_says_what_it_is_made_of(p):
    shop = Shop(p)
    cache = Cache(shop)
    order, client = shop.place(), cache.client()
    until("the event of version 2 is there", lambda: client.get(order, "cached").version == 2)
    direct = shop.source.get(order)
    seen = {}
    for level in ("cached", "bounded", "strong", "cached"):
        answer = client.get(order, level)
        equal((answer.status, answer.body, answer.version), (200, direct.body, direct.version), level)
        seen[level] = answer
    equal(seen["cached"].how, "hit", "after a strong read the entry is trusted")
    equal(seen["strong"].how, "fwd=request; fwd-status=304", "a strong read compares")
    equal(seen["strong"].headers["Assent-Cache-Version"], "2", "the cache's")
    equal(seen["strong"].headers["Assent-Source-Version"], "2", "and the source's")
    for level in LEVELS:
        equal(client.get(order, level, If_None_Match='"2"').status, 304, level)

    equal(shop.patch(order, "ring twice").status, 200)
    answer = client.get(order)
    equal((answer.version, json.loads(answer.body)["note"]), (3, "ring twice"), "strong is strong")
    until("the event refreshes the entry unasked", lambda: client.get(order, "cached", If_None_Match='"2"').version == 3)
    for version in (4, 5):  # nothing but an event brings these into the cache
        shop.patch(order, "ring %d times" % version)
        until("and again", lambda: client.get(order, "cached").version == version)
    equal(client.get(order, "cached").how, "hit")
    equal(client.get(order, "cached").body, shop.source.get(order).body, "what an event made is the source's, to the byte")

    equal(client.get("nobody").status, 404)
    equal(client.get("nobody").body, shop.source.get("nobody").body, "as the source says it")
    counts = cache.counts()
    check(counts["hit"] > 3 and counts["confirmed"] > 1 and counts["not_found"] == 2 and counts["set"] > 1, counts)
    equal(Client(cache.admin_port).ask("GET", "/readyz").status, 200)
    equal(cache.process.stop(), 0)


def what_was_deleted_stays_deleted(p):
    shop = Shop(p)
    cache = Cache(shop)
    client, order = cache.client(), shop.place(cents=10**9, customer="bob")
    equal(json.loads(client.get(order).body)["state"], "CANCELLED", "bob cannot pay that")
    version = client.get(order).version
    answer = shop.source.ask("DELETE", "/v1/orders/" + order, If_Match='"%d"' % version)
    check(answer.status in (200, 204), (answer.status, answer.body))
    equal(client.get(order).status, 410)
    equal(client.get(order, "cached").status, 410, "and no cached read shows it any more")
    lane = 0
    for body in shop.told():
        p.send_event(lane, body)
        lane += 1
    until("the old events have been seen", lambda: sum(cache.counts().get(k, 0) for k in ("older", "absent")) >= 2)
    equal(client.get(order, "cached").status, 410)


def without_the_source(p):
    shop = Shop(p)
    cache = Cache(shop, source_timeout_ms=1000)
    client, order, never = cache.client(), shop.place(), shop.place()
    equal(client.get(order).status, 200)
    waiters = [cache.client(30) for _ in range(12)]
    shop.order.signal(signal.SIGSTOP)
    answers = []
    threads = [threading.Thread(target=lambda c=c: answers.append(c.get(order))) for c in waiters]
    for thread in threads:
        thread.start()
    for _ in range(20):
        answer = client.get(order, "cached", If_None_Match='"2"')
        equal((answer.status, answer.how), (304, "hit"), "no cached read waits behind strong ones")
    for thread in threads:
        thread.join()
    equal({answer.status for answer in answers}, {503}, "a strong read ends when it cannot be had")
    check(all(int(answer.headers["Retry-After"]) >= 1 for answer in answers), "and says when to come again")
    shop.order.signal(signal.SIGCONT)
    shop.order.kill()
    equal(client.get(order).status, 503)
    answer = client.ask("GET", "/v1/orders/%s?consistency=bounded&bound_ms=600000" % order)
    equal((answer.status, answer.how), (200, "hit"))
    shop.order_start()
    until("strong reads are back", lambda: client.get(order).status == 200)
    equal(client.get(never, "bounded").status, 200)


def what_was_read_binds_whoever_reads_later(p):
    """An entry is lost after its newest version was read, in each way there is; then an event of the first version comes late."""
    shop, redis = Shop(p), Redis(p)
    address = "127.0.0.1:%d" % redis.port
    caches = [Cache(shop, "one"), Cache(shop, "two", entries_max=1), Cache(shop, "three", redis=address)]
    order, other = shop.place(), shop.place()
    shop.patch(order, "the newest")
    first = next(body for body in shop.told() if json.loads(body)["order_id"] == order)

    def handled(cache):
        return sum(cache.counts().get(k, 0) for k in ("set", "older", "absent"))

    def killed(cache):
        cache.process.kill()
        p.send_event(1, first)
        cache.start()
        until("it has read that", lambda: handled(cache) > 0)

    def pushed_out(cache):
        cache.client().get(other)

    def emptied(_cache):
        equal(redis.tell(b"FLUSHALL"), b"+OK\r\n")

    def restarted(_cache):
        redis.process.kill()
        redis.start()

    for cache, lost in zip([*caches, caches[2]], (killed, pushed_out, emptied, restarted)):
        until("it has all", lambda: handled(cache) >= len(shop.told()) or lost is restarted)
        equal(cache.client().get(order).version, 3)
        lost(cache)
        before = handled(cache)
        p.send_event(0, first)
        until("the late event is there", lambda: handled(cache) > before)
        equal(cache.client().get(order, "cached").version, 3, lost.__name__)


# ---- many at a time ----

class Book:
    """What readers of one cache have been told."""

    def __init__(self):
        self.lock, self.seen, self.bodies, self.faults = threading.Lock(), {}, {}, []
        self.reads = {level: 0 for level in LEVELS}
        self.hows = {}

    def least(self, order):
        with self.lock:
            return self.seen.get(order, 0)

    def note(self, order, level, least, answer):
        with self.lock:
            self.reads[level] += 1
            how = answer.how.split(";")[0]
            self.hows[how] = self.hows.get(how, 0) + 1
            if answer.version < least:
                self.faults.append("%s %s: version %d after %d (%s)" % (order, level, answer.version, least, answer.how))
            self.seen[order] = max(answer.version, self.seen.get(order, 0))
            if answer.status == 200 and self.bodies.setdefault((order, answer.version), answer.body) != answer.body:
                self.faults.append("%s version %d has two bodies" % (order, answer.version))


class Storm:
    def __init__(self, shop, caches, seed=7):
        self.shop, self.p, self.stopping, self.failed = shop, shop.p, threading.Event(), []
        self.books = [(cache, Book()) for cache in caches]
        self.orders = [shop.place() for _ in range(4)]
        self.random, self.threads = random.Random(seed), []
        self.run(self.write)
        for cache, book in self.books:
            for _ in range(3):
                self.run(self.read, cache, book)

    def run(self, function, *arguments):
        def guarded(rng):
            try:
                while not self.stopping.is_set():
                    function(rng, *arguments)
            except Exception as error:
                self.failed.append("%s: %r" % (function.__name__, error))
        thread = threading.Thread(target=guarded, args=(random.Random(self.random.random()),), daemon=True)
        self.threads.append(thread)
        thread.start()

    def write(self, rng):
        self.shop.patch(rng.choice(self.orders), "%030x" % rng.getrandbits(100), Client(self.shop.source_port))
        if rng.random() < 0.03:
            self.orders.append(self.shop.place())
        time.sleep(rng.random() * 0.03)

    def read(self, rng, cache, book):
        order, level, known = rng.choice(self.orders), rng.choice(sorted(LEVELS)), {}
        client = getattr(threading.current_thread(), "client", None) or cache.client()
        threading.current_thread().client = client
        least = book.least(order)
        if rng.random() < 0.5 and least:
            known = {"If_None_Match": '"%d"' % least}
        before = self.shop.version(order) if level == "strong" else 0
        answer = client.get(order, level, **known)
        if not answer or answer.status == 503:  # its cache is being killed
            time.sleep(0.02)
            return
        check(answer.status in (200, 304), "%s: %d %s" % (level, answer.status, answer.body))
        if level == "strong":
            check(before <= answer.version <= self.shop.version(order), "strong: %d, not %d or newer" % (answer.version, before))
        book.note(order, level, least, answer)

    def late(self, rng):
        """Any event of the past comes again, under its own id or a new one, in a lane of its own choice."""
        self.p.send_event(rng.randrange(LANES), rng.choice(self.shop.told()[-40:]), rng.random() < 0.5)

    def lossy(self, rng, prefix):
        """Tells another prefix of what happens, but not of all, and not in its order."""
        told = self.shop.told()
        time.sleep(0.1)
        fresh = [body for body in self.shop.told()[len(told):] if rng.random() < 0.6]
        rng.shuffle(fresh)
        for body in fresh:
            self.p.send_event(rng.randrange(LANES), body, prefix=prefix)

    def end(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
        equal(self.failed, [], "every thread went on to the end")
        told = {(event["order_id"], event["version"]): body for body in self.shop.told() for event in [json.loads(body)]}
        for cache, book in self.books:
            equal(book.faults[:5], [], "%s never goes back, nor has two bodies of a version" % cache.name)
            for key, body in book.bodies.items():
                equal(body.decode(), told[key], "%s at version %d" % key)
            check(min(book.reads.values()) > 20 and book.hows.get("hit", 0) > 20 and book.hows.get("fwd=stale", 0) > 0,
                  "there was something to see: %s %s" % (book.reads, book.hows))
            client = cache.client()
            for order in self.orders:
                equal(client.get(order).version, self.shop.version(order), "at last, strong: " + order)
                equal(client.get(order, "cached").version, self.shop.version(order), "at last, cached: " + order)


def event_sender(p):
    def send(lane, body, anew=True, prefix=None):
        order = json.loads(body)
        name = uuid.uuid4().hex if anew else "%s-%d" % (order["order_id"], order["version"])
        done = subprocess.run(
            [os.path.join(BUILD, "tests", "rawsend"), "-b", BROKERS, "-t", "%s.order.events" % (prefix or p.prefix), "-p",
             str(lane % LANES), "-k", order["order_id"], "-H", "ce_id=" + name], input=event_bytes(order), capture_output=True,
            timeout=60, env=ENVIRONMENT)
        equal(done.returncode, 0, "rawsend: " + done.stderr.decode())
    return send


def killed_now_and_then(what, times, pause):
    for _ in range(times):
        time.sleep(pause)
        what.process.kill()
        what.start()


def nobody_ever_reads_an_older_version(p):
    shop = Shop(p)
    Shop.events(p, p.prefix + ".lossy")
    caches = [Cache(shop, "cache"), Cache(shop, "small", entries_max=2), Cache(shop, "lossy", prefix=p.prefix + ".lossy")]
    storm = Storm(shop, caches)
    storm.run(storm.late)
    storm.run(storm.lossy, p.prefix + ".lossy")
    killed_now_and_then(caches[0], 3, 2)
    until("each kind of event was met", lambda: caches[0].counts()["set"] > 0 and caches[0].counts()["older"] > 0)
    storm.end()
    order = storm.orders[0]
    shop.patch(order, "the last word")
    until("the cache hears of it by itself", lambda: caches[0].client().get(order, "cached").version == shop.version(order))


def nor_when_redis_and_caches_are_killed(p):
    shop, redis = Shop(p), Redis(p)
    caches = [Cache(shop, "one", redis="127.0.0.1:%d" % redis.port)]
    storm = Storm(shop, caches, seed=8)
    storm.run(storm.late)
    killed_now_and_then(redis, 3, 2)
    killed_now_and_then(caches[0], 2, 2)
    killed_now_and_then(redis, 1, 2)
    storm.end()
    client = caches[0].client()
    until("it is told", lambda: client.get(storm.orders[0], "cached").status == 200
          and caches[0].process.said("backend away.*\n(.*\n)*.*backend is back"))
    redis.process.kill()
    for level in LEVELS:
        equal(client.get(storm.orders[0], level).status, 200, "without Redis the source answers, " + level)


def with_sender(test):
    def run(p):
        p.send_event = event_sender(p)
        test(p)
    run.__name__ = test.__name__
    return run


main(*[with_sender(test) for test in (a_read_says_what_it_is_made_of, what_was_deleted_stays_deleted, without_the_source,
                                      what_was_read_binds_whoever_reads_later, nobody_ever_reads_an_older_version,
                                      nor_when_redis_and_caches_are_killed)])
