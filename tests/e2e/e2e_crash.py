#!/usr/bin/env python3
"""Death at durable lines: a real process dies by SIGKILL at a crash point named in the source while transactions run, is
started again, perhaps dies again while it recovers, and nothing is lost or applied twice.

Each run draws CASES of all the cases there are; SEED=n repeats a run, EVERY=1 has a case for each point. The list of points
comes from the source: one that is never reached fails its case. The simulator goes through all of them exhaustively."""
import collections
import glob
import os
import random
import re
import signal
import subprocess
import time

from e2e_order import POINTS as ORDER_POINTS
from pipeline import BROKERS, BUILD, EMBEDDED, LANES, SEAMS, SERVICES, Process, branches, check, equal, main, until

CASES = 20
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
POINTS = {point: os.path.basename(path)[:-2] for path in sorted(glob.glob(os.path.join(ROOT, "framework", "*", "*.c")))
          for point in re.findall(r"ASSENT_CRASH_POINT\((\w+)\)", open(path).read())}
SIMULATOR_ONLY = {
    "coordinator_before_resend": "needs a broker that refuses a decision and then takes it",
    "participant_before_cut_off_commit": "needs a broker that goes away and comes back",
    "participant_forgetting": "needs the horizon to pass, which is longer than all of this takes",
    "outbox_refusing": "needs a broker that refuses an event for good",
}
# Passed by a service that publishes events and is handed work: an order service that listens.
ORDERS_ONLY = {"outbox_acknowledged", "outbox_after_send", "outbox_before_send", "outbox_deleting", "participant_after_work",
               "participant_before_done"}
BEGINS_MAX = 60
SHAPES = ("2pc commit", "2pc no", "2pc timeout", "3pc commit", "3pc no", "3pc timeout")

# Who dies there: the points of intake.c are the participant's and the idempotent consumer's; the rest say so.
PARKING = {"participant_after_park", "participant_after_unpark", "participant_mark_cleared"}
DOUBT = {"participant_before_inquire", "participant_after_inquire", "participant_before_decision"}
DOUBTFUL = (1, 2, 3)  # states of a branch: parked, prepared, pre-committed
AT_END = {"participant_draining", "coordinator_before_last_checkpoint"}
# How often a point is passed at least; others are passed five times and more.
ONCE = PARKING | DOUBT | AT_END | {"store_created", "participant_after_identity", "participant_reopened", "client_queued",
                                   "client_acknowledged", "consumer_after_setup", "consumer_forgetting"}
SELDOM = {"coordinator_lane_taken": LANES, "coordinator_proved": LANES, "participant_after_mark": LANES,
          "coordinator_before_tick": 2, "coordinator_before_cancel": 2, "coordinator_after_dead_letter": 2,
          "participant_after_dead_letter": 2}
# What a process passes when it has died before, whatever the load: where it may die the second time.
EVERY_TIME = {
    "coordinator": ["coordinator_lane_taken", "coordinator_replaying", "coordinator_proved", "coordinator_between_emissions",
                    "coordinator_after_step", "coordinator_before_checkpoint", "coordinator_after_checkpoint"],
    "payment": ["participant_after_identity", "participant_after_mark", "participant_reopened", "participant_after_handler",
                "participant_before_store_commit", "participant_after_store_commit", "participant_between_answers",
                "participant_after_publish", "participant_before_offset_commit", "participant_after_offset_commit"],
    "flaky": ["participant_after_identity", "participant_after_mark", "participant_reopened", "participant_after_handler",
              "participant_before_store_commit", "participant_after_store_commit", "participant_after_park",
              "participant_after_unpark", "participant_mark_cleared"],
    "doubting": ["participant_reopened", "participant_after_mark", "participant_before_inquire", "participant_after_inquire",
                 "participant_before_decision"],
    "counter": ["consumer_after_setup", "participant_after_mark", "consumer_after_handler", "participant_before_store_commit",
                "participant_after_store_commit", "participant_before_offset_commit", "participant_after_offset_commit"],
    "client": ["client_queued", "client_acknowledged"],
}

Case = collections.namedtuple("Case", "victim point passing again shape")


def victims(point):
    if point in PARKING:
        return ["flaky"]
    if point in DOUBT:
        return ["doubting"]
    if POINTS[point] in ("coordinator", "client"):
        return [POINTS[point]]
    if POINTS[point] == "consumer":
        return ["counter"]
    shared = POINTS[point] in ("intake", "sqlite") and point != "participant_between_answers"
    return ["payment", "counter"] if shared else ["payment"]


def draw(rng, point):
    victim = rng.choice(victims(point))
    passing = 1 if point in ONCE else rng.randint(1, SELDOM.get(point, 5))
    again = rng.choice(EVERY_TIME[victim]) if rng.random() < 0.5 else None
    shape = rng.choice(SHAPES)
    if point == "coordinator_before_tick":
        shape = shape[:4] + "timeout"
    return Case(victim, point, passing, again, shape)


