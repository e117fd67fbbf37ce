#!/usr/bin/env python3
"""Processes die and sleep at random while a load runs; then everything must be settled, and the books must balance."""
import json
import os
import random
import signal
import subprocess
import time

from pipeline import BUILD, EMBEDDED, ENVIRONMENT, check, equal, main

SEED = int(os.environ.get("SEED", "1"))


class Load:
    """One load after the other for as long as the storm lasts."""

    def __init__(self, p, protocol, count):
        self.arguments = [os.path.join(BUILD, "bin", "assent-load"), *p.common(), "-n", str(count), "--in-flight", "64",
                          "--protocol", protocol, "--participants", "order,payment,inventory", "--abort-ratio", "0.1",
                          "--duplicate-ratio", "0.1", "--json"]
        self.committed = self.runs = 0
        self.popen = None

    def keep_up(self):
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


def storm(p, protocol, count, rounds):
    rng = random.Random("%s %s" % (SEED, protocol))
    p.up()
    load = Load(p, protocol, count)
    processes = dict(p.services, coordinator=p.coordinator_process)
    start = {name: (p.coordinator if name == "coordinator" else lambda n=name: p.participant(n)) for name in processes}
    for _ in range(rounds):
        events = [(name, kill) for name in sorted(processes) for kill in (True, True, False)]
        rng.shuffle(events)
        for name, kill in events:
            load.keep_up()
            time.sleep(rng.uniform(0.1, 0.6))
            if kill:
                processes[name].kill()
                time.sleep(rng.uniform(0, 0.5))
                processes[name] = start[name]()
            else:
                processes[name].signal(signal.SIGSTOP)
                time.sleep(rng.uniform(0.1, 2.5))
                processes[name].signal(signal.SIGCONT)
    load.finish()
    print("# SEED=%d, %d rounds, %d committed" % (SEED, rounds, load.committed))
    check(load.committed > count / 2, "%d committed" % load.committed)
    p.audit(wait="40s")
    equal(p.query("payment", "SELECT count(*) FROM assent_branch WHERE frozen"), [(0,)], "contradictions")


def storm_2pc(p):
    storm(p, "2pc", 3000 if EMBEDDED else 10000, 1)


def storm_3pc(p):
    storm(p, "3pc", 2000 if EMBEDDED else 6000, 1)


main(storm_2pc, storm_3pc)
