"""Real processes of the sample pipeline on a real broker, for the end-to-end tests: one prefix and one folder a test program.

Environment (set by tests/run.sh): ASSENT_BUILD, ASSENT_BUILD_SEAMS, ASSENT_TEST_BROKERS, ASSENT_TEST_BROKER
(embedded or kafka), TMPDIR."""
import glob
import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import uuid

BUILD = os.environ["ASSENT_BUILD"]
SEAMS = os.environ.get("ASSENT_BUILD_SEAMS", BUILD)
BROKERS = os.environ["ASSENT_TEST_BROKERS"]
EMBEDDED = os.environ["ASSENT_TEST_BROKER"] == "embedded"
LANES = 4
# What the programs under test see: none of the variables above, which they would take for configuration.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("ASSENT_")}
SERVICES = ("order", "payment", "inventory")
# Short times, so that a deadline is worth waiting for: W > 2 * timeout_max + grace.
TIMES = {"window_ms": 9000, "skew_ms": 1000, "timeout_max_ms": 4000, "grace_ms": 300, "horizon_ms": 20000}
# Where a transaction must not end by its time, however slow the machine is: with --timeout, or a service's timeout_ms.
PATIENT = {"timeout_max_ms": 20000, "window_ms": 45000, "horizon_ms": 120000}
# A killed member holds its lanes for the session's length: the test broker allows a short one.
SESSION = ["--set", "session.timeout.ms=1000", "--set", "heartbeat.interval.ms=250"]


class Failure(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


def equal(got, wanted, what):
    check(got == wanted, "%s: got %r, wanted %r" % (what, got, wanted))


def until(what, function, seconds=20.0):
    """Waits until function() is true and returns its value; a wait that ends without is a failure."""
    end = time.monotonic() + seconds
    while True:
        value = function()
        if value:
            return value
        check(time.monotonic() < end, "waited %.0f s in vain: %s" % (seconds, what))
        time.sleep(0.05)


class Process:
    def __init__(self, name, arguments, folder, environment=None, ready="ready", limits=()):
        self.name, self.log = name, os.path.join(folder, "%s.%d.log" % (name, len(os.listdir(folder))))
        self.file = open(self.log, "a")
        self.popen = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=self.file, stderr=self.file,
                                      env=dict(ENVIRONMENT, **(environment or {})),
                                      preexec_fn=lambda: [resource.setrlimit(which, (most, most)) for which, most in limits])
        self.ready = ready

    def text(self):
        with open(self.log, errors="replace") as file:
            return file.read()

    def wait_ready(self, seconds=40):
        def up():
            check(self.popen.poll() is None, "%s ended with %s:\n%s" % (self.name, self.popen.poll(), self.text()))
            return re.search(r'event="?%s"?( |$)' % self.ready, self.text(), re.M)
        until("%s is ready:\n%s" % (self.name, self.log), up, seconds)
        return self

    def said(self, pattern):
        return re.search(pattern, self.text())

    def signal(self, number):
        """Until a thread has met SIGSTOP, all of them go on: whoever sends it must see them stopped."""
        self.popen.send_signal(number)
        if number == signal.SIGSTOP:
            until("it is stopped", lambda: all(state in "TZX" for state in self.states()))

    def states(self):
        for stat in glob.glob("/proc/%d/task/*/stat" % self.popen.pid):
            try:
                with open(stat) as file:
                    yield file.read().rpartition(") ")[2][0]
            except OSError:
                pass  # the thread has ended

    def kill(self):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()
        self.file.close()

    def stop(self, seconds=15):
        """SIGTERM; the drain must end by itself, with status 0."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGCONT)
            self.popen.send_signal(signal.SIGTERM)
        status = self.popen.wait(seconds)
        self.file.close()
        return status


class Pipeline:
    def __init__(self, **settings):
        self.folder = tempfile.mkdtemp(prefix="pipeline.")
        self.prefix = "t" + uuid.uuid4().hex[:8]
        self.settings = dict(TIMES, lanes_count=LANES, dev="true", replication=1, min_insync_replicas=1, **settings)
        self.processes = []

    def common(self, **more):
        arguments = ["--brokers", BROKERS, "--prefix", self.prefix]
        if EMBEDDED:
            arguments += ["--set", "assent.broker=embedded"]
        for key, value in dict(self.settings, **more).items():
            arguments += ["--set", "assent.%s=%s" % (key, value)]
        return arguments

    def db(self, name):
        return os.path.join(self.folder, name + ".db")

    def run(self, program, *arguments, seconds=60, input=None, build=BUILD):
        """Returns (status, stdout, stderr)."""
        done = subprocess.run([os.path.join(build, "bin", program), *self.common(), *arguments], input=input,
                              stdin=subprocess.DEVNULL if input is None else None, capture_output=True, timeout=seconds, env=ENVIRONMENT)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def ctl(self, *arguments, seconds=60):
        done = subprocess.run([os.path.join(BUILD, "bin", "assentctl"), *arguments, *self.common()],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=ENVIRONMENT)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def topics(self, *services):
        arguments = []
        for service in services or SERVICES:
            arguments += ["--service", service]
        status, out, err = self.ctl("topics", "apply", *arguments, "--events", "order.events")
        equal(status, 0, "assentctl topics apply:\n%s%s" % (out, err))
        return self

    def launch(self, program, *arguments, name=None, build=BUILD, environment=None, limits=(), **more):
        process = Process(name or program, [os.path.join(build, "bin", program), *self.common(**more), *arguments],
                          self.folder, environment, limits=limits)
        self.processes.append(process)
        return process

    def start(self, program, *arguments, **keywords):
        return self.launch(program, *arguments, **keywords).wait_ready()

    def coordinator(self, **keywords):
        arguments = [] if not EMBEDDED else ["--lanes", "0-%d" % (LANES - 1)]
        return self.start("assent-coordinator", *arguments, *([] if EMBEDDED else SESSION), **keywords)

    def participant(self, service, **keywords):
        return self.start("assent-" + service, "--db", self.db(service), "--seed", **keywords)

    def up(self, *services):
        self.topics()
        self.coordinator_process = self.coordinator()
        self.services = {service: self.participant(service) for service in services or SERVICES}
        return self

    def begin(self, *arguments, wait="20s", seconds=60):
        return self.run("assent-begin", "--wait", wait, *arguments, seconds=seconds)

    def query(self, service, sql, *parameters):
        """Reads a participant's database while it runs, as an auditor may."""
        connection = sqlite3.connect("file:%s?mode=ro" % self.db(service), uri=True, timeout=10)
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def state(self, service, txn, branch=None):
        rows = self.query(service, "SELECT state FROM assent_branch WHERE txn_id = ? AND (? IS NULL OR branch = ?)",
                          uuid.UUID(txn).bytes, branch, branch)
        return rows[0][0] if rows else None

    def tail(self, topic):
        status, out, err = self.ctl("tail", topic)
        equal(status, 0, "assentctl tail %s:\n%s" % (topic, err))
        return [json.loads(line) for line in out.splitlines()]

    def audit(self, wait="20s"):
        arguments = []
        for service in SERVICES:
            if os.path.exists(self.db(service)):
                arguments += ["--" + service, self.db(service)]
        done = subprocess.run([os.path.join(BUILD, "bin", "assent-audit"), *arguments, "--complete", "--wait", wait],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=90, env=ENVIRONMENT)
        check(done.returncode == 0, "audit:\n%s%s" % (done.stdout.decode(), done.stderr.decode()))

    def craft(self, *words):
        done = subprocess.run([os.path.join(BUILD, "tests", "craft"), *words], capture_output=True, check=True, env=ENVIRONMENT)
        return done.stdout

    def txn(self):
        return self.craft("txn").decode().strip()

    def lane(self, txn):
        return int(self.craft("lane", txn, str(LANES)))

    def send(self, topic, lane, data, key=None):
        """Raw bytes as one record; returns its offset, or None when it was refused."""
        arguments = ["-b", BROKERS, "-t", "%s.%s" % (self.prefix, topic), "-p", str(lane)]
        done = subprocess.run([os.path.join(BUILD, "tests", "rawsend"), *arguments, *(["-k", key] if key else [])],
                              input=data, capture_output=True, timeout=60)
        return int(done.stdout) if done.returncode == 0 else None

    def close(self):
        for process in self.processes:
            try:
                process.signal(signal.SIGCONT)
            except (ProcessLookupError, OSError):
                pass
            process.kill()


