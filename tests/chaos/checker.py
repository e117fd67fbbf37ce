#!/usr/bin/env python3
"""The judge of a finished run: what the logs and the databases say, held against the rules, without a line of the framework.

  checker.py FOLDER      world.json (who took part, what clients were told, where the logs end, group offsets),
                         TOPIC.records (kcat, see avro.py), SERVICE.db

Prints one line of TAP for each invariant with the number of facts that were checked; ends with 1 if any was violated."""
import collections
import json
import os
import sqlite3
import sys
import uuid

import avro
from lane import NEVER, Lane

INVARIANTS = {
    "I1": "agreement: nothing is committed at one participant and aborted at another",
    "I2": "validity: what coordinators published is what the rules make of the log in offset order",
    "I3": "stability: copies of a message are the same bytes, ids follow from the fields",
    "I4": "effects: one for each committed branch, none for another; orders, money and stock add up",
    "I6": "replay: each checkpoint has the digest of an evaluation from the log's first record",
    "I7": "order: no gaps in the logs, and participants processed just what is in them",
    "I8": "begins: those that a client saw acknowledged have one outcome, and it is what the client was told",
    "I13": "residue: nothing held, in doubt, parked, frozen or unsent",
    "I14": "logs: nothing lost or unasked for, all read to the end, no dead letters",
}
SHOWN = 5
FIRST = ("PREPARE", "CAN_COMMIT")
STATES = {4: True, 5: False, 6: False, 7: None, 8: False}  # committed, aborted, refused, read-only, tombstone
FROM = {"phase": {number: word for word, number in avro.NUMBERS["phase"].items()},
        "answer": {number: word for word, number in avro.NUMBERS["answer"].items()}}


def text(txn_id):
    return str(uuid.UUID(bytes=txn_id))


