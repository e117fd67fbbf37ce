#!/usr/bin/env python3
"""Death at every durable line: each crash point named in the source is reached by a real process, which dies there by SIGKILL
while transactions run, is started again, and nothing is lost or applied twice. The list comes from the source: a point that
is never reached fails its test."""
import glob
import os
import re

from pipeline import SEAMS, branches, check, equal, main, until

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
POINTS = sorted({point for path in glob.glob(os.path.join(ROOT, "framework", "*", "*.c"))
                 for point in re.findall(r"ASSENT_CRASH_POINT\((\w+)\)", open(path).read())})


def dies_at(point, passing, protocol):
    def test(p):
        role = "coordinator" if point.startswith("coordinator") else "payment"
        environment = {"ASSENT_CRASH_POINT": "%s:%d" % (point, passing)}
        p.topics()
        services = [s for s in ("order", "payment", "inventory") if s != role]
        if role != "coordinator":
            p.coordinator()
        for service in services:
            p.participant(service)
        make = p.coordinator if role == "coordinator" else lambda **k: p.participant("payment", **k)
        # It may die as early as while it starts.
        victim = p.launch(*launch_of(p, role), build=SEAMS, environment=environment)
        number = 0
        while victim.popen.poll() is None and number < 60:
            number += 1
            p.begin("--no-wait", "--protocol", protocol, "--timeout", "4s", *branches("o-%d" % number, 10, 1))
        until("%s dies at %s" % (role, point), lambda: victim.popen.poll() is not None)
        equal(victim.popen.returncode, -9, "how it died:\n" + victim.text())
        make()
        status, out, err = p.begin("--protocol", protocol, "--timeout", "4s", *branches("o-last", 10, 1))
        equal(status, 0, out + err)
        p.audit(wait="30s")
        states = p.query("order", "SELECT state, count(*) FROM orders GROUP BY state")
        check(sum(count for _, count in states) >= 1, states)
    test.__name__ = "%s_passing_%d_%s" % (point, passing, protocol)
    return test


def launch_of(p, role):
    if role == "coordinator":
        from pipeline import EMBEDDED, LANES
        return ["assent-coordinator", *(["--lanes", "0-%d" % (LANES - 1)] if EMBEDDED else
                                        ["--set", "session.timeout.ms=1000", "--set", "heartbeat.interval.ms=250"])]
    return ["assent-" + role, "--db", p.db(role), "--seed"]


check(len(POINTS) >= 8, "the source names crash points: %r" % POINTS)
main(*[dies_at(point, passing, protocol) for point in POINTS for passing, protocol in ((1, "2pc"), (5, "3pc"))])
