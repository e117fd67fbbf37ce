#!/usr/bin/env python3
"""The pipeline as its users see it: commits, refusals, repeats, 3PC, and deaths in the middle."""
import json
import re
import signal
import time
import uuid

from pipeline import EMBEDDED, LANES, PATIENT, branches, check, equal, main, until

PREPARED, COMMITTED, ABORTED = 2, 4, 5


def balance(p):
    return p.query("payment", "SELECT balance_cents, held_cents FROM accounts WHERE account = 'alice'")[0]


def an_order_commits_everywhere(p):
    p.up()
    before = balance(p)
    status, out, err = p.begin(*branches("o-1", 1250, 2))
    equal(status, 0, out + err)
    until("the charge is applied", lambda: balance(p) == (before[0] - 1250, 0))
    until("the order is confirmed", lambda: p.query("order", "SELECT state, version FROM orders") == [("CONFIRMED", 2)])
    p.audit()


def a_refusal_aborts_everywhere_and_its_reason_reaches_the_client(p):
    p.up()
    before = balance(p)
    status, out, err = p.begin(*branches("o-1", 99999999, 1))
    equal(status, 3, out + err)
    check("payment" in out + err and "short" in out + err, "the reason is told: " + out + err)
    until("the order is cancelled", lambda: p.query("order", "SELECT state FROM orders") in ([("CANCELLED",)], []))
    equal(balance(p), before, "balance")
    p.audit()


def the_same_transaction_twice_has_one_effect(p):
    p.up()
    before, txn = balance(p), p.txn()
    for _ in range(3):
        status, out, err = p.begin("--txn", txn, *branches("o-1", 100, 1))
        equal(status, 0, out + err)
    p.audit()
    equal(balance(p)[0], before[0] - 100, "charged once")
    status, out, err = p.begin("--txn", txn, *branches("o-1", 101, 1), wait="5s")
    equal(status, 6, "the same id with other contents is rejected: " + out + err)
    check("CONFLICT" in out + err, "and the reason is told: " + out + err)


def three_phases_commit_and_are_told(p):
    p.up()
    status, out, err = p.begin("--protocol", "3pc", "--completed", "--json", *branches("o-1", 100, 1))
    equal(status, 0, out + err)
    txn = json.loads(out)["txn"] if "txn" in json.loads(out) else json.loads(out)["txn_id"]
    status, story, err = p.ctl("txn", "show", txn)
    equal(status, 0, err)
    check("3PC" in story and "PRE_COMMIT" in story, story)
    p.audit()


def a_participant_killed_between_vote_and_decision_finishes(p):
    p.settings.update(PATIENT)
    p.up()
    before, txn = balance(p), p.txn()
    # Inventory sleeps, so that the decision cannot fall before payment is dead.
    p.services["inventory"].signal(signal.SIGSTOP)
    status, out, err = p.begin("--no-wait", "--timeout", "15s", "--txn", txn, *branches("o-1", 300, 1))
    equal(status, 0, out + err)
    until("payment has voted", lambda: [r for r in p.tail("inbox") if r["message"].get("service") == "payment" and
                                        r["message"]["txn_id"] == txn])
    equal(p.state("payment", txn), PREPARED, "payment")
    p.services["payment"].kill()
    p.services["inventory"].signal(signal.SIGCONT)
    until("order is told", lambda: p.state("order", txn) == COMMITTED)
    equal(p.state("payment", txn), PREPARED, "payment is dead and in doubt")
    p.participant("payment")
    until("it is applied", lambda: p.state("payment", txn) == COMMITTED)
    p.audit()
    equal(balance(p), (before[0] - 300, 0), "charged once")


def without_a_coordinator_the_lane_decides(p):
    p.up()
    p.services["inventory"].signal(signal.SIGSTOP)
    txn = p.txn()
    status, out, err = p.begin("--txn", txn, "--no-wait", "--timeout", "3s", *branches("o-1", 500, 1))
    equal(status, 0, out + err)
    until("payment has voted", lambda: p.state("payment", txn) == PREPARED)
    p.coordinator_process.kill()
    p.services["inventory"].signal(signal.SIGCONT)
    for service in p.services:
        until("%s commits by itself" % service, lambda: p.state(service, txn) == COMMITTED, 30)
        check(p.services[service].said("the lane says"), "by evaluating the lane")
    p.audit()
    p.coordinator()
    status, out, err = p.ctl("txn", "show", txn)
    check(status == 0 and "COMMIT" in out, out + err)


def votes_missing_without_a_coordinator_abort(p):
    p.up()
    p.services["inventory"].kill()
    txn = p.txn()
    status, out, err = p.begin("--txn", txn, "--no-wait", "--timeout", "4s", *branches("o-1", 500, 1))
    until("payment has voted", lambda: p.state("payment", txn) == PREPARED)
    p.coordinator_process.kill()
    for service in ("payment", "order"):
        until("%s aborts by itself" % service, lambda: p.state(service, txn) == ABORTED, 30)
    p.participant("inventory")
    coordinator = p.coordinator()
    until("inventory is told too", lambda: p.state("inventory", txn) in (5, 6, 8), 30)
    p.audit()
    coordinator.stop()


