#!/usr/bin/env python3
"""Handlers that refuse, retry, break their contract, or try to split the local transaction (P1, P5, P9), and P7."""
import os
import signal
import time
import uuid

import pipeline
from pipeline import BUILD, EMBEDDED, LANES, Process, check, equal, main, until

FAST = {"retry_ms": 50, "retry_max_ms": 400}


def flaky(p, wait=True, **more):
    settings = p.common(**dict(FAST, **more))
    process = Process("flaky", [os.path.join(BUILD, "tests", "flaky"), *settings, "--db", p.db("flaky")], p.folder)
    p.processes.append(process)
    return process.wait_ready() if wait else process


def up(p, **more):
    p.topics("flaky")
    p.coordinator_process = p.coordinator()
    return flaky(p, **more)


def begin(p, *payloads, txn=None, more=()):
    arguments = [word for payload in payloads for word in ("--branch", "flaky:test:" + payload)]
    return p.begin(*(["--txn", txn] if txn else []), "--timeout", "3s", *arguments, *more)


def effects(p, txn):
    rows = p.query("flaky", "SELECT what FROM flaky_effects WHERE txn_id = ? ORDER BY rowid", uuid.UUID(txn).bytes)
    return [what for what, in rows]


def a_prepare_that_retries_holds_up_nobody_else(p):
    up(p)
    slow, quick = p.txn(), p.txn()
    while p.lane(quick) != p.lane(slow):
        quick = p.txn()
    equal(begin(p, "retry:4", txn=slow, more=["--no-wait"])[0], 0, "begin")
    equal(begin(p, "plain", txn=quick)[0], 0, "the same lane goes on")
    until("the slow one commits", lambda: effects(p, slow) == ["retry:4", "committed"])
    equal(effects(p, quick), ["plain", "committed"], "the quick one")


def a_prepare_that_never_answers_gives_up_at_its_deadline(p):
    up(p)
    txn = p.txn()
    status, out, err = begin(p, "retry:99999", txn=txn, more=["--timeout", "1s"])
    equal(status, 3, out + err)
    check("TIMEOUT" in out + err, out + err)
    until("the branch is refused", lambda: p.state("flaky", txn) == 6)
    until("nothing waits any more", lambda: p.query("flaky", "SELECT count(*) FROM assent_parking") == [(0,)])
    equal(effects(p, txn), [], "no effect is left")
    until("its own NO is told", lambda: "NO" in p.ctl("txn", "show", txn)[1])


def decisions_are_retried_until_they_are_done(p):
    up(p)
    txn = p.txn()
    equal(begin(p, "commit-retry:5", txn=txn)[0], 0, "the outcome does not wait")
    until("the commit is applied once", lambda: effects(p, txn) == ["commit-retry:5", "committed"])
    txn = p.txn()
    status, out, err = begin(p, "abort-retry:5", "no", txn=txn)
    equal(status, 3, out + err)
    check("asked to" in out + err, out + err)
    until("the abort is applied once", lambda: effects(p, txn) == ["abort-retry:5", "aborted"])


def parked_messages_survive_a_crash(p):
    process = up(p, retry_ms=30000, retry_max_ms=30000)
    txn = p.txn()
    equal(begin(p, "commit-retry:1", txn=txn)[0], 0, "begin")
    until("the commit is parked", lambda: p.query("flaky", "SELECT count(*) FROM assent_parking")[0][0] == 1)
    process.kill()
    flaky(p)
    until("the commit is applied", lambda: effects(p, txn) == ["commit-retry:1", "committed"])
    until("its answer arrives", lambda: "finished" in p.ctl("txn", "show", txn)[1])
    until("nothing is parked", lambda: p.query("flaky", "SELECT count(*) FROM assent_parking")[0][0] == 0)


def a_reader_is_not_told_the_decision(p):
    up(p)
    txn = p.txn()
    equal(begin(p, "read-only", "plain", txn=txn)[0], 0, "begin")
    until("the writer commits", lambda: "committed" in effects(p, txn))
    equal(p.state("flaky", txn, 0), 7, "the reader is READ_ONLY")
    equal(p.state("flaky", txn, 1), 4, "the writer is COMMITTED")


def the_local_transaction_cannot_be_split(p):
    process = up(p)
    txn = p.txn()
    equal(begin(p, "split", txn=txn)[0], 0, "COMMIT is denied, and the handler goes on")
    until("it is applied", lambda: effects(p, txn) == ["split", "committed"])
    check(process.popen.poll() is None, "the process lives")


def a_handler_that_ends_the_local_transaction_ends_the_process(p):
    process = up(p)
    txn = p.txn()
    begin(p, "rollback", txn=txn, more=["--no-wait"])
    equal(process.popen.wait(20), 1, "exit status")
    check(process.said("ASSENT_E_HANDLER"), process.text())
    equal(effects(p, txn), [], "nothing of it is left")
    equal(p.state("flaky", txn), None, "no row either")
    again = flaky(p, wait=False)
    equal(again.popen.wait(30), 1, "it comes again: the position did not move")


def a_vote_that_is_none_ends_the_process(p):
    process = up(p)
    txn = p.txn()
    begin(p, "nonsense", txn=txn, more=["--no-wait"])
    equal(process.popen.wait(20), 1, "exit status")
    check(process.said("returned 42"), process.text())
    equal(effects(p, txn), [], "nothing of it is left")


def cut_off_in_pre_commit_commits_when_configured(p):
    """P7, on an embedded broker of its own that goes to sleep."""
    port = os.path.join(p.folder, "port")
    broker = Process("devbroker", [os.path.join(BUILD, "bin", "assent-devbroker"), "--port-file", port], p.folder)
    p.processes.append(broker)
    until("the broker is there", lambda: os.path.exists(port))
    kept = pipeline.BROKERS, pipeline.EMBEDDED
    pipeline.BROKERS, pipeline.EMBEDDED = open(port).read().strip().split("=")[1], True
    try:
        process = up(p, pre_commit_cut_off="commit")
        p.topics("flaky", "silent")
        txn = p.txn()
        # Of two branches one never acknowledges the PRE_COMMIT: answered by hand, for a service without a process.
        begin(p, "plain", txn=txn, more=["--no-wait", "--protocol", "3pc", "--branch", "silent:x:y"])
        lane = p.lane(txn)
        p.send("inbox", lane, p.craft("reply", txn, "branch=1", "service=silent", "phase=CAN_COMMIT", "answer=YES"), txn)
        until("it is pre-committed", lambda: p.state("flaky", txn) == 3)
        broker.signal(signal.SIGSTOP)
        until("it commits alone", lambda: p.state("flaky", txn) == 4, 60)
        equal(effects(p, txn), ["plain", "committed"], "the effect")
        broker.signal(signal.SIGCONT)
        check(process.said("cut off from the broker"), process.text())
        until("the log agrees", lambda: "COMMITTED" in p.ctl("txn", "show", txn)[1], 60)
        until("nothing is frozen or unpublished", lambda: process.popen.poll() is None and
              not process.said("CONTRADICTION"))
    finally:
        pipeline.BROKERS, pipeline.EMBEDDED = kept


main(a_prepare_that_retries_holds_up_nobody_else, a_prepare_that_never_answers_gives_up_at_its_deadline,
     decisions_are_retried_until_they_are_done, parked_messages_survive_a_crash, a_reader_is_not_told_the_decision,
     the_local_transaction_cannot_be_split, a_handler_that_ends_the_local_transaction_ends_the_process,
     a_vote_that_is_none_ends_the_process, cut_off_in_pre_commit_commits_when_configured)
