"""What clients do during a run, and what they were told."""
import json
import os
import random
import subprocess
import time
import uuid

from run import ENVIRONMENT, SEED, SERVICES


class Loads:
    """Load generators, one after the other in each slot, every one known by a timeout of its own; and single transactions whose
    ids are known."""

    SLOTS, COUNT, REST_S = 4, 200, 1.0  # together some hundreds a second at most: the judge has to read them all
    SINGLES, EVERY_S = 6, 0.35

    def __init__(self, run):
        self.run, self.random = run, random.Random("load %d" % SEED)
        self.slots, self.rested = [None] * self.SLOTS, [0.0] * self.SLOTS
        self.loads, self.singles, self.begins = [], [], []
        self.timeouts, self.next_single, self.made = set(), 0, []

    def log(self, name):
        return os.path.join(self.run.folder, name + ".log")

    def spawn(self, name, program, *words):
        with open(self.log(name), "a", encoding="utf-8") as log:
            return subprocess.Popen([*self.run.network.at("clients"), self.run.program(program), *words, *self.run.arguments()],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=ENVIRONMENT)

    def keep_up(self):
        self.reap()
        for number, slot in enumerate(self.slots):
            if not slot and time.monotonic() >= self.rested[number]:
                self.slots[number] = self.load()
        if len(self.singles) < self.SINGLES and time.monotonic() >= self.next_single:
            self.next_single = time.monotonic() + self.EVERY_S
            self.single()

    def load(self):
        draw = self.random
        timeout = draw.choice((400, 2000, 4000))
        while timeout in self.timeouts:
            timeout += 1
        self.timeouts.add(timeout)
        services = draw.sample(SERVICES, draw.choice((2, 3, 3)))
        popen = self.spawn("load-%d" % timeout, "assent-load", "--json", "--count", str(self.COUNT), "--in-flight",
                           str(draw.choice((16, 64, 128))), "--protocol", draw.choice(("2pc", "3pc")), "--participants",
                           ",".join(services), "--abort-ratio", str(draw.choice((0, 0.1, 0.3))), "--duplicate-ratio",
                           str(draw.choice((0, 0.1, 0.5))), "--timeout", "%dms" % timeout, "--seed", str(draw.randrange(10**6)))
        return {"popen": popen, "timeout_ms": timeout, "killed": False}

    def finish(self, number):
        slot, self.slots[number], self.rested[number] = self.slots[number], None, time.monotonic() + self.REST_S
        out, _ = slot["popen"].communicate()
        told = json.loads(out) if out and not slot["killed"] else None
        if not told and not slot["killed"]:
            self.run.ended_by_itself("assent-load", slot["popen"], self.log("load-%d" % slot["timeout_ms"]))
        self.loads.append({"timeout_ms": slot["timeout_ms"], "told": told})

    def kill_one(self):
        slots = [slot for slot in self.slots if slot]
        if not slots:
            return None
        slot = self.random.choice(slots)
        slot["killed"] = True
        slot["popen"].kill()
        return "the one with the timeout %d" % slot["timeout_ms"]

    def branch(self, number):
        draw = self.random
        service = draw.choice(SERVICES)
        if service == "order":
            order_id = "o-%d" % draw.choice((number, number, number, number // 2))
            return "order:place:" + json.dumps({"order_id": order_id, "customer": "alice", "total_cents": draw.randrange(1, 9),
                                                "items": self.items()})
        if service == "inventory":
            return "inventory:reserve:" + json.dumps({"items": self.items()})
        if draw.random() < 0.05:
            return "nobody:nothing:{}"  # R18
        return "payment:charge:" + json.dumps({"account": draw.choice(("alice", "bob", "load-007")), "amount_cents":
                                               draw.choice((1, 5, 10**9)), **draw.choice(({}, {"payee": "load-008"}))})

    def items(self):
        return [{"sku": self.random.choice(("bolt", "bolt", "lamp", "desk")), "quantity": self.random.randrange(1, 4)}
                for _ in range(self.random.randrange(1, 3))]

    def single(self):
        draw, number = self.random, len(self.begins)
        kind = draw.random()
        if kind < 0.2 and self.made:  # again, or something else under the same id
            txn, words = draw.choice(self.made[-30:])
            if draw.random() < 0.2:
                words = ["--branch", self.branch(number)]
        elif kind < 0.3 and self.made:
            verb = draw.choice((("inquire",), ("cancel", "--reason", "changed my mind")))
            popen = self.spawn("ctl", "assentctl", "txn", verb[0], draw.choice(self.made[-30:])[0], *verb[1:])
            self.singles.append({"popen": popen, "txn": None, "began": time.monotonic()})
            return
        else:
            txn, words = self.mint(), []
            for _ in range(draw.choice((1, 2, 3, 5))):
                words += ["--branch", self.branch(number)]
            words += ["--protocol", draw.choice(("2pc", "3pc")), "--timeout", "%dms" % draw.choice((300, 3000, 9000))]
            words += ["--completed"] * draw.choice((0, 1))
            self.made.append((txn, words))
        wait = ["--no-wait"] if draw.random() < 0.3 else ["--wait", "8s"]
        self.begin(*wait, *words, txn=txn)

    def mint(self):
        value = bytearray(int(time.time() * 1000).to_bytes(6, "big") + self.random.randbytes(10))
        value[6], value[8] = value[6] & 0x0f | 0x70, value[8] & 0x3f | 0x80
        return str(uuid.UUID(bytes=bytes(value)))

    def begin(self, *words, txn=None):
        txn = txn or self.mint()
        popen = self.spawn("begin", "assent-begin", "--json", "--quiet", "--txn", txn, *words)
        self.singles.append({"popen": popen, "txn": txn, "began": time.monotonic()})
        return txn

    def reap(self):
        for number, slot in enumerate(self.slots):
            if slot and slot["popen"].poll() is not None:
                self.finish(number)
        for single in self.singles[:]:
            if single["popen"].poll() is None:
                if time.monotonic() - single["began"] > 60:
                    single["popen"].kill()
                continue
            out, _ = single["popen"].communicate()
            self.singles.remove(single)
            if single["txn"]:
                told = json.loads(out).get("outcome") if out else None
                told = None if told == "UNKNOWN" else told
                self.begins.append({"txn": single["txn"], "acked": told is not None,
                                    "told": told if told in ("COMMITTED", "ABORTED", "REJECTED") else None})

    def drained(self):
        self.reap()
        return not any(self.slots) and not self.singles
