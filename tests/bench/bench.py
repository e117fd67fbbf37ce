#!/usr/bin/env python3
"""`make bench`: what commits cost, on a real Kafka, beside a relay that only moves the same records.

  QUICK=1            a smoke test: every part once and briefly
  ONLY=NAME,NAME     these parts alone; ONLY=list tells which there are
  ROUNDS=5           what is compared takes turns so often; medians are told, and between what the rounds lay
  SECONDS=2          length of one measurement
  RATE=1000          transactions a second while something is killed
  RECORDS=1000000    records that a coordinator replays
  ROWS=10000000      rows in the largest dedup log, which need 2 GB of disk
  LIVE=1000000       transactions in flight whose memory is measured, and the throughput beside them

Everything is on the disk that build/ is on. Results: build/bench/results.md, results.json and pictures. Identical runs differ
by 40 % between minutes, so only ratios of what ran side by side say something. Exit status 0 if every part has its figures."""
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback

import picture
from figures import CPU, busy, compared, machine, median, plain, ratios, spread, table
from stage import LANES, ROOT, Broken, Kafka, Process, World, run, until

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
OUT = os.path.join(ROOT, "build", "bench")
SERVICES = ("payment", "inventory")
BEST = "relay, linger.ms=5, 8000 in flight"  # where it is at its best: fuller requests serve it even more than assent
WARM = 100000
LEVELS = (16, 64, 256, 1000, 2000, 4000, 8000)
SESSION_S = 6  # session.timeout.ms is left as it is


def option(name, usual, quick):
    text = os.environ.get(name) or str(quick if QUICK else usual)
    if not text.isdigit() or int(text) < 1:
        sys.exit("bench: %s=%s: a whole number above 0 is needed" % (name, text))
    return int(text)


class Bench:
    def __init__(self, folder):
        self.folder, self.the_kafka, self.stack = folder, None, contextlib.ExitStack()
        self.rounds, self.ms = option("ROUNDS", 5, 1), option("SECONDS", 2, 1) * 1000
        self.rate, self.records = option("RATE", 1000, 1000), option("RECORDS", 1000000, 100000)
        self.rows, self.live = option("ROWS", 10000000, 100000), option("LIVE", 1000000, 20000)
        self.kills = (self.rounds + 1) // 2
        self.saturation = None  # transactions a second, once known
        self.saved, self.happened = [], []  # for the pictures

    @staticmethod
    def say(*words):
        print(*words, file=sys.stderr, flush=True)

    def start_kafka(self, name, nodes=1, count=WARM):
        kafka = Kafka(os.path.join(self.folder, name), nodes)
        self.stack.callback(kafka.stop)
        kafka.start("--nodes", str(nodes), "--set", "log.segment.delete.delay.ms=1000")
        with self.world(kafka, name + "-warm", SERVICES) as world:
            told = world.relay("--in-flight", 200, "--count", count)  # requests are what the JVM is to know
        self.say("   %s: %d node(s), warmed with %d transactions" % (name, nodes, told["played"]))
        return kafka

    @property
    def kafka(self):
        if not self.the_kafka:
            self.the_kafka = self.start_kafka("kafka")
        return self.the_kafka

    @contextlib.contextmanager
    def world(self, kafka, name, services, **more):
        world = World(kafka, self.folder, name, services, **more)
        try:
            yield world
        except BaseException:
            shutil.copytree(world.folder, os.path.join(OUT, "failed-" + name), dirs_exist_ok=True,
                            ignore=lambda _, names: [one for one in names if not one.endswith((".log", ".properties", ".json"))])
            raise
        finally:
            world.close()
        world.remove()

    def compare(self, variants):
        """[(name, function that measures)]: they take turns; who goes first alternates. Figures of all rounds, by name."""
        rounds = {name: [] for name, _ in variants}
        for number in range(self.rounds):
            for name, measure in variants if number % 2 == 0 else variants[::-1]:
                rounds[name].append(measure())
            self.say("   round %d of %d: %s" % (number + 1, self.rounds, "; ".join(
                "%s %s tx/s" % (name, plain(told[-1]["tx_per_s"])) for name, told in rounds.items())))
        return rounds

    def save(self, name):
        """Words that make assent-load keep its histogram for the picture: the first round's."""
        path = os.path.join(OUT, name + ".json")
        if path in self.saved:
            return ()
        self.saved.append(path)
        return "--save", path