def a_takeover_replays_and_proves_itself(p):
    p.up()
    for i in range(20):
        p.begin("--no-wait", *branches("o-%d" % i, 10, 1))
    until("all are applied", lambda: p.query("payment", "SELECT count(*) FROM ledger")[0][0] == 20)
    time.sleep(0.6)
    p.coordinator_process.kill()
    successor = p.coordinator()
    status, out, err = p.begin(*branches("o-next", 10, 1))
    equal(status, 0, out + err)
    until("every lane with a checkpoint was proved",
          lambda: len(successor.text().split("takeover proved")) - 1 >= 1)
    check(not successor.said("NOT proved"), successor.text())
    equal(successor.stop(), 0, "a drain ends with status 0")
    p.audit()


def a_takeover_begins_behind_what_the_window_has_closed(p):
    """R12 and R13 with a start above 0: what is older than W is not replayed, and an old begin does not come to life again."""
    p.settings.update(window_ms=9000, skew_ms=300, timeout_max_ms=4000, grace_ms=200, horizon_ms=20000)
    p.up()
    old = p.txn()
    equal(p.begin("--txn", old, *branches("o-old", 10, 1))[0], 0, "begin")

    def one_in_each_lane(number):
        """Log time moves with a lane's own records only."""
        lanes = set()
        while len(lanes) < LANES:
            txn = p.txn()
            if p.lane(txn) not in lanes:
                lanes.add(p.lane(txn))
                equal(p.begin("--txn", txn, *branches("o-%d.%d" % (number, len(lanes)), 10, 1))[0], 0, "begin")
    one_in_each_lane(1)
    time.sleep(10)  # longer than window and skew
    one_in_each_lane(2)
    time.sleep(1)  # checkpoints
    p.coordinator_process.kill()
    status, out, err = p.begin("--txn", old, "--no-wait", *branches("o-old", 10, 1))
    successor = p.coordinator()
    until("every lane is proved", lambda: len(re.findall("takeover proved", successor.text())) == LANES)
    starts = [int(start) for start in re.findall(r"lane taken, replaying.* from=(\d+)", successor.text())]
    check(any(start > 0 for start in starts), "some replay begins above 0: %r" % starts)
    status, out, err = p.begin(*branches("o-last", 10, 1))
    equal(status, 0, out + err)
    status, story, err = p.ctl("txn", "show", old)
    p.audit()
    equal(p.query("payment", "SELECT count(*) FROM ledger WHERE txn_id = ?", uuid.UUID(old).bytes), [(1,)], "one effect")
    until("the copy is refused", lambda: [r for r in p.tail("outcomes") if r["message"]["txn_id"] == old and
                                          r["message"].get("reason") == "STALE"])


def a_tail_is_whole_while_others_write(p):
    p.up()
    txns = [p.txn() for _ in range(3 * LANES)]
    for number, txn in enumerate(txns):
        equal(p.begin("--txn", txn, "--no-wait", *branches("o-%d" % number, 10, 1))[0], 0, "begin")
    load = p.launch("assent-load", "--rate", "2000", "--duration", "10s", "--in-flight", "2000", "--quiet")
    began = time.monotonic()
    while time.monotonic() < began + 5:
        told = {record["message"].get("txn_id") for record in p.tail("inbox")}
        equal(set(txns) - told, set(), "what was there is told")
    load.signal(signal.SIGINT)
    load.popen.wait(30)
    p.audit(wait="60s")


def a_drain_ends_cleanly_and_a_restart_finds_nothing_to_do(p):
    p.up()
    status, out, err = p.begin(*branches("o-1", 10, 1))
    equal(status, 0, out + err)
    p.audit()
    for process in [p.coordinator_process, *p.services.values()]:
        equal(process.stop(), 0, process.name)
    p.coordinator()
    for service in p.services:
        p.participant(service)
    status, out, err = p.begin(*branches("o-2", 10, 1))
    equal(status, 0, out + err)
    p.audit()


main(an_order_commits_everywhere, a_refusal_aborts_everywhere_and_its_reason_reaches_the_client,
     the_same_transaction_twice_has_one_effect, three_phases_commit_and_are_told,
     a_participant_killed_between_vote_and_decision_finishes, without_a_coordinator_the_lane_decides,
     votes_missing_without_a_coordinator_abort, a_takeover_replays_and_proves_itself,
     a_takeover_begins_behind_what_the_window_has_closed, a_tail_is_whole_while_others_write,
     a_drain_ends_cleanly_and_a_restart_finds_nothing_to_do)
