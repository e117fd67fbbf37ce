"""Figures: medians and ratios of rounds, tables in markdown, and the machine that they are of."""
import ctypes
import os
import platform
import re
import statistics
import subprocess
import tempfile
import time

from stage import ROOT

CPU = ("coordinator", "participants", "client", "roles", "broker")
TAIL_COUNT = 10000  # fewer transactions have no p99.9
HEAD = ("", "tx/s", "÷ relay", "p50 ms", "÷ relay", "p99 ms", "÷ p50", "p99.9 ms", "coordinator µs", "participants µs",
        "client µs", "all roles µs", "broker µs")


def plain(value):
    """At most three digits that mean something; thousands whole."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if abs(value) >= 100:
        return "{:,.0f}".format(value)
    return "%.3g" % value


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def spread(values):
    """The median, and between what the rounds lay."""
    if len(values) < 2:
        return plain(median(values))
    return "%s (%s–%s)" % (plain(median(values)), plain(min(values)), plain(max(values)))


def ratios(rounds, others, key):
    """Round by round, for only what ran side by side is comparable."""
    return [one[key] / other[key] for one, other in zip(rounds, others)]


def table(head, rows):
    lines = ["| %s |" % " | ".join(head), "|%s|" % "|".join(["---"] * len(head))]
    return "\n".join(lines + ["| %s |" % " | ".join(map(plain, row)) for row in rows])


def compared(rounds, relays):
    """The table of a comparison: rounds by name, and the name of each one's relay."""
    rows = []
    for name, told in rounds.items():
        relay = rounds.get(relays.get(name))
        middle = {key: median([one.get(key) for one in told]) for key in ("tx_per_s", "p50_ms", "p99_ms")}
        tail = median([one.get("p999_ms") for one in told if one["count"] >= TAIL_COUNT])
        rows.append([name, middle["tx_per_s"], spread(ratios(told, relay, "tx_per_s")) if relay else "", middle["p50_ms"],
                     spread(ratios(told, relay, "p50_ms")) if relay else "", middle["p99_ms"],
                     median([one["p99_ms"] / one["p50_ms"] for one in told]), tail,
                     *(median([one["cpu_us"].get(role) for one in told]) for role in CPU)])
    return table(HEAD, rows)


def busy(rounds):
    """How many cores each role kept at work, which tells what bounds it; the relay's roles are threads of one process."""
    return table(("", *CPU), [(name, *(median([one["cpu_us"][role] * one["tx_per_s"] / 1e6 for one in told])
                                       if role in told[0]["cpu_us"] else "" for role in CPU))
                              for name, told in rounds.items()])


# ---- the machine ----

def output(*words):
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              cwd=ROOT, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""
    except OSError:
        return ""


def first(pattern, path):
    with open(path, encoding="utf-8", errors="replace") as file:
        found = re.search(pattern, file.read(), re.M)
    return found.group(1) if found else "unknown"


def version(library, function):
    call = getattr(ctypes.CDLL(library), function)
    call.restype = ctypes.c_char_p
    return call().decode()


def sync_ms(folder):
    """Median time of an fdatasync after 4 KiB."""
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def disk(folder):
    number = os.stat(folder).st_dev
    kind = output("df", "--output=fstype", folder).split("\n")[-1]
    device = os.path.realpath("/sys/dev/block/%d:%d" % (os.major(number), os.minor(number)))
    # A partition has no queue of its own.
    for path in (device, os.path.dirname(device)):
        if os.path.exists(path + "/queue/rotational"):
            turns = first(r"(\d)", path + "/queue/rotational") == "1"
            model = first(r"(.*\S)", path + "/device/model") if os.path.exists(path + "/device/model") else ""
            return ", ".join(filter(None, [kind, os.path.basename(path), model,
                                           "rotating, as the kernel says" if turns else "not rotating"]))
    return kind


def commit():
    dirty = output("git", "status", "--porcelain", "--untracked-files=no")
    return (output("git", "rev-parse", "--short=12", "HEAD") or "unknown") + (", with changes" if dirty else "")


def machine(folder):
    return {
        "CPU": "%d × %s" % (os.cpu_count(), first(r"^model name\s*: (.*)", "/proc/cpuinfo")),
        "memory": "%.1f GiB" % (int(first(r"^MemTotal:\s*(\d+)", "/proc/meminfo")) / 2**20),
        "disk": disk(folder),
        "fdatasync after 4 KiB": "%.2g ms" % sync_ms(folder),
        "kernel": platform.system() + " " + platform.release(),
        "load before": "%.1f" % os.getloadavg()[0],
        "librdkafka": version("librdkafka.so.1", "rd_kafka_version_str"),
        "SQLite": version("libsqlite3.so.0", "sqlite3_libversion"),
        "Kafka": first(r"^version=(.*)", os.path.join(ROOT, "tests", "broker", "kafka.sh")),
        "Java": (re.findall(r".*version.*", output("java", "-version")) or ["unknown"])[0],
        "commit": commit(),
    }