# ---- the parts: the first line of each says what it does ----

def latency(bench):
    """unloaded: begin to outcome with one transaction in flight, and the relay with linger.ms=0"""
    with bench.world(bench.kafka, "latency", SERVICES) as world:
        world.up()
        rounds = bench.compare([
            ("relay", lambda: world.relay("--in-flight", 1, "--ms", bench.ms, linger_ms=0)),
            ("assent", lambda: world.load(bench.ms, "--in-flight", 1, *bench.save("one-in-flight")))])
        world.audit()
    return compared(rounds, {"assent": "relay"}), rounds


def of_the_best(rounds, names):
    return table(("", "of the throughput of the %s" % BEST),
                 [(name, spread(ratios(rounds[name], rounds[BEST], "tx_per_s"))) for name in names])


def throughput(bench):
    """saturation: a closed loop with 1000 transactions in flight, and where it peaks; the relay with as many, and at its best"""
    with bench.world(bench.kafka, "throughput", SERVICES) as world:
        world.up()

        def relay(level, linger_ms=1):
            return world.relay("--in-flight", level, "--ms", bench.ms, linger_ms=linger_ms)

        def assent(level, *more):
            return world.load(bench.ms, "--in-flight", level, *more)
        curves = {"relay": {level: relay(level)["tx_per_s"] for level in LEVELS},
                  "relay, linger.ms=5": {level: relay(level, 5)["tx_per_s"] for level in LEVELS},
                  "assent": {level: assent(level)["tx_per_s"] for level in LEVELS}}
        levels, variants, relays = sorted({1000, max(curves["assent"], key=curves["assent"].get)}), [], {}
        for level in levels:
            names = ["%s, %d in flight" % (name, level) for name in ("relay", "assent")]
            relays[names[1]] = names[0]
            variants += [(names[0], lambda level=level: relay(level)),
                         (names[1], lambda level=level: assent(level, *bench.save("%d-in-flight" % level)))]
        rounds = bench.compare(variants + [(BEST, lambda: relay(8000, 5))])
        world.audit()
    bench.saturation = max(median([told["tx_per_s"] for told in rounds[name]]) for name in relays)
    found = "\n".join("- %s: %s" % (name, "; ".join("%d: %s" % (level, plain(rate)) for level, rate in curve.items()))
                      for name, curve in curves.items())
    return ("%s\n\n%s\n\nTo find the peaks, one run each, in flight: tx/s:\n\n%s" % (
        compared(rounds, relays), of_the_best(rounds, relays), found), {"curves": curves, "rounds": rounds})


def rate(bench):
    """open model: half of the saturation, begun on a schedule that waits for nobody"""
    with bench.world(bench.kafka, "rate", SERVICES) as world:
        world.up()
        if not bench.saturation:
            bench.saturation = world.load(bench.ms, "--in-flight", 1000)["tx_per_s"]
        half = int(bench.saturation / 2)
        rounds = bench.compare([
            ("relay, %d/s" % half, lambda: world.relay("--rate", half, "--ms", 2 * bench.ms)),
            ("assent, %d/s" % half, lambda: world.load(2 * bench.ms, "--rate", half, *bench.save("half-of-saturation")))])
        world.audit()
    late = max(told["lag_max_ms"] for told in rounds["assent, %d/s" % half])
    return ("%s\n\nThe load generator was at most %s ms behind its schedule." % (
        compared(rounds, {"assent, %d/s" % half: "relay, %d/s" % half}), plain(late)), rounds)


def protocols(bench):
    """2PC against 3PC, each with one and with 1000 transactions in flight"""
    with bench.world(bench.kafka, "protocols", SERVICES) as world:
        world.up()
        variants, relays = [], {}
        for level, linger_ms in ((1, 0), (1000, 1)):
            for protocol in ("2pc", "3pc"):
                words = ("--in-flight", level, "--protocol", protocol)
                relay, assent = ("%s, %s, %d in flight" % (name, protocol.upper(), level) for name in ("relay", "assent"))
                relays[assent] = relay
                variants += [
                    (relay, lambda words=words, linger_ms=linger_ms: world.relay(*words, "--ms", bench.ms, linger_ms=linger_ms)),
                    (assent, lambda words=words: world.load(bench.ms, *words))]
        rounds = bench.compare(variants)
        world.audit()
    share = [(level, spread(ratios(*(rounds["assent, %s, %d in flight" % (name, level)] for name in ("3PC", "2PC")), "tx_per_s")))
             for level in (1, 1000)]
    return "%s\n\n%s" % (compared(rounds, relays), table(("in flight", "3PC: of 2PC's throughput"), share)), rounds


