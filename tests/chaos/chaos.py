#!/usr/bin/env python3
"""Three real brokers, three coordinators and the sample participants under load, while brokers, services, clients and the
network between them fail; then everything is healed and drained, and checker.py judges what is in the logs and databases.

  SECONDS=60 SEED=1 tests/chaos/chaos.py

Environment: SECONDS (60) of faults, SEED (drawn, and told), ASSENT_BUILD (build/release), TMPDIR, KEEP. Prints TAP; what a
failure leaves, or every run if KEEP is set, is in build/chaos/."""
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid

import cluster
from checker import Judge
from load import Loads
from nemesis import CUTS, EXTRA_S, KINDS, Nemesis
from run import (BROKERS, COORDINATORS, DRAIN_S, LANES, ROOT, SECONDS, SEED, SERVICES, START_S, UNANSWERED, Failure, Run,
                 collect, say, unsettled)


def heal(run, loads):
    """What has begun takes its time; nothing new begins but load."""
    end = time.monotonic() + START_S
    while run.agenda.queue and time.monotonic() < end:
        run.agenda.run()
        run.supervise()
        loads.keep_up()
        time.sleep(0.05)
    if run.agenda.queue:
        raise Failure("a broker has not come back for %d s" % START_S)
    run.note("healed")


def drain(run, loads):
    began, calm_since, told, why = time.monotonic(), None, 0, ""
    while time.monotonic() - began < DRAIN_S:
        run.supervise()
        run.agenda.run()
        if loads.drained():
            try:
                why = unsettled(run)
            except UNANSWERED as error:
                why = str(error)
            calm_since = None if why else calm_since or time.monotonic()
            if calm_since and time.monotonic() - calm_since > 2:
                run.note("drained")
                return time.monotonic() - began
        else:
            why = "%d loads and %d single clients have not ended" % (sum(map(bool, loads.slots)), len(loads.singles))
        if why and time.monotonic() - began > told + 5:
            told += 5
            run.note("not drained: " + why)
        time.sleep(0.25)
    raise Failure("not drained after %d s: %s" % (DRAIN_S, why))


def stop_services(run):
    for service in run.services.values():
        status = service.stop(30)
        if status != 0:
            run.ended.append("%s: SIGTERM brought %s" % (service.name, status))


class Report:
    def __init__(self):
        self.count = self.failed = 0

    def check(self, name, holds, lines=()):
        self.count += 1
        self.failed += not holds
        print("%s %d - %s" % ("ok" if holds else "not ok", self.count, name))
        for line in lines:
            print("#   " + line)
        sys.stdout.flush()


def move_all(run):
    """Every leader of ours goes elsewhere, with all brokers there and nobody told."""
    leaders = run.leaders()
    for topic in run.topics:
        moves = {(topic, lane): [*(node for node in cluster.NODES if node != leader), leader]
                 for lane, leader in enumerate(leaders[topic])}
        cluster.move_leaders(run.brokers.servers.split(",")[0], moves)

    def elsewhere():
        now = run.leaders()
        return all(old != new for topic in run.topics for old, new in zip(leaders[topic], now[topic]))
    run.until("every leader is elsewhere", elsewhere, 20)


def moved_and_alone(run, loads):
    """A participant in doubt, with no coordinator and every leader elsewhere than it last knew: P10 must find both."""
    move_all(run)
    run.services["inventory"].kill()
    txn = loads.begin("--no-wait", "--timeout", "1s", "--branch", 'payment:charge:{"account":"alice","amount_cents":1}',
                      "--branch", 'inventory:reserve:{"items":[{"sku":"bolt","quantity":1}]}')

    def state():
        connection = sqlite3.connect("file:%s?mode=ro" % run.database("payment"), uri=True, timeout=10)
        try:
            return connection.execute("SELECT state FROM assent_branch WHERE txn_id = ?", (uuid.UUID(txn).bytes,)).fetchone()
        finally:
            connection.close()
    try:
        run.until("the branch is prepared", state, 20)
        for name in COORDINATORS:
            run.services[name].kill()
        run.until("a branch in doubt has its outcome without coordinators", lambda: state() == (5,), 20)
    finally:
        for name in ("inventory", *COORDINATORS):
            run.services[name].start()


def storm(run, cuts, report):
    # A killed member keeps its lanes for the session's length.
    run.up({name: ["--set", "session.timeout.ms=2000", "--set", "heartbeat.interval.ms=400"] for name in COORDINATORS})
    loads = Loads(run)
    try:
        moved_and_alone(run, loads)
        report.check("in doubt, all leaders moved and no coordinator: settled", True)
    except Failure as failure:
        report.check("in doubt, all leaders moved and no coordinator: settled", False, [str(failure)])
    run.began = time.monotonic()
    nemesis = Nemesis(run, loads, cuts)
    while not nemesis.late() or SECONDS >= 60 and nemesis.missing and time.monotonic() - run.began < SECONDS + EXTRA_S:
        loads.keep_up()
        nemesis.step()
        run.supervise()
        time.sleep(0.05)
    heal(run, loads)
    seconds = drain(run, loads)
    stop_services(run)
    moved = run.brokers.elections({topic: LANES for topic in run.topics})
    folder = collect(run, loads)
    say("faults: " + ", ".join("%s %d" % count for count in sorted(nemesis.counts.items())))
    say("leaders changed %d times, %d lives of services, drained %.1f s after the last fault" % (
        moved, sum(service.lives for service in run.services.values()), seconds))
    missing = nemesis.missing if SECONDS >= 60 else []
    all_kinds = len(KINDS) + len(CUTS)
    told = "all %d kinds" % all_kinds if cuts else "%d of %d kinds: no namespaces here" % (len(KINDS), all_kinds)
    report.check("every kind of fault that can happen had its turn (%s)" % told, not missing, missing)
    report.check("no process ended by itself (but for %d given up by the Kafka client)" % len(run.given_up), not run.ended,
                 run.ended)
    return folder


def keep(run):
    """What a failure leaves, but for the brokers' data."""
    target = os.path.join(ROOT, "build", "chaos", "seed-%d" % SEED)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run.folder, target, ignore=shutil.ignore_patterns("data-*"))
    say("logs, databases and records are in build/chaos/seed-%d" % SEED)


def judged(folder, report):
    began, judge = time.monotonic(), Judge(folder).run()
    for line in judge.report():
        report.check(*line)
    for line in judge.summary():
        say(line)
    say("judged in %.1f s" % (time.monotonic() - began))


def attempt(network, cuts, folder):
    """Returns the exit status."""
    brokers = cluster.Brokers(os.path.join(folder, "kafka"), network)
    report, run = Report(), Run(network, folder, brokers)
    try:
        brokers.up(START_S)
        judged(storm(run, cuts, report), report)
    except (Failure, RuntimeError, OSError, subprocess.SubprocessError) as caught:
        report.check("the run comes to its end", False, str(caught).splitlines())
    finally:
        for service in run.services.values():
            service.kill()
        brokers.stop()
    print("1..%d" % report.count)
    if report.failed or "KEEP" in os.environ:
        keep(run)
    return 1 if report.failed else 0


def main():
    why_not = cluster.enter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = BROKERS + COORDINATORS + SERVICES + ("clients",)
    network = cluster.Loopback(names) if why_not else cluster.Network(names)
    say("SEED=%d, %g s%s" % (SEED, SECONDS, why_not and "; 0 network cuts: " + why_not or ""))
    with tempfile.TemporaryDirectory(prefix="chaos.") as folder:
        sys.exit(attempt(network, not why_not, folder))


if __name__ == "__main__":
    main()