class Judge:
    def __init__(self, folder):
        self.folder = folder
        self.checked, self.violations, self.facts = collections.Counter(), collections.defaultdict(list), collections.Counter()
        with open(os.path.join(folder, "world.json"), encoding="utf-8") as file:
            self.world = json.load(file)
        self.lanes = range(self.world["lanes"])
        self.records = {topic: avro.read_records(os.path.join(folder, topic + ".records")) for topic in self.world["ends"]}
        self.evaluated, self.txns = {}, {}
        self.answers = {}  # {(txn id, branch, phase class): (phase, answer)}
        self.reached = {}  # {message id of a command: log time of its lane where it first stands}
        self.begun = collections.defaultdict(collections.Counter)  # {timeout: {txn id: copies}}

    def check(self, code, holds, what, *values):
        self.checked[code] += 1
        if not holds:
            self.violations[code].append(what % values)

    # ---- the logs ----

    def offsets(self):
        for topic, ends in self.world["ends"].items():
            for lane in self.lanes:
                found = [offset for offset, _, _ in self.records[topic].get(lane, [])]
                self.check("I7", found == list(range(ends[lane])), "%s lane %d: read %d records, the log has %d", topic, lane,
                           len(found), ends[lane])
            if topic.endswith("-dlt"):
                self.check("I14", not any(ends), "%s has %d records", topic, sum(ends))

    def evaluate(self, number):
        lane = Lane(number)
        copies, starts, ends = {}, {}, collections.defaultdict(list)  # checkpoints by where they start and end
        for checkpoint in self.checkpoints(number):
            starts[checkpoint["start"]] = None
            ends[checkpoint["next"]].append(checkpoint)
        for offset, timestamp, record in self.records["inbox"].get(number, []):
            if offset in starts:
                starts[offset] = lane.tau
            try:
                message = avro.decode(record)
            except avro.Malformed as error:
                message = None
                self.check("I14", False, "inbox lane %d offset %d is malformed: %s", number, offset, error)
            if message:
                self.same("inbox", message, record, copies)
                self.note(number, message)
            lane.step(offset, timestamp, message)
            for checkpoint in ends[offset + 1]:
                self.prove(lane, checkpoint, starts.get(checkpoint["start"], lane.tau))
        for first, second in lane.contradictions:
            self.check("I2", False, "the rules themselves say both %s and %s", first, second)
        return lane

    def same(self, topic, message, record, copies):
        """What clients send under one id may differ: a begin of something else (R2), a cancel for another reason; and whoever
        asks again after a restart may have seen more."""
        if message["type"] == "CONTROL":
            record = dict(message, lamport=0)
        known = copies.setdefault(message["message_id"], record)
        free = message["type"] == "BEGIN" or message["type"] == "CONTROL" and message["kind"] == "CANCEL"
        self.check("I3", (free or known == record) and message["message_id"] == avro.message_id(message),
                   "%s: %s of %s is forged or differs from an earlier copy", topic, message["type"], text(message["txn_id"]))

    def note(self, number, message):
        if message["type"] == "BEGIN":
            self.begun[message["timeout_ms"]][message["txn_id"]] += 1
        elif message["type"] == "REPLY":
            place = message["txn_id"], message["branch"], avro.CLASSES[message["phase"]]
            self.answers[place] = message["phase"], message["answer"]
        elif message["type"] == "CONTROL":
            self.facts[message["kind"]] += 1
        else:
            self.check("I14", False, "a %s in lane %d of the inbox", message["type"], number)

    def published(self, lane):
        """Everything that coordinators sent must be what this lane's records ask for, byte for byte, and all of it be there."""
        seen = set()
        for topic, service in [("outcomes", None)] + [(name + ".commands", name) for name in self.world["services"]]:
            tau = NEVER
            for offset, timestamp, record in self.records[topic].get(lane.number, []):
                tau = max(tau, timestamp)
                self.reached.setdefault(record[10:26], tau)
                wanted = lane.emitted.get(record[10:26])
                if wanted == (service, record):
                    self.checked["I2"] += 1
                    self.checked["I3"] += 1
                    self.facts["again"] += record[10:26] in seen
                    seen.add(record[10:26])
                else:
                    self.strange("%s lane %d offset %d" % (topic, lane.number, offset), record, wanted)
        for message_id, (service, record) in lane.emitted.items():
            if service and service not in self.world["services"]:
                continue  # R18: there is nobody to tell
            self.checked["I14"] += 1
            if message_id not in seen:
                message = avro.decode(record)
                self.check("I14", False, "%s was never published", self.told(message))

    @staticmethod
    def told(message):
        return "%s%s of %s" % (message.get("phase") or message.get("outcome") or message["type"],
                               " to %s (branch %d)" % (message["service"], message["branch"]) if "branch" in message else "",
                               text(message["txn_id"]))

    def strange(self, where, record, wanted):
        try:
            message = avro.decode(record)
        except avro.Malformed as error:
            self.check("I14", False, "%s is malformed: %s", where, error)
            return
        if not wanted or not where.startswith(wanted[0] or "outcomes"):
            self.check("I2", False, "%s: %s does not follow from the log", where, self.told(message))
            return
        wanted = avro.decode(wanted[1])
        differing = [name for name in message if message[name] != wanted.get(name)]
        self.check("I2" if {"phase", "outcome"} & set(differing) else "I3", False, "%s: %s where the log says %s (%s)", where,
                   self.told(message), self.told(wanted), ", ".join("%s %r, not %r" % (name, message[name], wanted.get(name))
                                                                    for name in differing))

    def answered(self, lane):
        """Every command has its answer, and no answer is without its command."""
        for txn in lane.all.values():
            self.check("I8", txn.decided, "%s has no outcome", text(txn.id))
            for branch, request in enumerate(txn.branches):
                if request["service"] not in self.world["services"]:
                    continue
                wanted = [FIRST[txn.protocol == "3PC"], None, None]
                if txn.asked_pre_commit and txn.votes[branch] == "YES":
                    wanted[1] = "PRE_COMMIT"
                if txn.decided and branch in txn.owed():
                    wanted[2] = "COMMIT" if txn.commit else "ABORT"
                for number, phase in enumerate(wanted, 1):
                    found = self.answers.get((txn.id, branch, number), (None, None))[0]
                    if not found and self.beyond_horizon(txn, branch, phase):
                        continue
                    self.check("I1" if found and phase and found != phase else "I14", found == phase,
                               "%s branch %d answered %s, was asked for %s", text(txn.id), branch, found, phase)

    def beyond_horizon(self, txn, branch, phase):
        """P4: a first phase that comes so late is skipped, for an answer to it may have been given and forgotten. P12: an ABORT
        that comes so late to a branch without a row is answered and not noted, so a crash may take that answer with it."""
        if phase not in FIRST and (phase != "ABORT" or (txn.id, branch, 1) in self.answers):
            return False
        command = {"type": "COMMAND", "txn_id": txn.id, "branch": branch, "phase": phase}
        late = self.reached.get(avro.message_id(command), NEVER) - self.world["horizon_ms"] > txn.deadline
        self.facts["beyond horizon"] += late
        return late

    def unasked(self):
        for txn_id, branch, _ in self.answers:
            self.check("I14", txn_id in self.txns and branch < len(self.txns[txn_id].branches), "an answer about %s branch %d, "
                       "which was never begun", text(txn_id), branch)

    def checkpoints(self, number):
        """Those that were seen during the run, and the last one."""
        for offset, metadata in {tuple(found) for lane, *found in self.world["checkpoints"] if lane == number}:
            words = dict(word.split("=", 1) for word in metadata.split(" ")[2:5])
            yield {"start": offset, "next": int(words["next"]), "tau": int(words["tau"]), "digest": words["digest"],
                   "settings": metadata.split("settings=")[1]}

    def prove(self, lane, checkpoint, before):
        """R12: the digest, and a start that is early enough, with the log time that was before it."""
        where = "lane %d, checkpoint of %d to %d" % (lane.number, checkpoint["start"], checkpoint["next"])
        self.check("I6", "%016x" % lane.digest() == checkpoint["digest"], "%s: its digest is %s, not %016x", where,
                   checkpoint["digest"], lane.digest())
        settings = lane.settings_text or "none"
        self.check("I6", settings == checkpoint["settings"], "%s: its settings are %s", where, checkpoint["settings"])
        self.check("I6", checkpoint["tau"] == (-2**63 if before == NEVER else before), "%s: log time was %d before, not %d",
                   where, before, checkpoint["tau"])
        self.check("I6", before == NEVER or before < lane.hold() - lane.settings["skew_ms"], "%s: it starts too late", where)

    def read_to_the_end(self):
        for number in self.lanes:
            end = self.world["ends"]["inbox"][number]
            reached = max([checkpoint["next"] for checkpoint in self.checkpoints(number)], default=0)
            self.check("I14", reached == end, "inbox lane %d: processed up to %d of %d", number, reached, end)

    # ---- the databases ----

    def database(self, service):
        connection = sqlite3.connect("file:%s?mode=ro" % os.path.join(self.folder, service + ".db"), uri=True)
        connection.row_factory = sqlite3.Row
        try:
            taus = self.positions(service, connection)
            rows = {(row["txn_id"], row["branch"]): row for row in connection.execute("SELECT * FROM assent_branch")}
            parked = connection.execute("SELECT count(*) FROM assent_parking").fetchone()[0]
            self.check("I13", parked == 0, "%s: %d messages parked", service, parked)
            effects = EFFECTS[service](self, connection)
        finally:
            connection.close()
        self.branches(service, rows, effects, taus)
        return rows, effects

    def positions(self, service, connection):
        """Positions, hashes and log times against the records themselves. Returns the log times."""
        topic, taus = service + ".commands", {}
        identity = dict(connection.execute("SELECT key, value FROM assent_identity").fetchall())
        found = {row["lane"]: row for row in connection.execute("SELECT * FROM assent_position")}
        for lane in self.lanes:
            records, row, chain = self.records[topic].get(lane, []), found.get(lane), 0
            offset, metadata = self.world["groups"][service][lane]
            taus[lane] = max([timestamp for _, timestamp, _ in records], default=NEVER)
            for _, _, record in records:
                chain = avro.xxh64(record, chain)
            if not row:
                self.check("I14", not records, "%s lane %d: no position, but %d records", service, lane, len(records))
                continue
            self.check("I14", row["next"] == len(records), "%s lane %d: position %d, the log ends at %d", service, lane,
                       row["next"], len(records))
            self.check("I7", row["chain"] % 2**64 == chain, "%s lane %d: its hash is not that of the log", service, lane)
            self.check("I7", not records or row["tau_ms"] == taus[lane], "%s lane %d: its log time is %d, not %d", service,
                       lane, row["tau_ms"], taus[lane])
            self.check("I14", row["acked"] <= offset <= row["next"] and offset == len(records),
                       "%s lane %d: group offset %d, acknowledged %d, position %d", service, lane, offset, row["acked"],
                       row["next"])
            self.check("I14", metadata == identity["incarnation"], "%s lane %d: the group offset is of another database",
                       service, lane)
        return taus

    def branches(self, service, rows, effects, taus):
        expected = {(txn.id, branch): txn for txn in self.txns.values()
                    for branch, request in enumerate(txn.branches) if request["service"] == service}
        for (txn_id, branch), row in rows.items():
            self.check("I14", (txn_id, branch) in expected, "%s: a row of %s branch %d, which was never begun", service,
                       text(txn_id), branch)
            self.check("I13", row["state"] in STATES and not row["frozen"] and not row["parked"] and not row["unpublished"],
                       "%s: %s branch %d is in state %d, frozen %d, parked %d, unpublished %d", service, text(txn_id), branch,
                       row["state"], row["frozen"], row["parked"], row["unpublished"])
        for (txn_id, branch), effect in effects.items():
            self.check("I4", (txn_id, branch) in expected, "%s: an effect of %s branch %d, which was never begun", service,
                       text(txn_id), branch)
        for (txn_id, branch), txn in expected.items():
            vote = self.answers.get((txn_id, branch, 1), (None, None))[1]
            row = rows.get((txn_id, branch))
            if row:
                self.row(service, txn, branch, vote, row)
            else:
                self.facts["forgotten"] += 1
                lane = avro.lane_of(txn_id, len(self.lanes))
                self.check("I4", max(txn.deadline, txn.due) < taus[lane] - self.world["horizon_ms"],
                           "%s: no row of %s branch %d", service, text(txn_id), branch)
            wanted = EXPECTED[service](json.loads(txn.branches[branch]["payload"]), txn.commit) if vote == "YES" else None
            found = effects.get((txn_id, branch))
            self.check("I4", found == wanted, "%s: %s branch %d (%s, %s) has the effect %r, not %r", service, text(txn_id),
                       branch, vote, "commit" if txn.commit else "abort", found, wanted)

    def row(self, service, txn, branch, vote, row):
        states = {("YES", True): (4,), ("YES", False): (5,), ("NO", False): (6, 8), ("READ_ONLY", True): (7,),
                  ("READ_ONLY", False): (7, 8)}.get((vote, txn.commit), ())
        self.check("I4", row["state"] in states and row["branches_count"] == len(txn.branches),
                   "%s: %s branch %d voted %s, decided %s, is in state %d", service, text(txn.id), branch, vote,
                   "commit" if txn.commit else "abort", row["state"])
        for number, slot in ((1, "first"), (2, "pre_commit"), (3, "decision")):
            stored = FROM["phase"].get(row[slot + "_phase"]), FROM["answer"].get(row[slot + "_answer"])
            logged = self.answers.get((txn.id, branch, number), (None, None))
            self.check("I3", stored == logged, "%s: %s branch %d answered %s, its database says %s", service, text(txn.id),
                       branch, logged, stored)

    def agreement(self, databases):
        fates = collections.defaultdict(set)
        for service, (rows, effects) in databases.items():
            for (txn_id, _), row in rows.items():
                fates[txn_id].add(STATES.get(row["state"]))
            for (txn_id, _), effect in effects.items():
                fates[txn_id].add(effect[0] != "CANCELLED")
        for txn_id, fate in fates.items():
            self.check("I1", not {True, False} <= fate, "%s is committed here and aborted there", text(txn_id))

    # ---- what clients were told ----

    def clients(self):
        for begin in self.world["begins"]:
            txn_id = uuid.UUID(begin["txn"]).bytes
            txn = self.txns.get(txn_id)
            rejected = any(txn_id in lane.rejected for lane in self.evaluated.values())
            if begin["acked"]:
                self.check("I8", txn or rejected, "%s was acknowledged and is not in the log", begin["txn"])
            if begin["told"]:
                outcomes = ([["ABORTED", "COMMITTED"][txn.commit]] if txn and txn.decided else []) + ["REJECTED"] * rejected
                self.check("I8", begin["told"] in outcomes, "%s: a client was told %s, the log says %s", begin["txn"],
                           begin["told"], " and ".join(outcomes) or "nothing")
        for load in self.world["loads"]:
            self.load(load)

    def load(self, load):
        """A run of the load generator, known by its timeout. It tells counts only."""
        copies, fates = self.begun[load["timeout_ms"]], collections.Counter()
        for txn_id in copies:
            txn = self.txns.get(txn_id)
            fates[["aborted", "committed"][bool(txn.commit)] if txn else "rejected"] += 1
        done = load["told"]
        if not done:
            return
        name = "load with the timeout %d" % load["timeout_ms"]
        sent, found = done["count"] + done["duplicates"], sum(copies.values())
        self.check("I8", len(copies) == done["count"], "%s: %d begins acknowledged, %d in the log", name, done["count"],
                   len(copies))
        self.check("I14", found >= sent, "%s: %d begins and copies acknowledged, %d in the log", name, sent, found)
        self.facts["doubled"] += found - sent  # by the client library's own retries; the rules know a copy (R2)
        for word in ("committed", "aborted", "rejected"):
            self.check("I8", done[word] <= fates[word] <= done[word] + done["unknown"],
                       "%s: told of %d %s and %d unknown, the log has %d", name, done[word], word, done["unknown"], fates[word])

    # ---- all of it ----

    def run(self):
        self.offsets()
        for number in self.lanes:
            lane = self.evaluated[number] = self.evaluate(number)
            self.txns.update(lane.all)
            self.published(lane)
            self.answered(lane)
        self.unasked()
        self.read_to_the_end()
        self.agreement({service: self.database(service) for service in self.world["services"]})
        self.clients()
        return self

    def summary(self):
        """What the run was made of, to see that it met what it was to meet."""
        txns, count = self.txns.values(), collections.Counter
        fates = count("committed" if txn.commit else "aborted" for txn in txns)
        reasons = count(txn.reason.decode() for txn in txns if txn.reason in (b"TIMEOUT", b"UNDELIVERABLE"))
        refused = count(word for lane in self.evaluated.values() for found in lane.rejected.values() for word in found)
        return ["%d transactions, %d of them 3PC: %s; aborted by %s; begins refused: %s" % (
                    len(txns), sum(txn.protocol == "3PC" for txn in txns), dict(fates), dict(reasons), dict(refused)),
                "%d records, %d published again, %d begins doubled on their way, control: %s" % (
                    sum(sum(ends) for ends in self.world["ends"].values()), self.facts["again"], self.facts["doubled"],
                    {kind: self.facts[kind] for kind in avro.NUMBERS["kind"]}),
                "%d checkpoints proved, %d rows forgotten, %d first phases beyond the horizon, %d single clients told" % (
                    self.checked["I6"] // 4, self.facts["forgotten"], self.facts["beyond horizon"],
                    sum(bool(begin["told"]) for begin in self.world["begins"]))]

    def report(self):
        """[(name, holds, lines)], one for each invariant."""
        lines = []
        for code, what in INVARIANTS.items():
            wrong = self.violations[code]
            shown = wrong[:SHOWN] + ["and %d more" % (len(wrong) - SHOWN)] * (len(wrong) > SHOWN)
            lines.append(("%s %s (%d checked)" % (code, what, self.checked[code]), not wrong and self.checked[code] > 0, shown))
        return lines


