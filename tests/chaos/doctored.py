#!/usr/bin/env python3
"""The judge judged: a small run on the embedded broker must pass checker.py, and every doctored copy of it must be caught by
the invariant that it breaks.

  tests/chaos/doctored.py            makes the run
  tests/chaos/doctored.py FOLDER     takes that of checker.py in FOLDER

Environment: ASSENT_BUILD (build/release), TMPDIR. Prints TAP."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid

import avro
import cluster
from chaos import Report, drain, stop_services
from checker import Judge
from load import Loads
from run import BUILD, LANES, SERVICES, Failure, Run, collect


class Embedded:
    """assent-devbroker in the place of the cluster."""

    def __init__(self, folder):
        port = os.path.join(folder, "port")
        with open(os.path.join(folder, "devbroker.log"), "wb") as log:
            self.popen = subprocess.Popen([os.path.join(BUILD, "bin", "assent-devbroker"), "--port-file", port],
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while not os.path.exists(port) and time.monotonic() < end:
            time.sleep(0.05)
        with open(port, encoding="ascii") as file:
            self.servers = file.read().strip().split("=")[1]


def small_run(folder):
    """A few hundred transactions of every kind, settled. Returns the folder for the judge."""
    brokers = Embedded(folder)
    run = Run(cluster.Loopback(()), folder, brokers, broker="embedded", dev="true", replication=1, min_insync_replicas=1)
    try:
        run.up({"coordinator-1": ["--lanes", "0-%d" % (LANES - 1)]})
        loads = Loads(run)
        loads.SLOTS, loads.COUNT = 3, 40
        end = time.monotonic() + 3
        while time.monotonic() < end:
            loads.keep_up()
            time.sleep(0.05)
        drain(run, loads)
        stop_services(run)
        return collect(run, loads)
    finally:
        for service in run.services.values():
            service.kill()
        brokers.popen.kill()
        brokers.popen.wait()


class Copy:
    """A copy of the run, and what can be done to it. `txn` is a committed transaction with a branch of each service, `order`,
    `payment` and `inventory` its branches there."""

    def __init__(self, base, judge, folder):
        self.judge, self.folder = judge, folder
        shutil.copytree(base, folder)
        with open(os.path.join(folder, "world.json"), encoding="utf-8") as file:
            self.world = json.load(file)
        self.txn = next(txn for txn in judge.txns.values() if txn.commit and {branch["service"] for branch in txn.branches}
                        == set(SERVICES) and txn.protocol == "2PC")
        self.lane = avro.lane_of(self.txn.id, LANES)
        self.branch = {request["service"]: number for number, request in enumerate(self.txn.branches)}

    def save(self):
        with open(os.path.join(self.folder, "world.json"), "w", encoding="utf-8") as file:
            json.dump(self.world, file)

    def sql(self, service, statement):
        connection = sqlite3.connect(os.path.join(self.folder, service + ".db"))
        with connection:
            changed = connection.execute(statement, {"txn": self.txn.id, "branch": self.branch[service], "lane": self.lane})
            assert changed.rowcount > 0, statement
        connection.close()

    def lanes(self, topic):
        return avro.read_records(os.path.join(self.folder, topic + ".records"))

    def write(self, topic, lanes):
        avro.write_records(os.path.join(self.folder, topic + ".records"), lanes)

    def messages(self, topic, **wanted):
        """[(place in the lane, message)] of the transaction."""
        for place, (_, _, record) in enumerate(self.lanes(topic)[self.lane]):
            message = avro.decode(record)
            if message["txn_id"] == self.txn.id and all(message.get(name) == value for name, value in wanted.items()):
                yield place, message

    def change(self, topic, fields, once=False, seal=avro.seal, **wanted):
        """Every copy of a message, or only the first."""
        lanes = self.lanes(topic)
        found = list(self.messages(topic, **wanted))
        assert found, (topic, wanted)
        for place, message in found[:1] if once else found:
            offset, timestamp, _ = lanes[self.lane][place]
            lanes[self.lane][place] = offset, timestamp, seal(dict(message, **fields))
        self.write(topic, lanes)

    def replace(self, topic, **wanted):
        """Another transaction's record in the place of every copy: the offsets show nothing."""
        lanes = self.lanes(topic)
        other = next(record for _, _, record in lanes[self.lane] if avro.decode(record)["txn_id"] != self.txn.id)
        for place, _ in list(self.messages(topic, **wanted)):
            offset, timestamp, _ = lanes[self.lane][place]
            lanes[self.lane][place] = offset, timestamp, other
        self.write(topic, lanes)

    def append(self, topic, message):
        lanes = self.lanes(topic)
        records = lanes.setdefault(self.lane, [])
        timestamp = records[-1][1] if records else 0
        records.append((len(records), timestamp, avro.seal(message)))
        self.write(topic, lanes)
        self.world["ends"][topic][self.lane] += 1

    def first(self, topic, **wanted):
        return next(self.messages(topic, **wanted))[1]

    def checkpoint(self, change):
        """change: of the lane's newest one, wherever it stands."""
        newest = self.world["groups"]["coordinator"][self.lane]
        changed = [newest[0], change(newest[1])]
        self.world["groups"]["coordinator"][self.lane] = changed
        self.world["checkpoints"] = [[lane, *(changed if found == newest else found)]
                                     for lane, *found in self.world["checkpoints"]]


