#!/usr/bin/env python3
"""Records that no well-meaning sender writes: each gets its verdict, a counter and a log line, the lane goes on, nothing is
lost."""
import json
import re
import uuid

from pipeline import EMBEDDED, LANES, branches, check, equal, main, until

RECORD_BYTES_MAX = 65536


def up(p):
    p.settings["record_bytes_max"] = RECORD_BYTES_MAX
    return p.up()


def count(process, name, wanted):
    """The counter that a daemon tells of when it stops."""
    equal(process.stop(), 0, "stop")
    found = re.search(r'event="?stopped"?.* %s=(\d+)' % name, process.text())
    check(found, process.text())
    equal(int(found.group(1)), wanted, "%s of %s" % (name, process.name))


def lane_goes_on(p, lane, name):
    """A transaction of this very lane commits after whatever was sent."""
    txn = p.txn()
    while p.lane(txn) != lane:
        txn = p.txn()
    status, out, err = p.begin("--txn", txn, *branches(name, 10, 1))
    equal(status, 0, "a transaction after it: " + out + err)
    p.audit()


def dead_letters(p, topic, offset, lane):
    return [r for r in p.tail(topic + "-dlt") if r.get("lane", r.get("partition")) == lane]


def expect_refused(p, verdict, why, offset):
    until("the coordinator says %s about offset %d" % (verdict, offset),
          lambda: p.coordinator_process.said(r'record refused.*offset=%d .*%s.*%s' % (offset, verdict, why)))


def garbage_in_the_inbox_is_dead_lettered(p):
    up(p)
    good = p.craft("cancel", p.txn())
    cases = [(b"\x00\x01garbage", "NO_MARKER"), (b"x", "NO_MARKER"), (b"\xc3\x01" + b"\x11" * 8 + b"zz", "UNKNOWN_SCHEMA"),
             (good[:-3], "BAD_BODY|TRUNCATED"), (good + b"\0", "TRAILING_BYTES"), (good[:6], "TRUNCATED")]
    for lane in range(LANES):
        data, why = cases[lane]
        expect_refused(p, "MALFORMED", why, p.send("inbox", lane, data))
    for data, why in cases:
        expect_refused(p, "MALFORMED", why, p.send("inbox", 0, data))
    until("they are in the dead-letter topic, byte for byte", lambda: len(p.tail("inbox-dlt")) == LANES + len(cases))
    for lane in range(LANES):
        lane_goes_on(p, lane, "o-%d" % lane)
    count(p.coordinator_process, "MALFORMED", LANES + len(cases))


def an_oversized_record_is_refused_and_costs_nothing_else(p):
    up(p)
    offset = p.send("inbox", 1, b"\xc3\x01" + b"z" * (RECORD_BYTES_MAX - 1))
    check(offset is not None, "one byte past the limit fits the topic")
    expect_refused(p, "MALFORMED", "TOO_LARGE", offset)
    if not EMBEDDED:
        check(p.send("inbox", 1, b"z" * 900000) is None, "the broker refuses what the topic does not take")
    lane_goes_on(p, 1, "o-1")
    # A payload that the begin can carry, but not the begin itself: a clear error at the client, before anything is sent.
    big = "payment:charge:" + json.dumps({"account": "alice", "amount_cents": 1, "payee": "x" * RECORD_BYTES_MAX})
    status, out, err = p.begin("--branch", big)
    check(status in (1, 2, 6) and ("limit" in err.lower() or "large" in err.lower() or str(RECORD_BYTES_MAX) in err), out + err)


def forged_replies_change_nothing(p):
    up(p)
    p.services["inventory"].signal(19)  # SIGSTOP: its vote is missing
    txn = p.txn()
    status, out, err = p.begin("--txn", txn, "--no-wait", "--timeout", "4s", *branches("o-1", 10, 1))
    equal(status, 0, out + err)
    until("order and payment have voted", lambda: [p.state(s, txn) for s in ("order", "payment")] == [2, 2])
    lane = p.lane(txn)
    forged = [("branch=7", "service=inventory"), ("branch=2", "service=payment"), ("branch=2", "service=inventory", "phase=CAN_COMMIT"),
              ("branch=2", "service=inventory", "id=bad"), ("branch=63", "service=inventory")]
    for words in forged:
        offset = p.send("inbox", lane, p.craft("reply", txn, "answer=YES", *words))
        expect_refused(p, "FORGED", "", offset)
    for service in ("payment", "order"):
        equal(p.state(service, txn), 2, "%s is still in doubt" % service)
    p.services["inventory"].signal(18)
    until("the real vote counts", lambda: p.state("payment", txn) == 4)
    lane_goes_on(p, lane, "o-2")
    count(p.coordinator_process, "FORGED", len(forged))


def text(value):
    """A short Avro string or bytes: its length as a zigzag number, and itself."""
    check(len(value) < 64, "one byte of length")
    return bytes([2 * len(value)]) + value.encode()


