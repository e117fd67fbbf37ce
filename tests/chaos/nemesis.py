"""What goes wrong during a run."""
import collections
import random
import signal
import struct
import time

import cluster
from run import BROKERS, COORDINATORS, LANES, SECONDS, SEED, SERVICES

KINDS = ("broker-kill", "broker-then-participant", "broker-then-coordinator", "broker-two", "broker-pause",
         "broker-long-pause", "leader-move", "coordinator-kill", "coordinator-leave", "coordinators-away", "coordinator-pause",
         "coordinator-long-pause", "participant-kill", "participant-pause", "participant-long-pause", "load-kill")
CUTS = ("cut-broker", "cut-brokers-one-way", "cut-service", "cut-service-one-way")
OFTEN = ("broker-kill", "leader-move", "leader-move", "coordinator-kill", "participant-kill", "participant-kill")
QUIET, PERIOD_S = 0.25, (3.0, 6.0)  # a quarter of all periods brings nothing new
EXTRA_S = 120  # for the kinds of faults that have not had their turn


class Nemesis:
    """Faults with an end of their own. At most one broker is disturbed at a time, except by broker-two, so that acknowledged
    records stay safe by the rules that the topics were made with."""

    def __init__(self, run, loads, cuts):
        self.run, self.loads, self.random = run, loads, random.Random("nemesis %d" % SEED)
        self.disturbed, self.cut, self.counts = set(), set(), collections.Counter()
        self.kinds = KINDS + (CUTS if cuts else ())
        self.missing, self.bag, self.next_period = self.random.sample(self.kinds, len(self.kinds)), [], 0

    def step(self):
        self.run.agenda.run()
        if time.monotonic() < self.next_period:
            return
        if self.late():  # only what is missing, as soon as it can happen
            self.next_period = time.monotonic() + 0.5
            self.one()
            return
        self.next_period = time.monotonic() + self.random.uniform(*PERIOD_S)
        if self.random.random() < QUIET:
            self.run.note("quiet")
            return
        for number in range(self.random.choice((2, 2, 3))):
            # Something dies while something else is away: what is under way between them is the point.
            self.run.agenda.after(number * self.random.uniform(0, 1.5), self.one)

    def late(self):
        return time.monotonic() - self.run.began > SECONDS

    def one(self):
        """The next fault that can happen now: first of those that have not had their turn, then by weight."""
        if not self.bag:
            self.bag = [*self.kinds, *OFTEN]
            self.random.shuffle(self.bag)
        for bag in (self.missing,) if self.late() else (self.missing, self.bag):
            for kind in bag:
                what = getattr(self, kind.replace("-", "_"))()
                if what:
                    self.counts[kind] += 1
                    self.run.note("%s: %s" % (kind, what))
                    bag.remove(kind)
                    return

    # A fault returns what it did, or None if it cannot be done now.

    def free_brokers(self, wanted=1):
        if self.disturbed:
            return None
        nodes = self.random.sample(cluster.NODES, wanted)
        self.disturbed.update(nodes)
        return nodes

    def when_back(self, node):
        """Free again once the broker takes requests, and a little later, so that its replicas can follow."""
        if self.run.brokers.ready(node):
            self.run.agenda.after(1.0, lambda: self.disturbed.discard(node))
        elif self.run.brokers.starting[node].poll() is not None:
            self.restart(node)
        else:
            self.run.agenda.after(0.2, lambda: self.when_back(node))

    def restart(self, node):
        self.run.brokers.start(node)
        self.when_back(node)

    def bring_down(self, nodes, away):
        for node in nodes:
            self.run.brokers.kill(node)
            self.run.agenda.after(away, lambda node=node: self.restart(node))
        return "%s, for %.1f s" % (" and ".join(map(str, nodes)), away)

    def broker_kill(self):
        nodes = self.free_brokers()
        return nodes and self.bring_down(nodes, self.random.uniform(0.2, 2.5))

    def broker_then(self, names):
        """What a service has sent is not acknowledged yet, and it dies."""
        service = self.calm(names)
        nodes = service and self.free_brokers()
        if not nodes:
            return None
        away = self.random.uniform(0.5, 1.5)
        self.run.agenda.after(away, lambda: service.calm and self.bring_down_service(service, 0.5))
        return "%s, after %.1f s %s" % (self.bring_down(nodes, self.random.uniform(1, 2.5)), away, service.name)

    def broker_then_participant(self):
        return self.broker_then(SERVICES)

    def broker_then_coordinator(self):
        return self.broker_then(COORDINATORS)

    def broker_two(self):
        nodes = self.free_brokers(2)
        return nodes and self.bring_down(nodes, self.random.uniform(0.1, 0.6))

    def hold_broker(self, away):
        nodes = self.free_brokers()
        if not nodes:
            return None
        node = nodes[0]
        self.run.brokers.signal(node, signal.SIGSTOP)

        def resume():
            self.run.brokers.signal(node, signal.SIGCONT)
            self.run.agenda.after(1.0, lambda: self.disturbed.discard(node))
        self.run.agenda.after(away, resume)
        return "%d, for %.1f s" % (node, away)

    def broker_pause(self):
        return self.hold_broker(self.random.uniform(0.3, 1.3))

    def broker_long_pause(self):
        return self.hold_broker(self.random.uniform(3, 6))

    def leader_move(self):
        topics = [topic for topic in self.run.topics if not topic.endswith("-dlt")]
        moves = {}
        for topic in self.random.sample(topics, 3):
            for lane in range(LANES):
                moves[topic, lane] = self.random.sample(cluster.NODES, 3)
        moves["__consumer_offsets", self.random.randrange(4)] = self.random.sample(cluster.NODES, 3)
        node = self.random.choice([node for node in cluster.NODES if node not in self.disturbed])
        try:
            cluster.move_leaders(self.run.brokers.servers.split(",")[node - 1], moves)
        except (OSError, struct.error):
            return None  # it cannot ask the others, or not yet
        return "%d lanes" % len(moves)

    def calm(self, names):
        names = [name for name in names if self.run.services[name].calm]
        return self.run.services[self.random.choice(names)] if names else None

    def kill_service(self, names):
        service = self.calm(names)
        return service and self.bring_down_service(service, self.random.uniform(0, 2))

    def bring_down_service(self, service, away):
        service.kill()
        self.run.agenda.after(away, service.start)
        return "%s, for %.1f s" % (service.name, away)

    def pause_service(self, names, away):
        service = self.calm(names)
        if not service:
            return None
        service.pause(True)
        self.run.agenda.after(away, lambda: service.pause(False))
        return "%s, for %.1f s" % (service.name, away)

    def coordinator_kill(self):
        return self.kill_service(COORDINATORS)

    def coordinator_leave(self):
        """A member that goes in order, and one that joins."""
        service = self.calm(COORDINATORS)
        if not service:
            return None
        service.calm = False
        service.popen.terminate()

        def back():
            if service.popen.poll() is None:
                self.run.agenda.after(0.2, back)
            else:
                service.start()
        self.run.agenda.after(self.random.uniform(0.2, 2), back)
        return service.name

    def coordinators_away(self):
        """Participants in doubt must find the outcome themselves (P10)."""
        services = [self.run.services[name] for name in COORDINATORS]
        if not all(service.calm for service in services):
            return None
        away = self.random.uniform(4.5, 7)
        for service in services:
            service.kill()
            self.run.agenda.after(away, service.start)
        return "all, for %.1f s" % away

    def coordinator_pause(self):
        return self.pause_service(COORDINATORS, self.random.uniform(0.2, 1.5))

    def coordinator_long_pause(self):
        return self.pause_service(COORDINATORS, self.random.uniform(3, 7))

    def participant_kill(self):
        return self.kill_service(SERVICES)

    def participant_pause(self):
        return self.pause_service(SERVICES, self.random.uniform(0.2, 1.5))

    def participant_long_pause(self):
        return self.pause_service(SERVICES, self.random.uniform(3, 7))

    def load_kill(self):
        return self.loads.kill_one()

    def sever(self, key, action, away):
        """action(True) cuts, action(False) mends."""
        self.cut.add(key)
        action(True)

        def mend():
            action(False)
            self.cut.discard(key)
        self.run.agenda.after(away, mend)

    def cut_broker(self):
        nodes = self.free_brokers()
        if not nodes:
            return None
        name, away = "broker-%d" % nodes[0], self.random.uniform(1, 6)
        self.sever(name, lambda cut: self.run.network.isolate(name, cut), away)
        self.run.agenda.after(away + 1.5, lambda: self.disturbed.discard(nodes[0]))
        return "%s from everybody, for %.1f s" % (name, away)

    def cut_brokers_one_way(self):
        nodes = self.free_brokers()
        if not nodes:
            return None
        source, away = "broker-%d" % nodes[0], self.random.uniform(1, 6)
        target = self.random.choice([name for name in BROKERS if name != source])
        self.sever((source, target), lambda cut: self.run.network.drop(source, target, cut), away)
        self.run.agenda.after(away + 1.5, lambda: self.disturbed.discard(nodes[0]))
        return "%s to %s, for %.1f s" % (source, target, away)

    def cut_service(self):
        name, away = self.random.choice(COORDINATORS + SERVICES + ("clients",)), self.random.uniform(1, 7)
        if name in self.cut:
            return None
        self.sever(name, lambda cut: self.run.network.isolate(name, cut), away)
        return "%s from everybody, for %.1f s" % (name, away)

    def cut_service_one_way(self):
        name, broker = self.random.choice(COORDINATORS + SERVICES), self.random.choice(BROKERS)
        pair, away = self.random.choice(((name, broker), (broker, name))), self.random.uniform(1, 7)
        if pair in self.cut:
            return None
        self.sever(pair, lambda cut: self.run.network.drop(*pair, cut), away)
        return "%s to %s, for %.1f s" % (*pair, away)
