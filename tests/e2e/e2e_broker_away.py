#!/usr/bin/env python3
"""The broker is connected but silent (its process is stopped): nothing hangs, and everything goes on when it is back.

On an embedded broker of the test's own, which it may stop, whatever broker the other suites use."""
import contextlib
import os
import signal
import time

import pipeline
from pipeline import BUILD, Process, branches, check, equal, main, until

STOP_TIMEOUT = 10.0  # assent.stop_timeout_ms, as it is by default
PATIENT = {"window_ms": 40000, "horizon_ms": 60000}  # a begin that waited for the broker is not stale


@contextlib.contextmanager
def own_broker(p):
    port = os.path.join(p.folder, "port")
    broker = Process("devbroker", [os.path.join(BUILD, "bin", "assent-devbroker"), "--port-file", port], p.folder)
    p.processes.append(broker)
    until("the broker is there", lambda: os.path.exists(port))
    kept = pipeline.BROKERS, pipeline.EMBEDDED
    pipeline.BROKERS, pipeline.EMBEDDED = open(port).read().strip().split("=")[1], True
    try:
        yield broker
    finally:
        broker.signal(signal.SIGCONT)
        pipeline.BROKERS, pipeline.EMBEDDED = kept


def load(p, count):
    process = p.launch("assent-load", "--count", str(count), "--in-flight", "32",
                       "--payment", p.db("payment"), "--inventory", p.db("inventory"))
    until("the load runs", lambda: p.query("payment", "SELECT count(*) FROM assent_branch")[0][0] > 50)
    check(process.popen.poll() is None, "the load ended before the broker was stopped:\n" + process.text())
    return process


def end_while_it_sleeps(p, seconds):
    """SIGTERM to all, `seconds` after the broker fell asleep in the middle of a load; then up again."""
    p.settings.update(PATIENT)
    with own_broker(p) as broker:
        p.up()
        generator = load(p, 100000)
        broker.signal(signal.SIGSTOP)
        time.sleep(seconds)
        programs = [p.coordinator_process, *p.services.values()]
        began = time.monotonic()
        for program in programs:
            program.signal(signal.SIGTERM)
        for program in programs:
            status = program.popen.wait(60)
            took = time.monotonic() - began
            check(took < STOP_TIMEOUT, "%s ended after %.1f s:\n%s" % (program.name, took, program.text()))
            equal(status, 0, "exit status of %s:\n%s" % (program.name, program.text()))
        generator.kill()
        broker.signal(signal.SIGCONT)
        p.up()
        equal(p.begin(*branches("o-1"))[0], 0, "a transaction after all that")
        p.audit(wait="30s")


def sigterm_ends_everybody_in_time_when_the_broker_just_fell_asleep(p):
    end_while_it_sleeps(p, 0.3)


def sigterm_ends_everybody_in_time_when_the_broker_sleeps_for_long(p):
    end_while_it_sleeps(p, 9)


def a_load_survives_a_broker_that_sleeps_for_15_seconds(p):
    p.settings.update(PATIENT)
    with own_broker(p) as broker:
        p.up()
        generator = load(p, 3000)
        broker.signal(signal.SIGSTOP)
        time.sleep(15)
        broker.signal(signal.SIGCONT)
        status = generator.popen.wait(120)
        equal(status, 0, "exit status of the load:\n" + generator.text())
        for program in (p.coordinator_process, *p.services.values()):
            check(program.popen.poll() is None, "%s ended:\n%s" % (program.name, program.text()))
            check(not program.said("CONTRADICTION"), program.text())
        p.audit()
        equal(p.begin(*branches("o-1"))[0], 0, "a transaction after all that")
        p.audit()


main(sigterm_ends_everybody_in_time_when_the_broker_just_fell_asleep,
     sigterm_ends_everybody_in_time_when_the_broker_sleeps_for_long,
     a_load_survives_a_broker_that_sleeps_for_15_seconds)
