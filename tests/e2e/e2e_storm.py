#!/usr/bin/env python3
"""Processes die and sleep at random while a load runs; then everything must be settled, and the books must balance.

SEED=N repeats what a run has printed; ROUNDS=N, of 10 SIGKILL and 2 SIGSTOP of coordinators and as many of participants in
each of the two tests, makes the storm longer; STORM_SECONDS=N the one of rebalances, on a real Kafka."""
import concurrent.futures
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

from pipeline import BUILD, EMBEDDED, ENVIRONMENT, LANES, SERVICES, SESSION, check, equal, main

SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 31))
ROUNDS = int(os.environ.get("ROUNDS") or (5 if EMBEDDED else 1))


class Load:
    """One load after the other for as long as the storm lasts."""

    def __init__(self, p, protocol, count):
        self.arguments = [os.path.join(BUILD, "bin", "assent-load"), *p.common(), "-n", str(count), "--in-flight", "64",
                          "--protocol", protocol, "--participants", "order,payment,inventory", "--abort-ratio", "0.1",
                          "--duplicate-ratio", "0.1", "--json"]
        self.committed = self.runs = 0
        self.popen, self.lock = None, threading.Lock()

    def keep_up(self):
        with self.lock:
            if self.popen is None or self.popen.poll() is not None:
                self.finish()
                self.runs += 1
                self.popen = subprocess.Popen([*self.arguments, "--seed", str(self.runs)], stdin=subprocess.DEVNULL,
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)

    def finish(self):
        if self.popen is None:
            return
        out, err = self.popen.communicate()
        check(self.popen.returncode in (0, 4), "load ended with %d:\n%s%s" %
              (self.popen.returncode, out.decode(), err.decode()))
        self.committed += json.loads(out)["committed"]
        print("# " + out.decode().strip())
        self.popen = None


def group(p, load, processes, start, rng):
    """Ten deaths and two long sleeps, of a process of the group each."""
    events = [True] * 10 + [False] * 2
    rng.shuffle(events)
    for kill in events:
        name = rng.choice(sorted(processes))
        load.keep_up()
        time.sleep(rng.uniform(0.05, 0.25))
        if kill:
            processes[name].kill()
            time.sleep(rng.uniform(0, 0.2))
            processes[name] = start(name)
        else:
            processes[name].signal(signal.SIGSTOP)
            time.sleep(rng.uniform(0.1, 2.0))
            processes[name].signal(signal.SIGCONT)


def storm(p, protocol, count):
    print("# SEED=%d" % SEED, flush=True)
    p.up()
    load = Load(p, protocol, count)
    groups = ({"coordinator": p.coordinator_process}, lambda name: p.coordinator()), (p.services, p.participant)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        for number in range(ROUNDS):
            storms = [threads.submit(group, p, load, processes, start, random.Random("%d %s %d %d" % (SEED, protocol, number, which)))
                      for which, (processes, start) in enumerate(groups)]
            for each in storms:
                each.result()
    load.finish()
    print("# SEED=%d, coordinators and participants each: %d SIGKILL, %d SIGSTOP; %d committed" %
          (SEED, 10 * ROUNDS, 2 * ROUNDS, load.committed))
    check(load.committed > count / 2, "%d committed" % load.committed)
    p.audit(wait="40s")
    equal(p.query("payment", "SELECT count(*) FROM assent_branch WHERE frozen"), [(0,)], "contradictions")


def storm_2pc(p):
    storm(p, "2pc", 3000 if EMBEDDED else 10000)


def storm_3pc(p):
    storm(p, "3pc", 2000 if EMBEDDED else 6000)


def rebalance_storm(p):
    """A coordinator joins the group and leaves it without end, mostly before the group has settled."""
    rng = random.Random("%d rebalance" % SEED)
    p.topics()
    settled = p.coordinator()
    for service in SERVICES:
        p.participant(service)
    load = Load(p, "2pc", 2000)
    began, joins, seconds = time.monotonic(), 0, float(os.environ.get("STORM_SECONDS") or 10)

    def taken():
        return len(re.findall('event="lane taken', settled.text()))

    while time.monotonic() < began + seconds or (time.monotonic() < began + seconds + 60 and (joins <= 5 or taken() <= LANES)):
        load.keep_up()
        guest = p.launch("assent-coordinator", *SESSION)
        joins += 1
        time.sleep(rng.uniform(0.1, 0.6))
        if joins % 4:
            guest.signal(signal.SIGTERM)
            check(guest.popen.wait(30) in (0, 128 + signal.SIGTERM, -signal.SIGTERM), guest.text())
        guest.kill()
    load.finish()
    print("# SEED=%d: %d joins, %d lanes taken by the one that stayed, %d committed" % (SEED, joins, taken(), load.committed))
    check(joins > 5 and taken() > LANES, "the group never changed: %d joins, %d lanes taken" % (joins, taken()))
    check(settled.popen.poll() is None, "the one that stayed ended:\n" + settled.text())
    check(load.committed > 1000, "%d committed" % load.committed)
    p.audit(wait="40s")
    equal(p.query("payment", "SELECT count(*) FROM assent_branch WHERE frozen"), [(0,)], "contradictions")


# The groups of the embedded broker settle badly: there lanes are assigned, and nothing is rebalanced.
main(storm_2pc, storm_3pc, *([] if EMBEDDED else [rebalance_storm]))