# ---- the processes ----

def program(p, name, build, environment, *arguments):
    process = Process(name, [os.path.join(build, "tests", name), *p.common(), "--db", p.db(name), *arguments], p.folder,
                      environment)
    p.processes.append(process)
    return process


def launch(p, victim, build=BUILD, environment=None, **more):
    if victim == "coordinator":
        lanes = ["--lanes", "0-%d" % (LANES - 1)]
        session = ["--set", "session.timeout.ms=1000", "--set", "heartbeat.interval.ms=250"]
        return p.launch("assent-coordinator", *(lanes if EMBEDDED else session), build=build, environment=environment, **more)
    if victim == "flaky":
        return program(p, "flaky", build, environment, "--set", "assent.retry_ms=50", "--set", "assent.retry_max_ms=400")
    if victim == "counter":
        return program(p, "counter", build, environment, "--set", "app.topic=%s.outcomes" % p.prefix, "--set",
                       "app.group=%s.counter" % p.prefix, "--set", "assent.horizon_ms=1000")
    return p.launch("assent-payment", "--db", p.db("payment"), "--seed", build=build, environment=environment)


def armed(p, victim, point, passing):
    more = {"checkpoint_ms": 60000} if point == "coordinator_before_last_checkpoint" else {}
    return launch(p, victim, SEAMS, {"ASSENT_CRASH_POINT": "%s:%d" % (point, passing)}, **more)


# ---- what they do meanwhile ----

def begin(p, case, number, *more, timeout="4s"):
    """One transaction of the case's shape; in every other one that ends by NO it is the victim who says it, in the others those
    to whom 10**13 pieces are too many."""
    protocol, end = case.shape.split()
    cents, count = (10, 1) if end != "no" else (10, 10**13) if number % 2 else (99999, 1)
    timeout = "500ms" if end == "timeout" else timeout
    return p.begin("--protocol", protocol, "--timeout", timeout, "--no-wait", *branches("o-%d" % number, cents, count), *more)


def begin_flaky(p, case, number):
    protocol, end = case.shape.split()
    payloads = {"commit": ["commit-retry:2"], "no": ["abort-retry:2", "no"], "timeout": ["abort-retry:2"]}[end]
    words = [word for payload in payloads for word in ("--branch", "flaky:test:" + payload)]
    silent = ["--branch", "silent:x:y"] if end == "timeout" else []
    p.begin("--protocol", protocol, "--timeout", "1s", "--no-wait", *words, *silent)


def publish(p, number):
    command = [os.path.join(BUILD, "tests", "rawsend"), "-b", BROKERS, "-t", p.prefix + ".outcomes", "-p",
               str(number % LANES), "-k", "m-%d" % number, "-H", "ce_id=m-%d" % number]
    for _ in range(2):
        subprocess.run(command, input=b"one", check=True, capture_output=True)


def drive(p, case, point, victim):
    """Gives the victim work until it has died at `point`."""
    last = p.number + BEGINS_MAX
    while victim.popen.poll() is None and p.number < last:
        p.number += 1
        if case.victim == "counter":
            publish(p, p.number)
        elif case.victim == "flaky":
            begin_flaky(p, case, p.number)
        else:
            nowhere = point == "coordinator_before_cancel"
            begin(p, case, p.number, *(["--branch", "nobody:x:y"] if nowhere else []))
        if point.endswith("_after_dead_letter"):
            p.send("inbox" if case.victim == "coordinator" else "payment.commands", p.number % LANES, b"garbage")
        if point in AT_END and p.number % 5 == 0:
            victim.wait_ready()
            if case.victim == "coordinator":  # it has taken its lanes, and read what its checkpoints do not cover
                txn = p.txn()
                begin(p, case, p.number, "--txn", txn)
                until("it has decided something",
                      lambda: victim.popen.poll() is not None or p.state("order", txn) not in (None, *DOUBTFUL))
            victim.signal(signal.SIGTERM)
            until("it ends", lambda: victim.popen.poll() is not None)
        if point == "consumer_forgetting":
            time.sleep(0.4)
    died(point, victim)


def died(point, victim):
    until("%s dies at %s" % (victim.name, point), lambda: victim.popen.poll() is not None)
    equal(victim.popen.returncode, -signal.SIGKILL, "how it died at %s:\n%s" % (point, victim.text()))


def deaths(case):
    return [(case.point, case.passing)] + ([(case.again, 1)] if case.again else [])


def die_and_recover(p, case):
    for point, passing in deaths(case):
        drive(p, case, point, armed(p, case.victim, point, passing))
    return launch(p, case.victim).wait_ready()


# ---- the cases ----

def others(p, case, *services):
    """Those who live. Who never votes makes the timeout."""
    silent = "inventory" if case.shape.endswith("timeout") else None
    for service in services:
        if service != silent:
            p.participant(service)
    return silent


