"""The rules R1 to R12 of framework/DESIGN.md once more: one lane, from its first record. Nothing is bounded,
and nothing is shared with the code."""
import heapq
import re
import struct

import avro

LAMPORT_MAX = 2**31 - 1
NEVER = -2**61
SERVICE = re.compile(r"[a-z0-9-]{1,40}\Z")
VOTES = {"YES": 1, "NO": 2, "READ_ONLY": 3}


class Txn:
    def __init__(self, begin, tau, timeout_max):
        self.id, self.branches, self.protocol = begin["txn_id"], begin["branches"], begin["protocol"]
        self.notify, self.lamport = begin["notify_completed"], min(begin["lamport"], LAMPORT_MAX)
        self.asked_ms, self.timeout = begin["timeout_ms"], min(begin["timeout_ms"], timeout_max)
        self.due = self.deadline = tau + self.timeout
        self.votes, self.pre_acks, self.acks = [None] * len(self.branches), set(), set()
        self.state, self.commit, self.reason = "VOTING", None, b""
        self.asked_pre_commit, self.decided_ms, self.decision_lamport = False, None, 0

    @property
    def decided(self):
        return self.commit is not None

    def owed(self):
        """Who may hold something and so is told the decision."""
        return [branch for branch, vote in enumerate(self.votes) if vote not in ("NO", "READ_ONLY")]


