"""Three real brokers and the places that processes live in: network namespaces on one bridge, where that is permitted."""
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KAFKA = os.path.join(HERE, "..", "broker", "kafka.sh")
NODES = (1, 2, 3)
NET = "10.77.0."
# Small and quick to start; a broker that is hardly up when the next one is killed is no use.
HEAP = "-Xms192m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto"
UNSHARE = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
PROBE = ("ip link set lo up && ip link add br0 type bridge && ip link add v0 type veth peer name v1 && "
         "unshare --net true && ip route add blackhole 10.99.0.0/24")


def run(*command, check=True):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if check and done.returncode:
        raise RuntimeError("%s: %s" % (" ".join(command), done.stdout.decode(errors="replace").strip()))
    return done


def enter(inside="ASSENT_CHAOS_INSIDE"):
    """Starts this program again inside namespaces of its own, where cutting the network is allowed and whatever it leaves
    running ends with it. Returns None inside, or why there are none."""
    if inside in os.environ:
        return os.environ[inside] or None
    why = "there is no unshare or no ip"
    for user in ([], ["--user", "--map-root-user"]):
        try:
            done = run(*UNSHARE, *user, "sh", "-c", PROBE, check=False)
        except OSError as error:
            why = str(error)
            continue
        if done.returncode == 0:
            os.environ[inside] = ""
            sys.stdout.flush()
            os.execvp("unshare", [*UNSHARE, *user, sys.executable, *sys.argv])
        why = done.stdout.decode(errors="replace").strip().split("\n")[-1]
    return "not permitted here: %s" % why


