"""What is measured: a real Kafka, and worlds in it, each with a prefix, processes and a folder of its own."""
import contextlib
import datetime
import glob
import http.client
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.append(os.path.join(ROOT, "tests", "chaos"))
import cluster

BUILD = os.environ.get("ASSENT_BUILD", os.path.join(ROOT, "build", "release"))
# What the programs see: no configuration of the caller's.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("ASSENT_")}
LANES = 4
SAMPLES = ("order", "payment", "inventory")
ARENA_KB = 1 << 20  # a lane's state is the only mapping of such a size (assent.memory_bytes_max)
WARM_MS = 500
# Payloads of the idle participants are padded so that a transaction's records are as long as the sample services'.
PAYLOAD = 47


class Broken(Exception):
    """There is no figure, and why."""


def until(what, function, seconds):
    """Waits until function() is true; returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = function()
        if value:
            return value
        if time.monotonic() > end:
            raise Broken("waited %g s in vain until %s" % (seconds, what))
        time.sleep(0.02)


def cpu_s(pid):
    """User and system time, so far."""
    with open("/proc/%d/stat" % pid, encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(words, seconds=120, given=""):
    done = subprocess.run(words, input=given, capture_output=True, timeout=seconds, env=ENVIRONMENT, check=False,
                          text=True)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().split("\n")
        raise Broken("%s: status %d: %s" % (os.path.basename(words[0]), done.returncode, "\n".join(said[-4:])))
    return done.stdout


def moment(text):
    """Unix time of an ISO 8601 text in UTC."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Process:
    def __init__(self, words, log):
        with open(log, "ab") as file:
            self.log, self.begin = log, file.tell()
            # Ctrl-C is for us, who then stop everything.
            self.popen = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=ENVIRONMENT,
                                          start_new_session=True)
        self.pid = self.popen.pid

    def said(self, event):
        """The lines about an event, as {key: value}; `ts` as Unix time."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            file.seek(self.begin)
            lines = [line for line in file if 'event="%s"' % event in line or "event=%s " % event in line]
        found = [dict(re.findall(r'(\w+)=("[^"]*"|\S+)', line)) for line in lines]
        return [dict(line, ts=moment(line["ts"])) for line in found]

    def wait_for(self, event, seconds, count=1):
        def there():
            if self.popen.poll() is not None:
                with open(self.log, encoding="utf-8", errors="replace") as file:
                    raise Broken("%s ended: %s" % (os.path.basename(self.log), "".join(file.readlines()[-3:]).strip()))
            return len(self.said(event)) >= count
        until("%s says \"%s\"" % (os.path.basename(self.log), event), there, seconds)
        return self

    def end(self, number=signal.SIGKILL):
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        self.popen.wait(30)

    def memory(self):
        """(resident, of that the lanes' state), in bytes."""
        resident, state, size = 0, 0, 0
        with open("/proc/%d/smaps" % self.pid, encoding="utf-8") as file:
            for line in file:
                word = line.split()
                if word[0] == "Size:":
                    size = int(word[1])
                elif word[0] == "Rss:":
                    resident += int(word[1]) * 1024
                    state += int(word[1]) * 1024 if size >= ARENA_KB else 0
        return resident, state

    def commits(self):
        """Local transactions committed so far, each with an fsync."""
        connection = http.client.HTTPConnection("127.0.0.1", int(self.said("admin listens")[-1]["port"]), timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return sum(int(value) for value in re.findall(r"^assent_store_commit_duration_seconds_count\S* (\d+)", text, re.M))

    def written(self):
        """Bytes it gave to its disk so far."""
        with open("/proc/%d/io" % self.pid, encoding="ascii") as file:
            return int(re.search(r"^write_bytes: (\d+)", file.read(), re.M).group(1))

    def settle(self):
        """Waits until it has nothing more to do."""
        def idle():
            before = cpu_s(self.pid)
            time.sleep(0.5)
            return cpu_s(self.pid) - before < 0.02
        until("process %d is idle" % self.pid, idle, 120)


class Kafka:
    def __init__(self, folder, nodes=1):
        self.folder, self.nodes = folder, range(1, nodes + 1)

    def start(self, *options):
        environment = dict(os.environ)
        if len(self.nodes) > 1:
            environment.setdefault("ASSENT_KAFKA_HEAP", "-Xmx512m")
        done = subprocess.run([cluster.KAFKA, "start", self.folder, *options], stdin=subprocess.DEVNULL, env=environment,
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise Broken("kafka.sh start: %s" % done.stderr.strip()[-500:])
        self.servers = done.stdout.strip().split("=", 1)[1]
        self.server = self.servers.split(",")[0]

    def pid(self, node):
        with open(os.path.join(self.folder, "node-%d.pid" % node), encoding="ascii") as file:
            return int(file.read())

    def cpu_s(self):
        return sum(cpu_s(self.pid(node)) for node in self.nodes)

    def topics(self, prefix):
        names = os.listdir(os.path.join(self.folder, "data-1"))
        return sorted({name.rsplit("-", 1)[0] for name in names if re.match(re.escape(prefix) + r"\..*-\d+$", name)})

    def held(self, prefix):
        """(records, bytes in the logs) of a prefix's topics."""
        topics, records = self.topics(prefix), 0
        body = struct.pack(">ii", -1, len(topics))
        for topic in topics:
            body += cluster.words(topic) + struct.pack(">i", LANES)
            body += b"".join(struct.pack(">iq", lane, -1) for lane in range(LANES))  # -1: the end
        answer = cluster.ask(self.server, 2, 1, body)
        for _ in range(answer.take("i")):
            answer.text()
            for _ in range(answer.take("i")):
                _, error, _, offset = (answer.take(code) for code in "ihqq")
                if error:
                    raise Broken("ends of %s: error %d" % (prefix, error))
                records += offset
        logs = (glob.glob(os.path.join(self.folder, "data-1", "%s-%d" % (topic, lane), "*.log"))
                for topic in topics for lane in range(LANES))
        return records, sum(os.path.getsize(path) for paths in logs for path in paths)

    def delete(self, prefix):
        """What was measured is not needed any more, and would fill the disk."""
        names = self.topics(prefix)
        body = struct.pack(">i", len(names)) + b"".join(map(cluster.words, names)) + struct.pack(">i", 10000)
        cluster.ask(self.server, 20, 1, body, seconds=15)

    def lead(self, prefix, node):
        """Moves the leaders of all lanes of the prefix."""
        replicas = [node] + [other for other in self.nodes if other != node]
        cluster.move_leaders(self.server, {(topic, lane): replicas for topic in self.topics(prefix) for lane in range(LANES)})

    def stop(self):
        subprocess.run([cluster.KAFKA, "stop", self.folder], stdin=subprocess.DEVNULL, capture_output=True, check=False)


class World:
    """A prefix. Services beside the samples are idle participants, which do nothing; those in `memory` have SQLite without a
    file, those in `forgetful` a store that keeps nothing. Those in `absent` have topics and no process."""

    def __init__(self, kafka, folder, prefix, services, memory=(), forgetful=(), absent=(), **settings):
        self.kafka, self.prefix, self.services, self.memory, self.forgetful = kafka, prefix, services, memory, forgetful
        self.folder = os.path.join(folder, prefix)
        os.makedirs(self.folder)
        self.processes, self.others, self.has_relay, self.audited = {}, [], False, 0
        replication = len(kafka.nodes)
        self.settings = {"brokers": kafka.servers, "dev": "true", "replication": replication,
                         "min_insync_replicas": min(2, replication), "lanes_count": LANES, **settings}
        self.make(prefix, [*services, *absent])

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, prefix, services):
        with open(self.path(prefix + ".properties"), "w", encoding="ascii") as file:
            file.write("assent.prefix=%s\n" % prefix)
            file.writelines("assent.%s=%s\n" % item for item in self.settings.items())
        words = [word for service in services for word in ("--service", service)]
        run([self.program("assentctl"), "topics", "apply", "--config", self.path(prefix + ".properties"), *words, "--events",
             "order.events"])

    @staticmethod
    def program(name):
        return os.path.join(BUILD, "bin" if name.startswith("assent") else "tests", name)

    def spawn(self, name, program, *words):
        return Process([self.program(program), "--config", self.path(self.prefix + ".properties"), *words],
                       self.path(name + ".log"))

    def start(self, name, *words):
        """A role, by its name; returns before it is ready."""
        if name in ("coordinator", "standby"):
            process = self.spawn(name, "assent-coordinator", *words)
        elif name in SAMPLES:
            process = self.spawn(name, "assent-" + name, "--seed", "--db", self.path(name + ".db"), *words)
        else:
            program = "forgetful" if name in self.forgetful else "idle"
            db = ":memory:" if name in self.memory else self.path(name + ".db")
            process = self.spawn(name, program, "--service", name, "--db", db, *words)
        self.processes[name] = process
        return process

    def up(self, *coordinator):
        for name in self.services:
            self.start(name)
        self.start("coordinator", *coordinator)
        for process in self.processes.values():
            process.wait_for("ready", 300)  # one that reads 10,000,000 branches at its first start takes a while
        self.lanes_taken("coordinator")
        return self

    def listen(self, name, program, *words):
        """A service by HTTP; returns HOST:PORT."""
        port = self.path(name + ".port")
        self.processes[name] = self.spawn(name, program, "--db", self.path(name + ".db"), "--listen", "127.0.0.1:0",
                                          "--port-file", port, *words).wait_for("ready", 60)

        def told():
            with contextlib.suppress(OSError), open(port, encoding="ascii") as file:
                return file.read().strip()
        return "127.0.0.1:" + until("%s tells its port" % name, told, 10)

    def lanes_taken(self, name, seconds=60):
        """The time at which it had them all; replayed, where there was something to replay."""
        process, lanes = self.processes[name], int(self.settings["lanes_count"])

        def taken():
            events = {event: process.said(event)
                      for event in ("lane taken, no checkpoint", "lane taken, replaying", "takeover proved")}
            proved = [*events["lane taken, no checkpoint"], *events["takeover proved"]]
            return len(proved) >= lanes and events
        events = until("%s has its lanes" % name, taken, seconds)
        times = [line["ts"] for lines in events.values() for line in lines]
        return {"taken": max([line["ts"] for line in events["lane taken, replaying"]] or times), "proved": max(times),
                "replayed": sum(int(line["replayed"]) for line in events["takeover proved"])}

    # ---- measuring ----

    def cpu(self):
        seconds = {name: cpu_s(process.pid) for name, process in self.processes.items()}
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return dict(seconds, client=used.ru_utime + used.ru_stime, broker=self.kafka.cpu_s())

    def load_words(self, services, *words):
        """`services` may be one list for all."""
        padded = [] if set(services) & set(SAMPLES) else ["--payload-size", str(PAYLOAD)]
        return ["--services", ",".join(services), "--timeout", "25s", "--quiet", "--json", *padded, *map(str, words)]

    @staticmethod
    def judge(told):
        """Whatever is not committed makes the figures worthless."""
        if told["committed"] != told["count"] or told["rejected"] or told["unknown"]:
            raise Broken("not all committed: %d of %d; %d aborted (%s), %d rejected (%s), %d unknown" % (
                told["committed"], told["count"], told["aborted"], told["first_abort"], told["rejected"],
                told["first_rejection"], told["unknown"]))
        if told["not_begun"]:
            raise Broken("%d begins of the schedule were never made" % told["not_begun"])

    def load(self, ms, *words, services=None):
        """assent-load for so long; its figures, and the CPU time of everybody for each transaction."""
        services = services or self.services
        before = self.cpu()
        told = json.loads(run([self.program("assent-load"), "--config", self.path(self.prefix + ".properties"),
                               *self.load_words(services, "--warm-up", "%dms" % WARM_MS, "--duration", "%dms" % ms, *words)]))
        self.judge(told)
        time.sleep(0.3)  # the last acknowledgements
        count = told["count"] + told["warm_up"]
        self.audited += count
        used = {name: (seconds - before[name]) / count * 1e6 for name, seconds in self.cpu().items()}
        told["cpu_us"] = {"coordinator": used["coordinator"], "participants": sum(used[name] for name in services),
                          "client": used["client"], "broker": used["broker"]}
        told["cpu_us"]["roles"] = sum(used[name] for name in ("coordinator", "client", *services))
        return told

    def relay(self, *words, linger_ms=1, services=None):
        """The raw relay, in topics of its own. Its client has assent's settings but for the linger: it does not hurry when idle."""
        prefix = self.prefix + "-relay"
        if not self.has_relay:
            self.make(prefix, self.services)
            self.has_relay = True
        before = self.kafka.cpu_s()
        told = json.loads(run([self.program("relay"), "--config", self.path(prefix + ".properties"), "--services",
                               ",".join(services or self.services), "--set", "linger.ms=%d" % linger_ms, *map(str, words)]))
        told["cpu_us"] = {"roles": told["cpu_us_per_tx"], "broker": (self.kafka.cpu_s() - before) / told["played"] * 1e6}
        return told

    def load_beside(self, name, *words):
        """A load while something happens."""
        process = Process([self.program("assent-load"), "--config", self.path(self.prefix + ".properties"),
                           *self.load_words(self.services, "--save", self.path(name + ".json"), *words)],
                          self.path(name + ".log"))
        self.others.append(process)
        return process

    def outcomes(self, since):
        """[(birth, append time of the first outcome)] of the transactions begun since, in the outcomes' order."""
        first = {}
        for line in run([self.program("assentctl"), "tail", "outcomes", "--config",
                         self.path(self.prefix + ".properties")]).splitlines():
            record = json.loads(line)
            message = record["message"]
            if message["outcome"] in ("COMMITTED", "ABORTED"):
                at = moment(record["time"])
                first[message["txn_id"]] = min(at, first.get(message["txn_id"], at))
        births = ((int(txn_id.replace("-", "")[:12], 16) / 1000, at) for txn_id, at in first.items())
        return sorted((pair for pair in births if pair[0] >= since), key=lambda pair: pair[1])

    def audit(self):
        """The sample services' databases must agree, and have seen everything that was begun."""
        words = [word for name in self.services for word in ("--" + name, self.path(name + ".db"))]
        told = json.loads(run([self.program("assent-audit"), *words, "--wait", "30s", "--json"]))
        if told["transactions"] != self.audited:
            raise Broken("the audit saw %d transactions, %d were begun" % (told["transactions"], self.audited))

    def close(self):
        for process in [*self.others, *self.processes.values()]:
            process.end()

    def remove(self):
        with contextlib.suppress(OSError):
            self.kafka.delete(self.prefix)
            if self.has_relay:
                self.kafka.delete(self.prefix + "-relay")
        shutil.rmtree(self.folder)