def participants(bench):
    """2, 4 and 8 participants that do nothing, each with a process and a database of its own, 1000 in flight"""
    services = ["p%d" % number for number in range(1, 9)]
    with bench.world(bench.kafka, "participants", services) as world:
        world.up()
        variants, relays = [], {}
        for count in (2, 4, 8):
            some = services[:count]
            relay, assent = "relay, %d" % count, "assent, %d" % count
            relays[assent] = relay
            variants += [
                (relay, lambda some=some: world.relay("--in-flight", 1000, "--ms", bench.ms, services=some)),
                (assent, lambda some=some: world.load(bench.ms, "--in-flight", 1000, services=some))]
        rounds = bench.compare(variants)
    return compared(rounds, relays), rounds


def costs(bench):
    """what a transaction costs: records, bytes, commits of the participants' databases, each with its fsync, and CPU"""
    services, rows = ["p%d" % number for number in range(1, 9)], []
    with bench.world(bench.kafka, "costs", services) as world:
        world.up()

        def so_far(some):
            for name in ("coordinator", *some):
                world.processes[name].settle()
            participants = [world.processes[name] for name in some]
            return [world.audited, *bench.kafka.held("costs"), sum(process.commits() for process in participants),
                    sum(process.written() for process in participants)]

        for level, counts in ((1, (2,)), (1000, (2, 4, 8))):
            for count in counts:
                for protocol in ("2pc", "3pc"):
                    some = services[:count]
                    before = so_far(some)
                    told = world.load(bench.ms, "--in-flight", level, "--protocol", protocol, services=some)
                    played, *used = (now - then for now, then in zip(so_far(some), before))
                    rows.append(["%s, %d participants, %d in flight" % (protocol.upper(), count, level),
                                 *(one / played for one in used), *(told["cpu_us"][role] for role in CPU)])
    return table(("a transaction", "records", "bytes in the logs", "commits, fsyncs", "bytes to the databases' disk",
                  *("%s µs" % role for role in CPU)), rows), rows


def store(bench):
    """what the store costs: participants that do nothing, with their dedup log on disk, in SQLite without a file, and forgotten"""
    stores = {"on disk": ["d1", "d2"], "SQLite in memory": ["m1", "m2"], "keeps nothing": ["n1", "n2"]}
    with bench.world(bench.kafka, "store", sum(stores.values(), []), memory=stores["SQLite in memory"],
                     forgetful=stores["keeps nothing"]) as world:
        many = ("--in-flight", 4000)  # where those in memory peak
        world.up()
        rounds = bench.compare(
            [(name, lambda words=words, linger_ms=linger_ms: world.relay(
                *words, "--ms", bench.ms, linger_ms=linger_ms, services=stores["keeps nothing"]))
             for name, words, linger_ms in (("relay", many, 1), (BEST, ("--in-flight", 8000), 5))] +
            [(name, lambda some=some: world.load(bench.ms, *many, services=some)) for name, some in stores.items()])
    return ("%s\n\n%s\n\nNo record has headers, neither here nor there; 4000 in flight. Cores at work, of %d:\n\n%s" % (
        compared(rounds, dict.fromkeys(stores, "relay")), of_the_best(rounds, stores), os.cpu_count(),
        busy(rounds)), rounds)