BRANCHES = {
    "order": lambda order, cents, count: "order:place:" + json.dumps(
        {"order_id": order, "customer": "alice", "total_cents": cents, "items": [{"sku": "bolt", "quantity": count}]}),
    "payment": lambda order, cents, count: "payment:charge:" + json.dumps(
        {"account": "alice", "amount_cents": cents, "payee": "shop"}),
    "inventory": lambda order, cents, count: "inventory:reserve:" + json.dumps(
        {"items": [{"sku": "bolt", "quantity": count}]}),
}


def branches(order, cents=100, count=1, services=SERVICES):
    arguments = []
    for service in services:
        arguments += ["--branch", BRANCHES[service](order, cents, count)]
    return arguments


def main(*tests):
    """Runs functions of one argument (a fresh Pipeline each) and reports TAP."""
    only = os.environ.get("TEST")
    tests = [test for test in tests if not only or only in test.__name__]
    print("1..%d" % len(tests), flush=True)
    failed = 0
    for number, test in enumerate(tests, 1):
        pipeline, began = Pipeline(), time.monotonic()
        try:
            test(pipeline)
            print("ok %d - %s (%.1f s)" % (number, test.__name__, time.monotonic() - began), flush=True)
        except Exception as error:  # whatever it is, the next test runs and the logs are told
            failed += 1
            print("not ok %d - %s" % (number, test.__name__), flush=True)
            for process in pipeline.processes:
                print("#   --- %s: %s" % (process.name, os.path.basename(process.log)))
                for line in process.text().splitlines()[-15:]:
                    print("#   " + line)
            # Last, because the end of a log is what is told of it.
            for line in traceback.format_exc().splitlines()[-6:] + ["--- failed: " + test.__name__] + str(error).splitlines():
                print("#   " + line)
        finally:
            pipeline.close()
    sys.exit(1 if failed else 0)
