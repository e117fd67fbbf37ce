#!/usr/bin/env python3
"""A warm standby (R19) beside an owner that dies for good or stands still: what was begun before and after is decided all the
same, and what both publish is the same.

A participant can find out an outcome by itself (P10), but only a coordinator sends commands and publishes outcomes: while the
owner is dead or stopped, that can only be the standby. On a real Kafka the group takes the owner for alive all the while, so
that the brokers refuse the standby's checkpoints."""
import collections
import signal

from pipeline import EMBEDDED, LANES, PATIENT, SERVICES, branches, check, equal, main, until

PREPARED = 2
SHAPES = [(protocol, end) for protocol in ("2pc", "3pc") for end in ("commit", "commit", "no", "silent", "nobody")]
INVENTORY = [["--branch", 'inventory:reserve:{"items":[{"sku":"%s","quantity":1}]}' % sku] for sku in ("bolt", "moon")]


class World:
    def __init__(self, p, session_ms):
        # So long that nothing runs out while an owner goes: votes decide, but for the branch that has nobody.
        p.settings.update(PATIENT)
        p.topics(*SERVICES, "silent")
        self.p, self.session_ms, self.begun = p, session_ms, {}
        self.owner = self.start_owner()
        self.services = {service: p.participant(service) for service in SERVICES}
        self.standby = p.start("assent-coordinator", name="standby", standby="true", takeover_ms=300)
        self.decided(self.begin())

    def start_owner(self):
        lanes = ["--lanes", "0-%d" % (LANES - 1)]
        session = ["--set", "session.timeout.ms=%d" % self.session_ms, "--set", "heartbeat.interval.ms=250"]
        return self.p.start("assent-coordinator", *(lanes if EMBEDDED else session), checkpoint_ms=50)

    def begin(self, shapes=SHAPES):
        """Returns {id: how it ends}."""
        begun = {self.p.txn(): shape for shape in shapes}
        for txn, (protocol, end) in begun.items():
            more = ["--branch", end + ":x:y"] if end in ("silent", "nobody") else []
            status, out, err = self.p.begin("--txn", txn, "--protocol", protocol, "--no-wait", "--timeout",
                                            "500ms" if end == "silent" else "15s",
                                            *branches("o-" + txn, 10, 1, ("order", "payment")), *INVENTORY[end == "no"], *more)
            equal(status, 0, out + err)
        self.begun.update(begun)
        return begun

    def outcomes(self):
        """{id: [outcome, once for each time it was published]}"""
        found = collections.defaultdict(list)
        for record in self.p.tail("outcomes"):
            if record["message"]["outcome"] in ("COMMITTED", "ABORTED", "REJECTED"):
                found[record["message"]["txn_id"]].append(record["message"]["outcome"])
        return found

    def decided(self, begun):
        def told():
            found = self.outcomes()
            return found if set(begun) <= set(found) else None
        found = until("outcomes of all", told, 40)
        for txn, (_, end) in begun.items():
            check(set(found[txn]) <= ({"COMMITTED", "ABORTED"} if end == "commit" else {"ABORTED"}),
                  "%s, %s: %s" % (txn, end, found[txn]))
        check(any("COMMITTED" in found[txn] for txn in begun), "none of them is committed")
        return found

    def without_the_owner(self, away):
        """Some are in doubt when it goes; the votes that decide them come afterwards."""
        self.services["inventory"].signal(signal.SIGSTOP)
        before = self.begin([shape for shape in SHAPES if shape[1] in ("commit", "no")])
        until("all are prepared", lambda: all(self.p.state("payment", txn) == PREPARED for txn in before))
        away()
        equal(set(before) & set(self.outcomes()), set(), "decided already")
        self.services["inventory"].signal(signal.SIGCONT)
        after = self.begin()
        found = self.decided({**before, **after})
        check(self.standby.said("acting for it"), "the standby says nothing:\n" + self.standby.text())
        return {txn: found[txn] for txn in (*before, *after)}

    def ends(self):
        """Both coordinators go on together; then everything must agree."""
        def back():
            self.decided(self.begin([("2pc", "commit")] * LANES))
            return self.standby.said("the owner moves again")
        until("the standby stands by again", back, 60)
        self.p.audit(wait="40s")
        decisions, messages = collections.defaultdict(set), {}
        for topic in ("outcomes", *(service + ".commands" for service in (*SERVICES, "silent"))):
            for record in self.p.tail(topic):
                message = record["message"]
                equal(messages.setdefault((topic, message["message_id"]), message), message, "published again")
                if message.get("phase") in ("COMMIT", "ABORT"):
                    decisions[message["txn_id"]].add(message["phase"])
        for txn, outcomes in self.outcomes().items():
            word = {"COMMITTED": "COMMIT", "ABORTED": "ABORT"}[outcomes[0]]
            equal((set(outcomes), decisions[txn]), ({outcomes[0]}, {word}), "outcomes and decisions of " + txn)
        equal(set(decisions), set(self.begun), "decided")
        for service in SERVICES:
            equal(self.p.query(service, "SELECT count(*) FROM assent_branch WHERE frozen"), [(0,)], "contradictions")
        equal((self.owner.stop(), self.standby.stop()), (0, 0), "both end in order")


def the_owner_dies_and_stays_dead(p):
    world = World(p, 10000)
    world.without_the_owner(world.owner.kill)
    check(world.owner.popen.poll() == -signal.SIGKILL, "the owner is dead")
    world.owner = world.start_owner()
    world.ends()


def the_owner_stands_still_and_goes_on(p):
    world = World(p, 60000)
    found = world.without_the_owner(lambda: world.owner.signal(signal.SIGSTOP))
    check(all(state in "TZX" for state in world.owner.states()), "the owner is stopped")
    world.owner.signal(signal.SIGCONT)
    until("the owner publishes it too", lambda: any(len(again) > len(found[txn]) for txn, again in world.outcomes().items()
                                                    if txn in found), 40)
    world.ends()


main(the_owner_dies_and_stays_dead, the_owner_stands_still_and_goes_on)
