"""The processes of a run, what became of them, and what the judge needs to know of it."""
import collections
import heapq
import itertools
import json
import os
import random
import signal
import sqlite3
import struct
import subprocess
import threading
import time

import cluster
from avro import KCAT_FORMAT

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("ASSENT_BUILD", os.path.join(ROOT, "build", "release"))
SECONDS = float(os.environ.get("SECONDS", "60"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 10**6)
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("ASSENT_")}

LANES, PREFIX = 4, "chaos"
SERVICES = ("order", "payment", "inventory")
COORDINATORS = ("coordinator-1", "coordinator-2", "coordinator-3")
BROKERS = tuple("broker-%d" % node for node in cluster.NODES)
# Short, so that much is forgotten (R11, P12) and given up (R8) within a minute. An outage that is longer than the window makes
# begins stale; one that is longer than the horizon would not be an honest test.
SETTINGS = {"lanes_count": LANES, "window_ms": 12000, "skew_ms": 1000, "timeout_max_ms": 4000, "grace_ms": 500,
            "horizon_ms": 30000, "start_timeout_ms": 120000, "stop_timeout_ms": 20000}
START_S, DRAIN_S = 90, 120
# The one end of a process that is not ours: librdkafka 2.0.2 gives its idempotent producer up when a broker that was away may
# have kept what it never acknowledged. The process stops, and is started again.
GIVEN_UP = "failed for good"
GIVEN_UP_MAX = 10  # in any minute; one more is our own failure, whatever the client says


def say(*words):
    print("#", *words, flush=True)


class Failure(Exception):
    pass


class Agenda:
    """What is to be done later."""

    def __init__(self):
        self.queue, self.numbers = [], itertools.count()

    def after(self, seconds, action):
        heapq.heappush(self.queue, (time.monotonic() + seconds, next(self.numbers), action))

    def run(self):
        while self.queue and self.queue[0][0] <= time.monotonic():
            heapq.heappop(self.queue)[2]()


class Service:
    """One process of ours, in its place; started again when it is meant to be up."""

    def __init__(self, run, name, arguments):
        self.run, self.name, self.arguments = run, name, arguments
        self.log = os.path.join(run.folder, name + ".log")
        self.popen, self.calm, self.lives = None, True, 0
        self.start()

    def start(self):
        self.lives += 1
        with open(self.log, "a", encoding="utf-8") as log:
            self.popen = subprocess.Popen([*self.run.network.at(self.name), *self.arguments], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log, env=ENVIRONMENT)
        self.calm = True

    def kill(self):
        self.calm = False
        self.popen.kill()
        self.popen.wait()

    def pause(self, stopped):
        self.calm = not stopped
        self.popen.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)

    def stop(self, seconds):
        """SIGTERM; the drain must end by itself, with status 0."""
        self.calm = False
        self.popen.terminate()
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return "nothing for %d s" % seconds


class Run:
    def __init__(self, network, folder, brokers, **settings):
        self.network, self.folder, self.brokers, self.settings = network, folder, brokers, dict(SETTINGS, **settings)
        self.agenda, self.topics = Agenda(), []
        self.services, self.ended, self.given_up, self.checkpoints = {}, [], [], []
        self.began = time.monotonic()

    def arguments(self):
        words = ["--brokers", self.brokers.servers, "--prefix", PREFIX]
        for key, value in self.settings.items():
            words += ["--set", "assent.%s=%s" % (key, value)]
        return words

    def program(self, name):
        return os.path.join(BUILD, "bin", name)

    def note(self, what):
        say("%6.1f s  %s" % (time.monotonic() - self.began, what))

    def until(self, what, function, seconds):
        end = time.monotonic() + seconds
        while not function():
            if time.monotonic() > end:
                raise Failure("waited %.0f s in vain: %s" % (seconds, what))
            time.sleep(0.1)

    def up(self, coordinators):
        """coordinators: {name: options}"""
        apply = [self.program("assentctl"), "topics", "apply", *self.arguments()]
        for service in SERVICES:
            apply += ["--service", service]
        cluster.run(*apply)
        self.topics = sorted(topic for topic in self.leaders() if topic.startswith(PREFIX))
        for name, more in coordinators.items():
            self.services[name] = Service(self, name, [self.program("assent-coordinator"), *self.arguments(), *more])
        for name in SERVICES:
            more = ["--set", "assent.pre_commit_cut_off=commit"] if name == "inventory" else []
            self.services[name] = Service(self, name, [self.program("assent-" + name), *self.arguments(), "--db",
                                                       self.database(name), "--seed", *more])
        self.until("the services are ready", lambda: all(map(self.ready, self.services.values())), START_S)
        threading.Thread(target=self.sample, daemon=True).start()
        self.began = time.monotonic()

    def leaders(self):
        """{topic: [leader of each lane]}"""
        listed = json.loads(cluster.run("kcat", "-L", "-J", "-b", self.brokers.servers).stdout)
        return {topic["topic"]: [lane["leader"] for lane in sorted(topic["partitions"], key=lambda lane: lane["partition"])]
                for topic in listed["topics"]}

    @staticmethod
    def ready(service):
        with open(service.log, encoding="utf-8", errors="replace") as file:
            return 'event="ready"' in file.read()

    def database(self, service):
        return os.path.join(self.folder, service + ".db")

    def sample(self):
        """The checkpoints as they stand now and then; what a broker that is away would have said is not missed."""
        while True:
            try:
                server = random.choice(self.brokers.servers.split(","))
                found = cluster.group_offsets(server, PREFIX + ".coordinator", PREFIX + ".inbox", LANES)
                self.checkpoints += [(lane, *each) for lane, each in enumerate(found) if each[0] >= 0]
            except (OSError, struct.error):
                pass
            time.sleep(1)

    def ended_by_itself(self, name, popen, log):
        with open(log, encoding="utf-8", errors="replace") as file:
            errors = [line for line in file if "level=error" in line or line.startswith("assent-")]
        what = "%s ended by itself with %s: %s" % (name, popen.returncode, errors[-1].strip() if errors else "not a word")
        self.note(what)
        now = time.monotonic()
        if GIVEN_UP not in what:
            self.ended.append(what)
            return
        self.given_up.append(now)
        if sum(now - then < 60 for then in self.given_up) > GIVEN_UP_MAX:
            self.ended.append("given up by the Kafka client more than %d times in a minute; last: %s" % (GIVEN_UP_MAX, what))

    def supervise(self):
        """Nobody but the nemesis ends a process. One that ends by itself is started again, as an operator would, and told."""
        for service in self.services.values():
            if service.calm and service.popen.poll() is not None:
                self.ended_by_itself(service.name, service.popen, service.log)
                service.calm = False
                self.agenda.after(0.5, service.start)