def a_begin_with_65_branches_is_rejected_and_64_are_not(p):
    up(p)
    payload = '{"account":"alice","amount_cents":1,"payee":"shop"}'
    for count, verdict in ((65, "LIMIT"), (64, None)):
        txn = p.txn()
        begin = p.craft("begin", txn, "branches=64", "timeout=4000", "kind=charge", "payload=" + payload)
        if count == 65:  # no encoder of ours writes it: one more block of the array, of one item
            begin = begin[:-1] + b"\x02" + b"".join(text(t) for t in ("payment", "charge", payload)) + b"\0"
        offset = p.send("inbox", p.lane(txn), begin, txn)
        if verdict:
            expect_refused(p, verdict, verdict, offset)
            outcomes = lambda: [r for r in p.tail("outcomes") if r["message"]["txn_id"] == txn]
            until("the client is told", outcomes)
            equal([(r["message"]["outcome"], r["message"]["reason"]) for r in outcomes()], [("REJECTED", verdict)], "outcome")
        else:
            until("its outcome", lambda: [r for r in p.tail("outcomes") if r["message"]["txn_id"] == txn])
            story = p.ctl("txn", "show", txn)[1]
            check("COMMITTED" in story, story)
            until("it is applied", lambda: p.query("payment", "SELECT count(*) FROM ledger WHERE txn_id = ?",
                                                        uuid.UUID(txn).bytes)[0][0] == 64)
        lane_goes_on(p, p.lane(txn), "o-%d" % count)


def hostile_commands_are_not_applied(p):
    up(p)
    txn = p.txn()
    lane = p.lane(txn)
    payment = p.services["payment"]
    far = "deadline=99999999999999"
    cases = [(b"junk", lane, "MALFORMED"),
             (p.craft("command", txn, "service=inventory", far), lane, "MISROUTED"),
             (p.craft("command", txn, "service=payment", far), (lane + 1) % LANES, "MISROUTED"),
             (p.craft("command", txn, "service=payment", "branch=5", "branches=2", far), lane, "FORGED"),
             (p.craft("command", txn, "service=payment", "id=bad", far), lane, "FORGED"),
             (p.craft("reply", txn), lane, "FOREIGN")]
    for data, to, verdict in cases:
        offset = p.send("payment.commands", to, data)
        until("%s at offset %d" % (verdict, offset),
              lambda: payment.said(r"command not applied.*lane=%d .*offset=%d .*%s" % (to, offset, verdict)))
    equal(p.query("payment", "SELECT count(*) FROM assent_branch"), [(0,)], "nothing is stored")
    until("all are in the dead-letter topic", lambda: len(p.tail("payment.commands-dlt")) == len(cases))
    # A commit for a branch that never voted contradicts the rules: the branch is frozen, everything else goes on (P8).
    p.send("payment.commands", lane, p.craft("command", txn, "service=payment", "phase=COMMIT", far))
    until("the alarm", lambda: payment.said("CONTRADICTION"))
    lane_goes_on_frozen(p, lane)
    count(payment, "MISROUTED", 2)


def lane_goes_on_frozen(p, lane):
    txn = p.txn()
    while p.lane(txn) != lane:
        txn = p.txn()
    status, out, err = p.begin("--txn", txn, *branches("o-9", 10, 1))
    equal(status, 0, "a transaction after it: " + out + err)


def a_begin_in_the_wrong_lane_is_rejected(p):
    up(p)
    txn = p.txn()
    lane = (p.lane(txn) + 1) % LANES
    offset = p.send("inbox", lane, p.craft("begin", txn), txn)
    expect_refused(p, "MISROUTED", "MISROUTED", offset)
    lane_goes_on(p, lane, "o-1")


def an_unknown_service_aborts_at_once(p):
    up(p)
    status, out, err = p.begin("--branch", "no-such-service:kind:{}", *branches("o-1", 10, 1), "--timeout", "4s")
    equal(status, 3, out + err)
    check("UNDELIVERABLE" in out + err, out + err)
    p.audit()
    count(p.coordinator_process, "undeliverable", 2)  # the PREPARE, and the ABORT that nobody can be reading


def shedding_is_decided_by_the_log(p):
    p.settings["in_flight_soft"] = 2
    up(p)
    p.services["inventory"].signal(19)  # SIGSTOP: what begins stays in flight
    lane, txns = 0, []
    while len(txns) < 4:
        txn = p.txn()
        if p.lane(txn) == lane:
            txns.append(txn)
            status, out, err = p.begin("--txn", txn, "--no-wait", "--timeout", "4s", *branches("o-%d" % len(txns), 10, 1))
            equal(status, 0, out + err)
            until("it is in the lane", lambda: p.state("payment", txn))
    until("the third and the fourth are shed", lambda: [p.state("payment", txn) for txn in txns] == [2, 2, 5, 5])
    p.services["inventory"].signal(18)
    until("the others commit", lambda: [p.state("payment", txn) for txn in txns] == [4, 4, 5, 5])
    check("OVERLOAD" in p.ctl("txn", "show", txns[2])[1], p.ctl("txn", "show", txns[2])[1])
    p.audit()


main(garbage_in_the_inbox_is_dead_lettered, an_oversized_record_is_refused_and_costs_nothing_else,
     forged_replies_change_nothing, a_begin_with_65_branches_is_rejected_and_64_are_not, hostile_commands_are_not_applied,
     a_begin_in_the_wrong_lane_is_rejected, an_unknown_service_aborts_at_once, shedding_is_decided_by_the_log)
