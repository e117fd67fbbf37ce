#!/usr/bin/env python3
"""Processes die and sleep at random while a load runs; then everything must be settled, and the books must balance."""
import json
import os
import random
import signal
import subprocess
import time

from pipeline import BUILD, EMBEDDED, ENVIRONMENT, check, equal, main, until

SEED = int(os.environ.get("SEED", "1"))


def storm(p, protocol, count):
    rng = random.Random("%s %s" % (SEED, protocol))
    print("# SEED=%d" % SEED)
    p.up()
    load = subprocess.Popen(
        [os.path.join(BUILD, "bin", "assent-load"), *p.common(), "-n", str(count), "--in-flight", "64", "--protocol", protocol,
         "--participants", "order,payment,inventory", "--abort-ratio", "0.1", "--duplicate-ratio", "0.1", "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    processes = dict(p.services, coordinator=p.coordinator_process)
    start = {name: (p.coordinator if name == "coordinator" else lambda n=name: p.participant(n)) for name in processes}
    kills = sleeps = 0
    while load.poll() is None:
        time.sleep(rng.uniform(0.2, 0.8))
        name = rng.choice(sorted(processes))
        if rng.random() < 0.6:
            processes[name].kill()
            time.sleep(rng.uniform(0, 0.5))
            processes[name] = start[name]()
            kills += 1
        else:
            processes[name].signal(signal.SIGSTOP)
            time.sleep(rng.uniform(0.1, 2.5))
            processes[name].signal(signal.SIGCONT)
            sleeps += 1
    out, err = load.communicate()
    check(load.returncode in (0, 4), "load ended with %d:\n%s%s" % (load.returncode, out.decode(), err.decode()))
    told = json.loads(out)
    print("# %d kills, %d sleeps: %s" % (kills, sleeps, out.decode().strip()))
    check(kills >= 3, "it was a storm: %d kills" % kills)
    check(told["committed"] > count / 2, told)
    p.audit(wait="40s")
    equal(p.query("payment", "SELECT count(*) FROM assent_branch WHERE frozen"), [(0,)], "contradictions")


def storm_2pc(p):
    storm(p, "2pc", 3000 if EMBEDDED else 15000)


def storm_3pc(p):
    storm(p, "3pc", 2000 if EMBEDDED else 8000)


main(storm_2pc, storm_3pc)