def layouts(bench):
    """layouts of the dedup log: a row each, a blob a batch with an index in memory, a file beside, memory; no Kafka"""
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        text = run([World.program("layouts"), os.path.join(folder, "log"), str(min(bench.rows, 1000000)), str(bench.ms // 2)],
                   900)
    return text, text.splitlines()


def dedup(bench):
    """the dedup log: databases that hold nothing, and up to ROWS young branches, 1000 in flight"""
    sizes = [0] + [rows for rows in (1000000, 10000000) if rows < bench.rows] + [bench.rows]
    with contextlib.ExitStack() as stack:
        worlds = []
        for rows in sizes:
            world = stack.enter_context(bench.world(bench.kafka, "dedup-%d" % rows, SERVICES))
            first, *others = (world.path(name + ".db") for name in SERVICES)
            if rows:
                run([world.program("fill"), first, str(rows)], 900)
                for other in others:
                    shutil.copyfile(first, other)
            worlds.append(world.up())
        names = ["{:,} rows".format(rows) for rows in sizes]
        rounds = bench.compare([("relay", lambda: worlds[0].relay("--in-flight", 1000, "--ms", bench.ms))] + [
            (name, lambda world=world: world.load(bench.ms, "--in-flight", 1000)) for name, world in zip(names, worlds)])
    return "%s\n\n%s" % (compared(rounds, {name: "relay" for name in names}), table(
        ("", "of the throughput with no rows"),
        [(name, spread(ratios(rounds[name], rounds[names[0]], "tx_per_s"))) for name in names[1:]])), rounds


def replay(bench):
    """takeover: a coordinator replays RECORDS records of one lane, all within the window, and proves its state"""
    told = []
    with bench.world(bench.kafka, "replay", ["m1", "m2"], memory=("m1", "m2"), lanes_count=1, window_ms=1200000) as world:
        world.up()
        world.load(3600000, "--in-flight", 2000, "--count", bench.records // 5)
        for number in range(bench.rounds):
            coordinator = world.processes["coordinator"]
            coordinator.settle()
            coordinator.end(signal.SIGTERM)
            coordinator = world.start("coordinator").wait_for("takeover proved", 300)
            proved = coordinator.said("takeover proved")[0]
            resident, state = coordinator.memory()
            told.append({"records": int(proved["replayed"]), "ms": int(proved["ms"]), "resident": resident, "state": state,
                         "records_per_s": int(proved["replayed"]) / max(int(proved["ms"]), 1) * 1000})
            bench.say("   replay %d of %d: %s records/s" % (number + 1, bench.rounds, plain(told[-1]["records_per_s"])))
    return table(("records", "ms", "records/s", "state MB", "resident MB"), [(
        median([one["records"] for one in told]), median([one["ms"] for one in told]),
        spread([one["records_per_s"] for one in told]), median([one["state"] for one in told]) / 1e6,
        median([one["resident"] for one in told]) / 1e6)]), told


def begin_for_nobody(world, count):
    """Leaves so many transactions without votes."""
    process = Process([world.program("assent-load"), "--config", world.path(world.prefix + ".properties"), "--services", "s1,s2",
                       "--timeout", "10m", "--count", str(count), "--in-flight", str(count)], world.path("live.log"))
    world.others.append(process)

    def begun():
        with open(process.log, encoding="utf-8") as file:
            file.seek(process.begin)
            return " %d in flight" % count in file.read()
    until("%d transactions are in flight" % count, begun, 60)
    process.end(signal.SIGTERM)


def memory(bench):
    """memory of the coordinator for each transaction: finished ones within the window, and LIVE ones in flight"""
    settings = {"window_ms": 1300000, "timeout_max_ms": 600000}
    with bench.world(bench.kafka, "memory", ["m1", "m2"], memory=("m1", "m2"), absent=("s1", "s2"), **settings) as world:
        world.up()
        coordinator, finished = world.processes["coordinator"], 2 * min(bench.live, 100000)

        def used():
            coordinator.settle()
            return coordinator.memory()
        world.load(3600000, "--in-flight", 1000, "--count", 5000)
        alone = [world.load(bench.ms, "--in-flight", 1000) for _ in range(bench.rounds)]
        marks = [used()]
        finished = world.load(3600000, "--in-flight", 1000, "--count", finished)
        finished = finished["count"] + finished["warm_up"]
        marks.append(used())
        left = bench.live
        while left:
            part = min(left, 100000)
            begin_for_nobody(world, part)
            left -= part
        marks.append(used())
        beside = [world.load(bench.ms, "--in-flight", 1000) for _ in range(bench.rounds)]
    rows = [(name, count, (after[1] - before[1]) / count, (after[0] - before[0]) / count)
            for name, count, before, after in (("finished, within the window", finished, marks[0], marks[1]),
                                               ("in flight, two branches", bench.live, marks[1], marks[2]))]
    return (table(("transactions", "so many", "bytes of state each", "bytes of resident memory each"), rows) +
            "\n\nResident memory holds what the Kafka client has fetched, too. Throughput with 1000 more in flight, before "
            "and beside them: %s and %s tx/s, %s of it." % (
                *(spread([told["tx_per_s"] for told in some]) for some in (alone, beside)),
                spread(ratios(beside, alone, "tx_per_s"))), {"marks": marks, "rows": rows, "alone": alone, "beside": beside})


# ---- while something fails ----

EVENT_HEAD = ("", "outcomes again after ms", "all in doubt settled after ms", "of that until the lanes are taken",
              "replay ms", "records replayed", "tx/s in the 5 s after", "p50 ms before", "p99 ms of these 5 s", "max ms")


def event(bench, world, name, mark, happen, after_s):
    """A load with a schedule; after 3 s `happen` is called, and returns a function that tells more in the end."""
    before_s, begun = 3, time.time()
    load = world.load_beside("event", "--rate", bench.rate, "--duration", "%ds" % (before_s + 1 + after_s))
    time.sleep(before_s + 1)  # a second to connect
    at = time.time()
    more = happen()
    until("the load ends", lambda: load.popen.poll() is not None, after_s + 60)
    if load.popen.returncode:
        raise Broken("assent-load ended with %d: %s" % (load.popen.returncode, load.log))
    with open(world.path("event.json"), encoding="utf-8") as file:
        told = json.load(file)
    world.judge(told)
    world.audited += told["count"]
    outcomes = world.outcomes(begun)
    times = [end for _, end in outcomes]
    later = [at] + [end for end in times if end > at]
    # The outage is the longest silence that begins within a second: records of the dead may still arrive for a moment.
    # Whatever was begun before its end was in doubt.
    silence, again = max((end - begin, end) for begin, end in zip(later, later[1:]) if begin < at + 1)
    hit = sorted((end - birth) * 1000 for birth, end in outcomes if end > at and birth < at + 5)
    if told["lag_max_ms"] > 100:
        raise Broken("the load generator was %s ms behind its schedule" % plain(told["lag_max_ms"]))
    figures = {"again_ms": (again - at) * 1000, "silence_ms": silence * 1000,
               "settled_ms": (max(end for birth, end in outcomes if birth < again) - at) * 1000,
               "tx_per_s_after": sum(1 for end in later[1:] if end < at + 5) / 5,
               "p50_before_ms": median([end - birth for birth, end in outcomes if end < at]) * 1000,
               "p99_ms": hit[len(hit) * 99 // 100], "max_ms": hit[-1], "count": told["count"], **more(at)}
    if name not in [title for title, _, _ in bench.happened]:
        bench.happened.append((name, mark, picture.timeline(times, at)))
    bench.say("   %s: outcomes again after %s ms, settled after %s ms" % (name, plain(figures["again_ms"]),
                                                                       plain(figures["settled_ms"])))
    return figures


def event_rows(events):
    keys = ("again_ms", "settled_ms", "taken_ms", "replay_ms", "replayed", "tx_per_s_after", "p50_before_ms", "p99_ms",
            "max_ms")
    return table(EVENT_HEAD, [[name, *(spread([one[key] for one in told]) if key in ("again_ms", "settled_ms") else
                                       median([one.get(key) for one in told]) for key in keys)]
                              for name, told in events.items()])


def killer(world, name):
    def happen():
        world.processes[name].end()
        process = world.start(name)

        def more(at):
            if name != "coordinator":
                return {"taken_ms": (process.wait_for("ready", 60).said("ready")[0]["ts"] - at) * 1000}
            lanes = world.lanes_taken(name)
            return {"taken_ms": (lanes["taken"] - at) * 1000, "replay_ms": (lanes["proved"] - lanes["taken"]) * 1000,
                    "replayed": lanes["replayed"]}
        return more
    return happen


def standby_killer(world):
    happen_alone = killer(world, "coordinator")

    def happen():
        more_alone = happen_alone()

        def more(at):
            more_alone(at)
            acting = [line["ts"] for line in world.processes["standby"].said("the owner stands still: acting for it")]
            acting = [ts for ts in acting if ts >= at]
            if not acting:
                raise Broken("the standby never acted")
            return {"taken_ms": (max(acting[:LANES]) - at) * 1000}
        return more
    return happen


def kills(bench):
    """SIGKILL at RATE: a coordinator without and with a warm standby, and a participant; each is started again at once"""
    events = {}
    with bench.world(bench.kafka, "kills", SERVICES) as world:
        world.up()
        world.load(bench.ms, "--rate", bench.rate)

        def repeat(name, mark, happen, after_s):
            events[name] = [event(bench, world, name, mark, happen, after_s) for _ in range(bench.kills)]
        repeat("participant killed", "SIGKILL of payment", killer(world, "payment"), 6)
        repeat("coordinator killed, no standby", "SIGKILL of the coordinator", killer(world, "coordinator"), SESSION_S + 5)
        for takeover_ms in (500,) if QUICK else (300, 500):
            standby = world.start("standby", "--set", "assent.standby=true", "--set", "assent.takeover_ms=%d" % takeover_ms)
            standby.wait_for("ready", 60)
            world.lanes_taken("standby")
            repeat("coordinator killed, takeover_ms=%d" % takeover_ms, "SIGKILL of the coordinator", standby_killer(world),
                   SESSION_S + 3)
            world.processes.pop("standby").end(signal.SIGTERM)
        world.audit()
    return (event_rows(events) + "\n\nSession timeout %d s. \"Until the lanes are taken\": session timeout and rejoin; with a "
            "standby until it acts; of a participant until it is ready. p99 and max are of what was in flight then or begun in the 5 s "
            "after." % SESSION_S,
            events)


def leaders(bench):
    """three brokers, RF 3, at RATE: all leaders of the prefix move; the broker that leads them all is killed"""
    events = {"all leaders moved": [], "leading broker killed": []}
    kafka = bench.start_kafka("three", 3, WARM // 5 if QUICK else WARM)
    with bench.world(kafka, "leaders", SERVICES) as world:
        kafka.lead("leaders", 1)
        world.up()
        world.load(bench.ms, "--rate", bench.rate)

        def move():
            kafka.lead("leaders", 2)
            return lambda at: {}

        def kill():
            os.kill(kafka.pid(2), signal.SIGKILL)
            return lambda at: {}
        for number in range(bench.kills):
            if number:
                kafka.start("--node", "2")
                time.sleep(8)  # until its replicas are in sync again
                kafka.lead("leaders", 1)
            for (name, told), mark, happen in zip(events.items(), ("leaders move", "SIGKILL of the broker"), (move, kill)):
                told.append(event(bench, world, name, mark, happen, 10))
        world.audit()
    kafka.stop()
    return event_rows(events), events


def placed(address, count):
    """So many orders, confirmed; their paths."""
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=40)
    paths = []
    for number in range(count):
        connection.request("POST", "/v1/orders", json.dumps({
            "customer": "load-%03d" % (number % 1000), "items": [{"sku": "bolt", "quantity": 1}], "total_cents": 1}),
            {"Content-Type": "application/json", "Idempotency-Key": "bench-%d" % number, "Prefer": "wait=30"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 201:
            raise Broken("an order was answered %d: %s" % (answer.status, body[:300]))
        paths.append(answer.headers["Location"])
    return paths


def reads(bench):
    """conditional GETs of orders at 10,000 a second, answered 304 by the cache and by the order service"""
    with bench.world(bench.kafka, "reads", SERVICES, absent=("order",)) as world:
        world.up()
        order = world.listen("order", "assent-order")
        cache = world.listen("cache", "assent-cache", "--source", "http://" + order)
        paths = placed(order, 20 if QUICK else 200)
        rounds = {}
        for number in range(bench.rounds):
            for name, address, query in (("cache, cached", cache, "?consistency=cached"), ("order service", order, "")):
                lines = "".join('%s%s "2"\n' % (path, query) for path in paths)
                said = run([world.program("http_get"), "-a", address, "-r", "10000", "-d", str(bench.ms // 1000), "-w", "1"],
                           given=lines)
                rounds.setdefault(name, []).append({key: float(value) for key, value in re.findall(r"(\w+)=(\d+)", said)})
            bench.say("   round %d of %d" % (number + 1, bench.rounds))
    if any(told["3xx"] == 0 or told["2xx"] or told["other"] or told["missing"] for some in rounds.values() for told in some):
        raise Broken("not all were answered 304: %r" % rounds)
    return table(("", "asked a second", "answered a second", "p50 µs", "p99 µs", "p99.9 µs"), [
        [name, told[0]["rate"], *(spread([one[key] for one in told]) for key in ("answered", "p50", "p99", "p999"))]
        for name, told in rounds.items()]), rounds


PARTS = (latency, throughput, rate, protocols, participants, costs, store, layouts, dedup, replay, memory, kills, leaders, reads)


# ---- the whole ----

def wanted():
    names = [name for name in os.environ.get("ONLY", "").replace(",", " ").split() if name]
    unknown = [name for name in names if name not in [part.__name__ for part in PARTS]]
    if unknown:
        for part in PARTS:
            print("%-13s %s" % (part.__name__, part.__doc__))
        sys.exit(0 if unknown == ["list"] else 2)
    return [part for part in PARTS if not names or part.__name__ in names]


def pictures(bench):
    links = []
    bench.saved = [path for path in bench.saved if os.path.exists(path)]
    if bench.saved:
        # By name alone, for that is what stands in the picture.
        here = os.getcwd()
        os.chdir(OUT)
        run([World.program("assent-load"), "plot", *map(os.path.basename, bench.saved), "-o", "latency.svg"])
        os.chdir(here)
        links.append("![latency](latency.svg)")
    if bench.happened:
        picture.draw(os.path.join(OUT, "events.svg"), "Outcomes a second, while %d transactions a second are begun" % bench.rate,
                     bench.happened, 3 * bench.rate)
        links.append("![throughput while something fails](events.svg)")
    return links


def measure(bench, part):
    name, begun = part.__name__, time.monotonic()
    told = {"what": part.__doc__, "failed": None, "data": None, "text": ""}
    bench.say("%s: %s" % (name, part.__doc__))
    try:
        told["text"], told["data"] = part(bench)
    except Exception as caught:
        told["failed"] = told["text"] = "FAILED: %s" % caught
        if not isinstance(caught, Broken):
            traceback.print_exc()
    told["seconds"] = round(time.monotonic() - begun, 1)
    told["text"] = "### %s\n\n%s.\n\n%s\n" % (name, part.__doc__[0].upper() + part.__doc__[1:], told["text"])
    print(told["text"], flush=True)
    bench.say("   %s: %.0f s%s" % (name, told["seconds"], ", FAILED" if told["failed"] else ""))
    return told


def write(bench, told, about):
    """Everything that is known so far, so that an end by Ctrl-C loses nothing."""
    head = "\n".join("- %s: %s" % item for item in about["machine"].items())
    how = "%(rounds)d round(s) of %(seconds)g s; medians, and in brackets between what the rounds lay." % about
    texts = [part.pop("text") for part in told.values()]
    with open(os.path.join(OUT, "results.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(["## Benchmarks", "", head, "", how, "Kafka with one node and acks=all, %d lanes, payment and "
                              "inventory on SQLite with full sync, where nothing else is said; µs are of CPU, for each "
                              "transaction; the relay plays all roles in one process." % LANES, "", *texts,
                              *pictures(bench), ""]))
    with open(os.path.join(OUT, "results.json"), "w", encoding="utf-8") as file:
        json.dump(dict(about, parts=told), file, indent=1)
        file.write("\n")


def main():
    parts, told = wanted(), {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    folder = tempfile.mkdtemp(prefix="bench.", dir=os.path.dirname(OUT))
    bench = Bench(folder)
    about = {"machine": machine(folder), "quick": QUICK, "rounds": bench.rounds, "seconds": bench.ms / 1000}
    try:
        with bench.stack:
            for part in parts:
                told[part.__name__] = measure(bench, part)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        write(bench, told, about)
        shutil.rmtree(folder, ignore_errors=True)
    failed = [name for name, part in told.items() if part["failed"]]
    bench.say("figures: build/bench/results.md, results.json" + ("; FAILED: " + ", ".join(failed) if failed else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