def settled(p, silent=None):
    if silent:
        p.participant(silent)
    status, out, err = p.begin("--timeout", "4s", *branches("o-last", 10, 1))
    equal(status, 0, out + err)
    p.audit(wait="30s")
    equal(p.query("payment", "SELECT count(*) FROM assent_branch WHERE frozen"), [(0,)], "contradictions")


def coordinator_case(p, case):
    p.topics()
    silent = others(p, case, *SERVICES)
    first = p.coordinator()
    lanes = set()
    while len(lanes) < LANES: # so that each has a checkpoint
        p.number, txn = p.number + 1, p.txn()
        begin(p, case, p.number, "--txn", txn)
        until("the command arrives", lambda: p.state("order", txn) is not None)
        lanes.add(p.lane(txn))
    equal(first.stop(), 0, "exit status")
    die_and_recover(p, case)
    settled(p, silent)


def payment_case(p, case):
    p.topics()
    p.coordinator()
    silent = others(p, case, "order", "inventory")
    die_and_recover(p, case)
    settled(p, silent)


def doubting_case(p, case):
    """The coordinator dies between two decisions of the only transaction: one participant at least has to find out (P10)."""
    p.topics()
    silent = others(p, case, "order", "inventory")
    decision = 7 if case.shape == "3pc commit" else 4
    coordinator = armed(p, "coordinator", "coordinator_between_emissions", decision).wait_ready()
    victim = armed(p, "payment", case.point, case.passing).wait_ready()
    begin(p, case, 1, timeout="2s")
    died("its decision", coordinator)
    died(case.point, victim)
    if case.again:
        died(case.again, armed(p, "payment", case.again, 1))
    launch(p, "payment").wait_ready()
    until("the lane was read", lambda: p.query("payment", "SELECT count(*) FROM assent_branch WHERE state IN (2, 3)") == [(0,)])
    p.coordinator()
    settled(p, silent)


def flaky_case(p, case):
    p.topics("flaky", "silent")
    p.coordinator()
    die_and_recover(p, case)
    wanted = ("commit-retry:2", "committed") if case.shape.endswith("commit") else ("abort-retry:2", "aborted")
    until("nothing waits", lambda: p.query("flaky", "SELECT count(*) FROM assent_parking") == [(0,)] and p.query(
        "flaky", "SELECT count(*) FROM assent_branch WHERE state IN (1, 2, 3) OR unpublished OR frozen") == [(0,)], 30)
    effects = collections.defaultdict(tuple)
    for txn, what in p.query("flaky", "SELECT txn_id, what FROM flaky_effects ORDER BY rowid"):
        effects[txn] += (what,)
    equal(set(effects.values()), {wanted}, "each has its effects once")


def counter_case(p, case):
    p.topics()
    process = die_and_recover(p, case)
    wanted = {"m-%d" % number: 1 for number in range(1, p.number + 1)}
    until("all are counted once", lambda: dict(p.query("counter", "SELECT key, n FROM counts")) == wanted)
    equal(process.stop(), 0, "a drain ends with status 0")


def client_case(p, case):
    """Whoever begins dies; begun again under the same id it is one transaction."""
    p.topics()
    p.coordinator()
    silent = others(p, case, *SERVICES)
    txn = p.txn()
    for point, passing in deaths(case):
        victim = p.launch("assent-begin", "--txn", txn, *branches("o-1", 10, 1), build=SEAMS,
                          environment={"ASSENT_CRASH_POINT": "%s:%d" % (point, passing)})
        died(point, victim)
    status, out, err = p.begin("--txn", txn, *branches("o-1", 10, 1))
    equal(status, 3 if silent else 0, out + err)
    settled(p, silent)


def test_of(case):
    def test(p):
        p.number = 0
        {"coordinator": coordinator_case, "payment": payment_case, "doubting": doubting_case, "flaky": flaky_case,
         "counter": counter_case, "client": client_case}[case.victim](p, case)
    then = "_then_" + case.again if case.again else ""
    test.__name__ = "%s_at_%s_%d%s_%s" % (case.victim, case.point, case.passing, then, case.shape.replace(" ", "_"))
    return test


def run():
    named = set(SIMULATOR_ONLY) | ORDERS_ONLY
    known = set(POINTS) - named
    check(named <= set(POINTS), "points that the source no longer names: %r" % sorted(named - set(POINTS)))
    there = {point.split(":")[0] for point in ORDER_POINTS}
    check(ORDERS_ONLY <= there, "points that e2e_order.py does not come to: %r" % sorted(ORDERS_ONLY - there))
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1000000))
    rng = random.Random(seed)
    points = sorted(known) if os.environ.get("EVERY") else rng.sample(sorted(known), CASES)
    print("# SEED=%d: %d of %d points" % (seed, len(points), len(POINTS)))
    for point, why in sorted(SIMULATOR_ONLY.items()):
        print("# in the simulator only: %s %s" % (point, why))
    print("# in e2e_order.py: %s" % " ".join(sorted(ORDERS_ONLY)))
    main(*[test_of(draw(rng, point)) for point in points])


run()