# ---- the services: their effects, and what they must be ----

def order_effects(judge, connection):
    """{(txn id, branch): effect}; what is still held and what does not add up is told to the judge."""
    effects = {}
    for row in connection.execute("SELECT * FROM orders"):
        effects[row["txn_id"], row["branch"]] = row["state"], row["order_id"], row["customer"], row["total_cents"], row["items"]
        judge.check("I13", row["state"] != "PENDING", "order %s is pending", row["order_id"])
        judge.check("I4", row["version"] == 2, "order %s is at version %d", row["order_id"], row["version"])
    return effects


def order_expected(payload, commit):
    return ("CONFIRMED" if commit else "CANCELLED", payload["order_id"], payload["customer"], payload["total_cents"],
            json.dumps(payload["items"], separators=(",", ":")))


def payment_effects(judge, connection):
    effects, moved = {}, collections.Counter()
    for row in connection.execute("SELECT * FROM ledger"):
        effects[row["txn_id"], row["branch"]] = row["account"], row["amount_cents"], row["payee"]
    for txn in judge.txns.values():
        for payload in committed(txn, "payment"):
            moved[payload["account"]] -= payload["amount_cents"]
            moved[payload.get("payee", "shop")] += payload["amount_cents"]
    for row in connection.execute("SELECT * FROM accounts"):
        wanted = row["opening_cents"] + moved[row["account"]]
        judge.check("I4", row["balance_cents"] == wanted, "account %s has %d cents, not %d", row["account"],
                    row["balance_cents"], wanted)
        judge.check("I13", row["held_cents"] == 0, "account %s: %d cents held", row["account"], row["held_cents"])
    held = connection.execute("SELECT count(*) FROM holds").fetchone()[0]
    judge.check("I13", held == 0, "payment: %d holds", held)
    return effects