class Lane:
    def __init__(self, number):
        self.number, self.tau, self.settings, self.settings_text = number, NEVER, None, None
        self.known, self.all, self.rejected = {}, {}, {}
        self.emitted = {}  # {message id: (service or None for the outcomes, record)}
        self.contradictions = []
        self.deadlines, self.births = [], []

    # ---- emissions ----

    def emit(self, service, message):
        message["lamport"] = min(message["lamport"], LAMPORT_MAX)
        record = avro.seal(message)
        before = self.emitted.setdefault(message["message_id"], (service, record))
        if before != (service, record):
            self.contradictions.append((avro.decode(before[1]), message))

    def command(self, txn, branch, phase, lamport, request=None):
        self.emit(txn.branches[branch]["service"], {
            "type": "COMMAND", "txn_id": txn.id, "lamport": lamport, "branch": branch, "branches_count": len(txn.branches),
            "service": txn.branches[branch]["service"], "phase": phase,
            "deadline_ms": txn.due if phase == "PRE_COMMIT" else txn.deadline,
            "kind": request["kind"] if request else "", "payload": request["payload"] if request else b""})

    def outcome(self, txn_id, word, lamport, time, reason=b"", offset=None):
        self.emit(None, {
            "type": "OUTCOME", "txn_id": txn_id, "lamport": lamport, "outcome": word,
            "reason": reason.decode(errors="surrogateescape"), "decided_at_ms": time,
            "rejected_lane": -1 if offset is None else self.number, "rejected_offset": -1 if offset is None else offset})

    def decision(self, txn, branch):
        self.command(txn, branch, "COMMIT" if txn.commit else "ABORT", txn.decision_lamport)

    def decided_outcome(self, txn):
        self.outcome(txn.id, "COMMITTED" if txn.commit else "ABORTED", txn.decision_lamport, txn.decided_ms, txn.reason)
        if txn.state == "FINISHED":
            self.completed(txn, "COMPLETED")

    def completed(self, txn, word):
        if txn.notify:
            self.outcome(txn.id, word, txn.lamport + 1, txn.decided_ms)

    # ---- R5 to R9, R11 ----

    def decide(self, txn, commit, reason=b""):
        if len(reason) > 200:
            reason = reason[:200] if reason[200] & 0xc0 != 0x80 else reason[:200].decode(errors="ignore").encode()
        txn.state, txn.commit, txn.reason = "DECIDED", commit, reason
        txn.decided_ms, txn.decision_lamport = self.tau, min(txn.lamport + 1, LAMPORT_MAX)
        heapq.heappush(self.births, txn.id)
        for branch in txn.owed():
            self.decision(txn, branch)
        self.decided_outcome(txn)
        self.finish(txn)

    def finish(self, txn):
        if txn.acks >= set(txn.owed()):
            txn.state = "FINISHED"
            self.completed(txn, "COMPLETED")

    def all_voted(self, txn):
        if txn.protocol == "2PC" or "YES" not in txn.votes:
            self.decide(txn, True)
            return
        txn.state, txn.asked_pre_commit, txn.due = "PRE_COMMIT", True, self.tau + txn.timeout
        heapq.heappush(self.deadlines, (txn.due, txn.id))
        for branch, vote in enumerate(txn.votes):
            if vote == "YES":
                self.command(txn, branch, "PRE_COMMIT", txn.lamport + 1)

    def expire(self):
        while self.deadlines and self.deadlines[0][0] < self.tau:
            due, txn_id = heapq.heappop(self.deadlines)
            txn = self.known.get(txn_id)
            if txn and not txn.decided and txn.due == due:
                self.decide(txn, txn.state == "PRE_COMMIT", b"" if txn.state == "PRE_COMMIT" else b"TIMEOUT")

    def forget(self):
        while self.births and avro.birth_ms(self.births[0]) < self.tau - self.settings["window_ms"]:
            txn = self.known.pop(heapq.heappop(self.births))
            if txn.state != "FINISHED":
                self.completed(txn, "UNCONFIRMED")

    # ---- messages ----

    def judge_begin(self, begin):
        settings, birth, known = self.settings, avro.birth_ms(begin["txn_id"]), self.known.get(begin["txn_id"])
        if not settings:
            return "NO_SETTINGS"
        if avro.lane_of(begin["txn_id"], settings["lanes"]) != self.number:
            return "MISROUTED"
        if known:
            return "DUPLICATE" if known.digest == avro.begin_digest(begin) else "CONFLICT"
        if birth < self.tau - settings["window_ms"]:
            return "STALE"
        if birth > self.tau + settings["skew_ms"]:
            return "FUTURE"
        fits = 1 <= len(begin["branches"]) <= settings["branches_max"] and begin["timeout_ms"] >= 1 and all(
            SERVICE.match(branch["service"]) and len(branch["kind"].encode()) <= 64 for branch in begin["branches"])
        return "APPLIED" if fits else "LIMIT"

    def begin(self, offset, begin):
        verdict = self.judge_begin(begin)
        if verdict == "APPLIED":
            txn = Txn(begin, self.tau, self.settings["timeout_max_ms"])
            txn.digest = avro.begin_digest(begin)
            self.known[txn.id] = self.all[txn.id] = txn
            heapq.heappush(self.deadlines, (txn.due, txn.id))
            for branch, request in enumerate(txn.branches):
                self.command(txn, branch, "PREPARE" if txn.protocol == "2PC" else "CAN_COMMIT", txn.lamport + 1, request)
        elif verdict == "DUPLICATE":
            txn = self.known[begin["txn_id"]]
            self.see(txn, begin)
            if txn.decided:
                self.decided_outcome(txn)
        else:
            self.rejected.setdefault(begin["txn_id"], []).append(verdict)
            self.outcome(begin["txn_id"], "REJECTED", min(begin["lamport"], LAMPORT_MAX) + 1,
                         0 if self.tau == NEVER else self.tau, verdict.encode(), offset)

    @staticmethod
    def see(txn, message):
        if txn.state != "FINISHED":
            txn.lamport = max(txn.lamport, min(message["lamport"], LAMPORT_MAX))

    def reply(self, reply):
        txn, branch, phase, answer = self.known.get(reply["txn_id"]), reply["branch"], reply["phase"], reply["answer"]
        if not txn:
            return
        first = "PREPARE" if txn.protocol == "2PC" else "CAN_COMMIT"
        if not 0 <= branch < len(txn.branches) or reply["service"] != txn.branches[branch]["service"]:
            return
        if not (phase == first and answer in VOTES or answer == "DONE" and phase in ("COMMIT", "ABORT")
                or answer == "DONE" and phase == "PRE_COMMIT" and txn.protocol == "3PC"):
            return
        if phase == first:
            self.see(txn, reply)
            self.vote(txn, branch, reply)
        elif phase == "PRE_COMMIT":
            if txn.state != "VOTING" and not (txn.asked_pre_commit and txn.votes[branch] == "YES"):
                return
            self.see(txn, reply)
            if txn.state == "PRE_COMMIT":
                txn.pre_acks.add(branch)
                if len(txn.pre_acks) == txn.votes.count("YES"):
                    self.decide(txn, True)
        elif not txn.decided:
            self.see(txn, reply)
        elif txn.commit == (phase == "COMMIT") and branch in txn.owed():
            self.see(txn, reply)
            txn.acks.add(branch)
            if txn.state == "DECIDED":
                self.finish(txn)

    def vote(self, txn, branch, reply):
        if txn.state != "VOTING" or txn.votes[branch]:
            return
        txn.votes[branch] = reply["answer"]
        if reply["answer"] == "NO":
            why = "%s: %s" % (reply["service"], reply["reason"] or "NO")
            self.decide(txn, False, why.encode(errors="surrogateescape"))
        elif None not in txn.votes:
            self.all_voted(txn)

    def control(self, control):
        txn, kind, branch = self.known.get(control["txn_id"]), control["kind"], control["branch"]
        if kind == "SETTINGS" and not self.settings:
            self.settings_text = control["settings"]
            self.settings = {name: int(value) for name, value in (word.split("=") for word in self.settings_text.split())}
        if not txn or kind not in ("CANCEL", "INQUIRE") or kind == "INQUIRE" and branch >= len(txn.branches):
            return
        self.see(txn, control)
        if kind == "CANCEL" and txn.state == "VOTING":
            self.decide(txn, False, control["reason"].encode(errors="surrogateescape"))
        elif kind == "INQUIRE" and txn.decided and branch < 0:
            self.decided_outcome(txn)
        elif kind == "INQUIRE" and txn.decided and branch in txn.owed():
            self.decision(txn, branch)

    def step(self, offset, timestamp, message):
        """message: a dictionary, or None for what is no message."""
        if 0 <= timestamp < 2**48:
            self.tau = max(self.tau, timestamp)
        self.expire()
        if message and message["type"] == "BEGIN":
            self.begin(offset, message)
        elif message and message["type"] == "REPLY":
            self.reply(message)
        elif message and message["type"] == "CONTROL":
            self.control(message)
        if self.settings:
            self.forget()

    # ---- R12 ----

    def hold(self):
        """The time that a replay must reach back to."""
        births = [avro.birth_ms(txn.id) for txn in self.known.values() if not txn.decided]
        return min([self.tau - self.settings["window_ms"], *births])

    def digest(self):
        total = avro.xxh64(self.settings_text.encode()) if self.settings else 0
        for txn in self.known.values():
            time = txn.decided_ms if txn.decided else txn.timeout if txn.state == "VOTING" else txn.due
            flags = (txn.notify and 1) | txn.asked_pre_commit << 1 | txn.decided << 2 | (txn.commit is True) << 3 \
                | (txn.state == "FINISHED") << 4
            image = txn.id + struct.pack("<QqqIIBBB", txn.digest, txn.deadline, time, txn.lamport, txn.decision_lamport,
                                         avro.NUMBERS["protocol"][txn.protocol], flags, len(txn.branches))
            for branch, request in enumerate(txn.branches):
                image += struct.pack("<QB", avro.xxh64(request["service"].encode()), VOTES.get(txn.votes[branch], 0)
                                     | (branch in txn.pre_acks) << 2 | (branch in txn.acks) << 3)
            total += avro.xxh64(image + struct.pack("<H", len(txn.reason)) + txn.reason)
        return (total + avro.xxh64(struct.pack("<q", self.tau), 1)) % 2**64