# ---- at the end ----

UNANSWERED = (OSError, sqlite3.Error, RuntimeError, KeyError, struct.error, subprocess.SubprocessError)


def insist(function, *arguments, seconds=30):
    """The brokers still move leaders back to where they like them best, and kcat asks nothing twice."""
    end = time.monotonic() + seconds
    while True:
        try:
            return function(*arguments)
        except UNANSWERED:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def ends(run):
    """{topic without the prefix: [end of each lane]}"""
    words = [word for topic in run.topics for lane in range(LANES) for word in ("-t", "%s:%d:-1" % (topic, lane))]
    found = collections.defaultdict(dict)
    for line in cluster.run("kcat", "-Q", "-b", run.brokers.servers, *words).stdout.decode().splitlines():
        topic, lane, _, offset = line.split()
        found[topic[len(PREFIX) + 1:]][int(lane.strip("[]"))] = int(offset)
    return {topic: [lanes[lane] for lane in range(LANES)] for topic, lanes in found.items()}


def groups(run):
    server = run.brokers.servers.split(",")[0]
    found = {"coordinator": cluster.group_offsets(server, PREFIX + ".coordinator", PREFIX + ".inbox", LANES)}
    for service in SERVICES:
        found[service] = cluster.group_offsets(server, "%s.%s" % (PREFIX, service), "%s.%s.commands" % (PREFIX, service), LANES)
    return found


def unsettled(run):
    """What is still to be done, in words; nothing when everything has been read, answered and told."""
    now, offsets = ends(run), groups(run)
    for lane, (_, metadata) in enumerate(offsets["coordinator"]):
        reached = int(metadata.split("next=")[1].split()[0]) if metadata else -1
        if reached != now["inbox"][lane]:
            return "coordinators have read %d of %d in lane %d" % (reached, now["inbox"][lane], lane)
    for service in SERVICES:
        reached = [offset for offset, _ in offsets[service]]
        if reached != now[service + ".commands"]:
            return "%s has read %s of %s" % (service, reached, now[service + ".commands"])
        connection = sqlite3.connect("file:%s?mode=ro" % run.database(service), uri=True, timeout=10)
        try:
            count = connection.execute("SELECT count(*) FROM assent_branch"
                                       " WHERE state IN (1, 2, 3) OR parked OR unpublished").fetchone()[0]
        finally:
            connection.close()
        if count:
            return "%s has %d branches in doubt" % (service, count)
    return None


def collect(run, loads):
    """The world as the checker wants it."""
    folder = os.path.join(run.folder, "world")
    os.makedirs(folder)
    world = {"prefix": PREFIX, "lanes": LANES, "services": SERVICES, "horizon_ms": SETTINGS["horizon_ms"],
             "ends": insist(ends, run), "groups": insist(groups, run), "begins": loads.begins, "loads": loads.loads}
    world["checkpoints"] = run.checkpoints + [(lane, *found) for lane, found in enumerate(world["groups"]["coordinator"])]
    for topic in world["ends"]:
        insist(dump, run.brokers.servers, "%s.%s" % (PREFIX, topic), os.path.join(folder, topic + ".records"))
    for service in SERVICES:
        source, target = sqlite3.connect(run.database(service)), sqlite3.connect(os.path.join(folder, service + ".db"))
        source.backup(target)
        source.close(), target.close()
    with open(os.path.join(folder, "world.json"), "w", encoding="utf-8") as file:
        json.dump(world, file, indent=1)
    return folder


def dump(servers, topic, path):
    with open(path, "wb") as file:
        subprocess.run(["kcat", "-C", "-q", "-e", "-b", servers, "-t", topic, "-o", "beginning", "-f", KCAT_FORMAT, "-X",
                        "isolation.level=read_uncommitted", "-X", "check.crcs=true"], stdin=subprocess.DEVNULL, stdout=file,
                       check=True, timeout=300)