STRANGER = uuid.UUID("01900000-0000-7000-8000-000000000001").bytes
DOCTORED = []


def doctored(name, invariant):
    def put(function):
        DOCTORED.append((name, invariant, function))
        return function
    return put


# ---- what was published ----

@doctored("an outcome turned around", "I2")
def outcome(copy):
    copy.change("outcomes", {"outcome": "ABORTED"}, outcome="COMMITTED")


@doctored("one copy of a decision turned around", "I2")
def decision(copy):
    copy.change("payment.commands", {"phase": "ABORT"}, once=True, phase="COMMIT")


@doctored("a command with another deadline", "I3")
def deadline(copy):
    copy.change("order.commands", {"deadline_ms": 1}, phase="PREPARE")


@doctored("a command with another payload", "I3")
def payload(copy):
    copy.change("order.commands", {"payload": b"{}"}, phase="PREPARE")


@doctored("a lost outcome", "I14")
def lost_outcome(copy):
    copy.replace("outcomes", outcome="COMMITTED")


@doctored("a lost command", "I14")
def lost_command(copy):
    copy.replace("inventory.commands", phase="COMMIT")


@doctored("a decision about nobody", "I2")
def about_nobody(copy):
    copy.append("order.commands", dict(copy.first("order.commands", phase="COMMIT"), txn_id=STRANGER))


@doctored("a decision at the wrong service", "I2")
def wrong_service(copy):
    copy.append("order.commands", copy.first("payment.commands", phase="COMMIT"))


# ---- the inbox ----

@doctored("a vote turned around", "I2")
def vote(copy):
    copy.change("inbox", {"answer": "NO"}, type="REPLY", answer="YES", branch=0)


@doctored("a missing ack", "I14")
def missing_ack(copy):
    copy.replace("inbox", type="REPLY", phase="COMMIT", branch=1)


@doctored("a participant that acknowledged the opposite", "I1")
def opposite(copy):
    copy.change("inbox", {"phase": "ABORT"}, type="REPLY", phase="COMMIT", branch=1)


@doctored("an answer to nobody's command", "I14")
def unasked(copy):
    copy.append("inbox", dict(copy.first("inbox", type="REPLY"), txn_id=STRANGER))


@doctored("a second vote that differs", "I3")
def second_vote(copy):
    copy.append("inbox", dict(copy.first("inbox", type="REPLY", answer="YES"), answer="NO", reason="no"))


@doctored("a forged id", "I3")
def forged(copy):
    copy.change("inbox", {"message_id": STRANGER}, once=True, seal=avro.encode, type="REPLY")


@doctored("a record that is cut off", "I14")
def cut(copy):
    lanes = copy.lanes("inbox")
    offset, timestamp, record = lanes[copy.lane][-1]
    lanes[copy.lane][-1] = offset, timestamp, record[:-1]
    copy.write("inbox", lanes)