def payment_expected(payload, commit):
    return (payload["account"], payload["amount_cents"], payload.get("payee", "shop")) if commit else None


def inventory_effects(judge, connection):
    effects, gone = {}, collections.Counter()
    for row in connection.execute("SELECT * FROM shipments ORDER BY txn_id, branch, line"):
        effects[row["txn_id"], row["branch"]] = effects.get((row["txn_id"], row["branch"]), ()) + (row["sku"], row["quantity"])
    for txn in judge.txns.values():
        for payload in committed(txn, "inventory"):
            for item in payload["items"]:
                gone[item["sku"]] += item["quantity"]
    for row in connection.execute("SELECT * FROM stock"):
        wanted = row["opening"] - gone[row["sku"]]
        judge.check("I4", row["on_hand"] == wanted, "%s: %d on hand, not %d", row["sku"], row["on_hand"], wanted)
        judge.check("I13", row["reserved"] == 0, "%s: %d reserved", row["sku"], row["reserved"])
    held = connection.execute("SELECT count(*) FROM reservations").fetchone()[0]
    judge.check("I13", held == 0, "inventory: %d lines reserved", held)
    return effects


def inventory_expected(payload, commit):
    return tuple(value for item in payload["items"] for value in (item["sku"], item["quantity"])) if commit else None


def committed(txn, service):
    return [json.loads(request["payload"]) for request in txn.branches if txn.commit and request["service"] == service]


EFFECTS = {"order": order_effects, "payment": payment_effects, "inventory": inventory_effects}
EXPECTED = {"order": order_expected, "payment": payment_expected, "inventory": inventory_expected}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    lines = Judge(sys.argv[1]).run().report()
    print("1..%d" % len(lines))
    for number, (name, holds, why) in enumerate(lines, 1):
        print("%s %d - %s" % ("ok" if holds else "not ok", number, name))
        for line in why:
            print("#   " + line)
    sys.exit(0 if all(holds for _, holds, _ in lines) else 1)


if __name__ == "__main__":
    main()
