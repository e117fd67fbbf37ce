#!/usr/bin/env python3
"""What must not start does not start, and says why; and the idempotent consumer."""
import os
import shutil
import subprocess
import time

from pipeline import BROKERS, BUILD, EMBEDDED, LANES, branches, check, equal, main, until


def ends(process, pattern, seconds=40):
    status = process.popen.wait(seconds)
    equal(status, 1, "exit status of %s:\n%s" % (process.name, process.text()))
    check(process.said(pattern), "%s should say %r:\n%s" % (process.name, pattern, process.text()))


def without_topics_everybody_refuses(p):
    p.settings["start_timeout_ms"] = 2000
    for process in (p.launch("assent-coordinator"), p.launch("assent-payment", "--db", p.db("payment"))):
        ends(process, "topics apply")


def other_settings_are_refused_with_both_values(p):
    p.up("payment")
    p.services["payment"].stop()
    p.coordinator_process.stop()
    p.settings["window_ms"] = 9001
    arguments = ["--lanes", "0-%d" % (LANES - 1)] if EMBEDDED else []
    ends(p.launch("assent-coordinator", *arguments), r"window_ms=9001.*window_ms=9000|window_ms=9000.*window_ms=9001")
    ends(p.launch("assent-payment", "--db", p.db("payment")), r"window_ms=9000.*window_ms=9001")
    status, out, err = p.ctl("topics", "apply", "--service", "payment")
    equal(status, 1, out + err)
    check("9001" in out + err and "9000" in out + err, out + err)
    p.settings["window_ms"] = 9000
    p.settings["lanes_count"] = 5
    ends(p.launch("assent-payment", "--db", p.db("other")), "lanes")


def a_second_owner_of_a_database_is_refused(p):
    p.up("payment")
    ends(p.launch("assent-payment", "--db", p.db("payment"), name="second"), "own|lock")
    check(p.services["payment"].popen.poll() is None, "the first goes on")


def a_second_database_for_the_same_lanes_is_refused(p):
    p.up("payment", "order", "inventory")
    p.begin(*branches("o-1", 10, 1))
    p.audit()
    until("the group has an offset", lambda: p.services["payment"].stop() == 0)
    ends(p.launch("assent-payment", "--db", p.db("other"), name="second"), "Two databases")


def two_new_databases_that_start_at_one_moment_do_not_both_stay(p):
    p.topics()
    both = [p.launch("assent-payment", "--db", p.db(name), name=name) for name in ("one", "two")]
    until("one of them stops", lambda: any(process.popen.poll() is not None for process in both), 30)
    loser = next(process for process in both if process.popen.poll() is not None)
    ends(loser, "Two databases")


def a_database_from_an_old_backup_is_refused(p):
    p.up()
    p.begin(*branches("o-1", 10, 1))
    p.audit()
    equal(p.services["payment"].stop(), 0, "stop")
    for end in ("", "-wal", "-shm"):
        if os.path.exists(p.db("payment") + end):
            shutil.copy(p.db("payment") + end, p.db("backup") + end)
    p.services["payment"] = p.participant("payment")
    p.begin(*branches("o-2", 10, 1))
    p.audit()
    equal(p.services["payment"].stop(), 0, "stop")
    ends(p.launch("assent-payment", "--db", p.db("backup"), name="restored"), "restored from an old copy|bring back")


def a_foreign_service_name_is_refused(p):
    p.up("payment")
    p.services["payment"].stop()
    ends(p.launch("assent-inventory", "--db", p.db("payment")), 'service.*"?payment')


def a_group_offset_without_a_checkpoint_stops_the_coordinator(p):
    p.up("payment", "order", "inventory")
    p.begin(*branches("o-1", 10, 1))
    time.sleep(0.6)
    p.coordinator_process.stop()
    # What an offset-reset tool leaves behind.
    counter = [os.path.join(BUILD, "tests", "reset_offset"), BROKERS, p.prefix + ".inbox", p.prefix + ".coordinator", "0", "1"]
    subprocess.run(counter, check=True, timeout=30)
    arguments = ["--lanes", "0-%d" % (LANES - 1)] if EMBEDDED else []
    ends(p.launch("assent-coordinator", *arguments), "carries no checkpoint")


def a_takeover_that_cannot_prove_itself_stops(p):
    p.up()
    p.begin(*branches("o-1", 10, 1))
    p.audit()
    time.sleep(0.6)
    equal(p.coordinator_process.stop(), 0, "stop")
    subprocess.run([os.path.join(BUILD, "tests", "reset_offset"), BROKERS, p.prefix + ".inbox", p.prefix + ".coordinator", "2",
                    "corrupt"], check=True, timeout=30)
    arguments = ["--lanes", "0-%d" % (LANES - 1)] if EMBEDDED else []
    stopped = p.launch("assent-coordinator", *arguments)
    ends(stopped, r"lane 2 .*digest [0-9a-f]{16}.*takeover_override=2")
    p.settings["takeover_override"] = 2
    successor = p.coordinator()
    until("the override is loud", lambda: successor.said("NOT proved, overridden"))
    status, out, err = p.begin(*branches("o-2", 10, 1))
    equal(status, 0, out + err)
    p.audit()


def each_message_id_counts_once(p):
    p.topics()

    def counter(name="counter"):
        from pipeline import Process
        process = Process(name, [os.path.join(BUILD, "tests", "counter"), *p.common(), "--db", p.db("counter"), "--set",
                                 "app.topic=%s.outcomes" % p.prefix, "--set", "app.group=%s.counter" % p.prefix], p.folder)
        p.processes.append(process)
        return process.wait_ready()

    def publish(lane, key, value, message_id=None):
        header = ["-H", "ce_id=" + message_id] if message_id else []
        subprocess.run([os.path.join(BUILD, "tests", "rawsend"), "-b", BROKERS, "-t", p.prefix + ".outcomes", "-p",
                        str(lane), "-k", key, *header], input=value.encode(), check=True, capture_output=True)

    process = counter()
    for _ in range(3):
        publish(0, "a", "one", "id-1")
        publish(1, "b", "two", "id-2")
    publish(0, "a", "other bytes", "id-1")
    publish(0, "a", "three", "id-3")
    publish(2, "c", "no id")
    publish(2, "d", "retry:2", "id-4")
    publish(2, "e", "behind it", "id-5")
    counts = lambda: dict(p.query("counter", "SELECT key, n FROM counts"))
    until("all are counted", lambda: counts() == {"a": 2, "b": 1, "d": 1, "e": 1})
    check(process.said("CONFLICT") and process.said("no message id"), process.text())
    process.kill()
    process = counter()
    publish(0, "a", "one", "id-1")
    publish(0, "f", "six", "id-6")
    until("after a crash too", lambda: counts() == {"a": 2, "b": 1, "d": 1, "e": 1, "f": 1})
    equal(process.stop(), 0, "a drain ends with status 0")


main(without_topics_everybody_refuses, other_settings_are_refused_with_both_values, a_second_owner_of_a_database_is_refused,
     a_second_database_for_the_same_lanes_is_refused, two_new_databases_that_start_at_one_moment_do_not_both_stay, a_database_from_an_old_backup_is_refused,
     a_foreign_service_name_is_refused, a_group_offset_without_a_checkpoint_stops_the_coordinator,
     a_takeover_that_cannot_prove_itself_stops, each_message_id_counts_once)