class Network:
    """A host for each name: a namespace with one address, plugged into the bridge."""

    def __init__(self, names):
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
        run("ip", "address", "add", NET + "254/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        self.holders, self.numbers, self.cuts = {}, {}, set()
        for number, name in enumerate(names, 1):
            holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
            self.holders[name], self.numbers[name] = holder, number
            own = os.readlink("/proc/self/ns/net")
            while os.readlink("/proc/%d/ns/net" % holder.pid) == own:
                time.sleep(0.01)
            run("ip", "link", "add", "v%d" % number, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
            run("ip", "link", "set", "v%d" % number, "master", "br0", "up")
            for command in ("link set lo up", "address add %s%d/24 dev eth0" % (NET, number), "link set eth0 up"):
                run(*self.at(name), "ip", *command.split())

    def at(self, name):
        return ["nsenter", "--net", "--target", str(self.holders[name].pid), "--"]

    def address(self, name):
        return NET + str(self.numbers[name])

    def isolate(self, name, cut=True):
        run("ip", "link", "set", "v%d" % self.numbers[name], "down" if cut else "up")

    def drop(self, source, target, cut=True):
        """What `source` sends to `target` is lost; the other way stays open."""
        run(*self.at(source), "ip", "route", "add" if cut else "delete", "blackhole", self.address(target) + "/32")


class Loopback:
    """The same without namespaces: nothing can be cut."""

    def __init__(self, names):
        self.names = names

    def at(self, name):
        return []

    def address(self, name):
        return "127.0.0.1"


class Brokers:
    def __init__(self, folder, network):
        self.folder, self.network = folder, network
        os.environ.setdefault("ASSENT_KAFKA_HEAP", HEAP)
        hosts = ",".join(network.address("broker-%d" % node) for node in NODES)
        # Leaders also move back by themselves, all brokers being there.
        done = run(KAFKA, "create", folder, "--nodes", "3", "--hosts", hosts, "--set",
                   "leader.imbalance.check.interval.seconds=7")
        self.servers = re.search(r"^bootstrap\.servers=(\S+)", done.stdout.decode(), re.M).group(1)
        self.starting = {}

    def start(self, node):
        """Returns at once; `ready` tells."""
        with open(os.path.join(self.folder, "start-%d.log" % node), "ab") as log:
            self.starting[node] = subprocess.Popen([*self.network.at("broker-%d" % node), KAFKA, "start", self.folder, "--node",
                                                    str(node)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def up(self, seconds):
        end = time.monotonic() + seconds
        for node in NODES:
            self.start(node)
        while not all(map(self.ready, NODES)):
            if time.monotonic() > end or any(starting.poll() for starting in self.starting.values()):
                raise RuntimeError("the brokers are not up after %d s, see start-*.log" % seconds)
            time.sleep(0.1)

    def ready(self, node):
        return self.starting[node].poll() == 0

    def pid(self, node):
        with open(os.path.join(self.folder, "node-%d.pid" % node), encoding="ascii") as file:
            return int(file.read())

    def signal(self, node, number):
        try:
            os.kill(self.pid(node), number)
        except (OSError, ValueError):
            pass

    def kill(self, node):
        starting = self.starting.get(node)
        if starting and starting.poll() is None:
            starting.kill()
            starting.wait()
        self.signal(node, signal.SIGKILL)

    def stop(self):
        run(KAFKA, "stop", self.folder, check=False)

    def elections(self, topics):
        """How often these topics' leaders changed after the first one: the epochs that the replicas noted."""
        total = 0
        for topic, lanes in topics.items():
            for lane in range(lanes):
                newest = 0
                for node in NODES:
                    path = os.path.join(self.folder, "data-%d" % node, "%s-%d" % (topic, lane), "leader-epoch-checkpoint")
                    try:
                        with open(path, encoding="ascii") as file:
                            newest = max([newest] + [int(line.split()[0]) for line in file.read().split("\n")[2:] if line])
                    except OSError:
                        pass
                total += newest
        return total


# ---- Kafka's protocol, as far as the client library does not have it or hides it ----

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, code):
        values = struct.unpack_from(">" + code, self.data, self.at)
        self.at += struct.calcsize(">" + code)
        return values[0]

    def text(self):
        size = self.take("h")
        self.at += max(size, 0)
        return self.data[self.at - size:self.at].decode() if size >= 0 else None


def words(value):
    return struct.pack(">h", len(value)) + value.encode()


def ask(server, key, version, body, flexible=False, seconds=5):
    """One request on a connection of its own; the response's body."""
    host, port = server.rsplit(":", 1)
    head = struct.pack(">hhi", key, version, 1) + words("chaos") + (b"\0" if flexible else b"")
    with socket.create_connection((host, int(port)), seconds) as connection:
        connection.settimeout(seconds)
        connection.sendall(struct.pack(">i", len(head + body)) + head + body)
        with connection.makefile("rb") as file:
            size = struct.unpack(">i", file.read(4))[0]
            return Reader(file.read(size)[5 if flexible else 4:])


def move_leaders(server, moves):
    """moves: {(topic, lane): replicas, the wanted leader first}. The same replicas in another order, then the preferred
    leader is elected: nothing is copied, and nobody is down."""
    def compact(value):
        return bytes([len(value) + 1]) + value.encode()  # short names only
    topics = sorted({topic for topic, _ in moves})
    body = struct.pack(">i", 5000) + bytes([len(topics) + 1])
    plain = struct.pack(">i", len(topics))
    for topic in topics:
        lanes = {lane: replicas for (name, lane), replicas in moves.items() if name == topic}
        body += compact(topic) + bytes([len(lanes) + 1])
        plain += words(topic) + struct.pack(">i", len(lanes))
        for lane, replicas in lanes.items():
            body += struct.pack(">ib%di" % len(replicas), lane, len(replicas) + 1, *replicas) + b"\0"
            plain += struct.pack(">i", lane)
        body += b"\0"
    ask(server, 45, 0, body + b"\0", flexible=True, seconds=15)
    ask(server, 43, 0, plain + struct.pack(">i", 5000), seconds=15)


def group_offsets(server, group, topic, lanes):
    """[(offset or -1, metadata)], one for each lane."""
    found = ask(server, 10, 0, words(group))
    error, _, host, port = found.take("h"), found.take("i"), found.text(), found.take("i")
    if error:
        raise OSError("no coordinator for group %s: error %d" % (group, error))
    body = words(group) + struct.pack(">i", 1) + words(topic) + struct.pack(">i%di" % lanes, lanes, *range(lanes))
    answer = ask("%s:%d" % (host, port), 9, 1, body)
    answer.take("i"), answer.text(), answer.take("i")
    offsets = {}
    for _ in range(lanes):
        lane, offset, metadata, error = answer.take("i"), answer.take("q"), answer.text(), answer.take("h")
        if error:
            raise OSError("offset of group %s, lane %d: error %d" % (group, lane, error))
        offsets[lane] = offset, metadata
    return [offsets[lane] for lane in range(lanes)]