@doctored("a gap in the log", "I7")
def gap(copy):
    lanes = copy.lanes("outcomes")
    del lanes[copy.lane][len(lanes[copy.lane]) // 2]
    copy.write("outcomes", lanes)


@doctored("a begin and its first vote in the other order", "I2")
def swapped(copy):
    lanes = copy.lanes("inbox")
    begin, vote = next(copy.messages("inbox", type="BEGIN"))[0], next(copy.messages("inbox", type="REPLY"))[0]
    records = lanes[copy.lane]
    records[begin], records[vote] = (*records[begin][:2], records[vote][2]), (*records[vote][:2], records[begin][2])
    copy.write("inbox", lanes)


@doctored("a timestamp an hour ahead", "I2")
def ahead(copy):
    lanes = copy.lanes("inbox")
    place = next(copy.messages("inbox", type="BEGIN"))[0] + 1
    offset, timestamp, record = lanes[copy.lane][place]
    lanes[copy.lane][place] = offset, timestamp + 3600000, record
    copy.write("inbox", lanes)


@doctored("a dead letter", "I14")
def dead_letter(copy):
    topic = next(topic for topic in copy.world["ends"] if topic.endswith("-dlt"))
    copy.append(topic, copy.first("inbox", type="BEGIN"))


# ---- databases ----

for NAME, INVARIANT, SERVICE, STATEMENT in (
        ("an effect of nobody's", "I4", "payment", "INSERT INTO ledger SELECT txn_id, branch + 9, account, amount_cents, "
         "payee, applied_ms FROM ledger WHERE txn_id = :txn"),
        ("an effect twice", "I4", "inventory", "INSERT INTO shipments SELECT txn_id, branch, line + 9, sku, quantity, "
         "applied_ms FROM shipments WHERE txn_id = :txn"),
        ("a lost effect", "I4", "payment", "DELETE FROM ledger WHERE txn_id = :txn"),
        ("an effect of another amount", "I4", "payment", "UPDATE ledger SET amount_cents = 77 WHERE txn_id = :txn"),
        ("money from nowhere", "I4", "payment", "UPDATE accounts SET balance_cents = balance_cents + 1 WHERE account = 'shop'"),
        ("pieces from nowhere", "I4", "inventory", "UPDATE stock SET on_hand = on_hand + 1 WHERE sku = 'bolt'"),
        ("an order decided twice", "I4", "order", "UPDATE orders SET version = 3 WHERE txn_id = :txn"),
        ("a hold that was left", "I13", "payment", "INSERT INTO holds VALUES(:txn, :branch, 'alice', 1, 'shop')"),
        ("a branch in doubt", "I13", "order", "UPDATE assent_branch SET state = 2 WHERE txn_id = :txn"),
        ("a frozen branch", "I13", "order", "UPDATE assent_branch SET frozen = 1 WHERE txn_id = :txn"),
        ("an answer never sent", "I13", "order", "UPDATE assent_branch SET unpublished = 4 WHERE txn_id = :txn"),
        ("an answer that was another", "I3", "order", "UPDATE assent_branch SET first_answer = 3 WHERE txn_id = :txn"),
        ("a branch forgotten too early", "I4", "order", "DELETE FROM assent_branch WHERE txn_id = :txn"),
        ("a position ahead of the log", "I14", "order", "UPDATE assent_position SET next = next + 1 WHERE lane = :lane"),
        ("a record that was not processed", "I7", "order", "UPDATE assent_position SET chain = chain + 1 WHERE lane = :lane"),
        ("another log time", "I7", "order", "UPDATE assent_position SET tau_ms = tau_ms + 1 WHERE lane = :lane")):
    doctored(NAME, INVARIANT)(lambda copy, service=SERVICE, statement=STATEMENT: copy.sql(service, statement))


@doctored("a split transaction, each database sound in itself", "I1")
def split(copy):
    copy.sql("order", "UPDATE orders SET state = 'CANCELLED' WHERE txn_id = :txn")
    copy.sql("order", "UPDATE assent_branch SET state = 5, decision_phase = 5 WHERE txn_id = :txn")


# ---- groups and clients ----

@doctored("a checkpoint with another digest", "I6")
def digest(copy):
    copy.checkpoint(lambda text: text.replace("digest=", "digest=0", 1))


@doctored("a checkpoint with another log time", "I6")
def log_time(copy):
    copy.checkpoint(lambda text: text.replace("tau=-", "tau=", 1))


@doctored("a lane not read to its end", "I14")
def not_to_the_end(copy):
    copy.world["checkpoints"] = [found for found in copy.world["checkpoints"] if found[0] != copy.lane]


@doctored("a group offset short of the end", "I14")
def short(copy):
    copy.world["groups"]["payment"][copy.lane][0] -= 1


@doctored("a database that is another one", "I14")
def another(copy):
    copy.world["groups"]["payment"][copy.lane][1] = "0" * 32


@doctored("a begin that was acknowledged and is nowhere", "I8")
def nowhere(copy):
    copy.world["begins"].append({"txn": str(uuid.UUID(bytes=STRANGER)), "acked": True, "told": None})


@doctored("a client that was told the opposite", "I8")
def told(copy):
    copy.world["begins"].append({"txn": str(uuid.UUID(bytes=copy.txn.id)), "acked": True, "told": "ABORTED"})


@doctored("a load that was told of one commit more", "I8")
def more_commits(copy):
    next(load for load in copy.world["loads"] if load["told"])["told"]["committed"] += 1


@doctored("a load with a begin more than the log has", "I8")
def lost_begin(copy):
    next(load for load in copy.world["loads"] if load["told"])["told"]["count"] += 1


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    folder = tempfile.mkdtemp(prefix="doctored.")
    try:
        base = sys.argv[1] if len(sys.argv) > 1 else small_run(folder)
        judge = Judge(base).run()
        faults = [line for _, holds, lines in judge.report() if not holds for line in lines or ["nothing was checked"]]
        report.check("the run itself is sound: %s" % judge.summary()[0], not faults, faults)
        for number, (name, invariant, function) in enumerate(DOCTORED):
            copy = Copy(base, judge, os.path.join(folder, str(number)))
            function(copy)
            copy.save()
            found = Judge(copy.folder).run().violations
            lines = [] if found[invariant] else ["%s %s" % each for each in found.items()]
            report.check("%s is noticed (%s)" % (name, invariant), found[invariant], lines)
            shutil.rmtree(copy.folder)
    except (Failure, RuntimeError, OSError) as error:
        report.check("the run comes to its end", False, str(error).splitlines())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("1..%d" % report.count)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
