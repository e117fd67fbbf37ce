#!/usr/bin/python3
"""docker-compose.yml and the Dockerfile, as far as they can be judged without an engine. Debian's python3-yaml reads the
file; `docker compose config` checks it as well where the plugin is there."""
import os
import re
import shutil
import stat
import subprocess
import tempfile

import yaml

from report import ROOT, Report, text

FILE = "docker-compose.yml"
TOP_KEYS = {"name", "services", "volumes"}
SERVICE_KEYS = {"image", "build", "restart", "init", "stop_grace_period", "read_only", "tmpfs", "cap_drop", "security_opt",
                "ports", "environment", "volumes", "healthcheck", "command", "depends_on", "profiles", "network_mode"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
SERVICES = {"kafka", "topics", "tokens", "coordinator", "order", "payment", "inventory", "cache"}
TOKENS = "/etc/assent/tokens"  # the folder of the image that the service `tokens` fills
# What a KRaft node needs once any property is given: the image drops all its defaults then.
KAFKA_NEEDS = """CLUSTER_ID KAFKA_NODE_ID KAFKA_PROCESS_ROLES KAFKA_LISTENERS KAFKA_ADVERTISED_LISTENERS
    KAFKA_LISTENER_SECURITY_PROTOCOL_MAP KAFKA_INTER_BROKER_LISTENER_NAME KAFKA_CONTROLLER_LISTENER_NAMES
    KAFKA_CONTROLLER_QUORUM_VOTERS KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR
    KAFKA_TRANSACTION_STATE_LOG_MIN_ISR KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR
    KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS KAFKA_AUTO_CREATE_TOPICS_ENABLE
    KAFKA_LOG_DIRS""".split()


def pinned(image):
    tag = image.rpartition(":")[2] if ":" in image else ""
    return re.match(r"\d+\.\d+", tag) is not None


def shape_faults(compose):
    for key in compose:
        if key not in TOP_KEYS and not key.startswith("x-"):
            yield "%s is no key for the top" % key
    for name in sorted(SERVICES - set(compose["services"])):
        yield "there is no service %s" % name
    for name, service in compose["services"].items():
        for key in sorted(set(service) - SERVICE_KEYS):
            yield "%s: unknown key %s" % (name, key)
        if not pinned(service.get("image", "")):
            yield "%s: the image %r has no version" % (name, service.get("image"))
        for key, value in service.get("environment", {}).items():
            if not isinstance(value, str):
                yield "%s: %s is a YAML %s; quote it" % (name, key, type(value).__name__)


def order_faults(compose):
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if other not in services:
                yield "%s depends on %s, which is not there" % (name, other)
            elif how.get("condition") not in CONDITIONS:
                yield "%s: %s: %r is no condition" % (name, other, how.get("condition"))
            elif how["condition"] == "service_healthy" and "test" not in services[other].get("healthcheck", {}):
                yield "%s waits for the health of %s, which has no health check" % (name, other)
            elif how["condition"] == "service_completed_successfully" and services[other].get("restart") != "no":
                yield "%s waits for the end of %s, which is started again" % (name, other)


def targets_of(service):
    """{folder in the container: volume}"""
    return {volume.split(":")[1]: volume.split(":")[0] for volume in service.get("volumes", [])}


def volume_faults(compose):
    declared, used = set(compose.get("volumes", {})), set()
    for name, service in compose["services"].items():
        targets = targets_of(service)
        for source in targets.values():
            used.add(source)
            if source not in declared:
                yield "%s: the volume %s is not declared" % (name, source)
        for variable in ("ASSENT_DB", "KAFKA_LOG_DIRS"):
            path = service.get("environment", {}).get(variable)
            if path and not any((path + "/").startswith(target + "/") for target in targets):
                yield "%s: %s=%s is in none of its volumes" % (name, variable, path)
    for name in sorted(declared - used):
        yield "nobody uses the volume %s" % name


def kafka_faults(compose):
    kafka = compose["services"]["kafka"]["environment"]
    for name in KAFKA_NEEDS:
        if name not in kafka:
            yield "%s is not set" % name
    listeners = {item.split(":")[0]: item.rpartition(":")[2] for item in kafka["KAFKA_LISTENERS"].split(",")}
    mapped = {item.split(":")[0] for item in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")}
    if set(listeners) != mapped:
        yield "listeners %s, protocols for %s" % (sorted(listeners), sorted(mapped))
    for item in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","):
        name, port = item.split(":")[0], item.rpartition(":")[2]
        if listeners.get(name) != port:
            yield "%s is advertised on port %s and listens on %s" % (name, port, listeners.get(name))
    if kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] != "false":
        yield "topics must not make themselves"


def daemon_faults(compose):
    """Commands are programs that `make install` brings, variables are keys of the configuration's table."""
    keys = set(re.findall(r'"assent\.([a-z_]+)"', text("framework/base/config_table.c")))
    for name, service in compose["services"].items():
        if name in ("kafka", "tokens"):
            continue
        program = service["command"][0]
        folder = program.replace("assent-", "consumers/") if program != "assentctl" else "producers/ctl"
        if not os.path.isdir(os.path.join(ROOT, folder)):
            yield "%s: there is no program %s" % (name, program)
        elif program != "assentctl":
            known = set(re.findall(r'^ +\{"([a-z-]+)", ', text(folder + "/main.c"), re.M))
            for word in service["command"][1:]:
                if word.startswith("--") and word[2:] not in known:
                    yield "%s: %s has no option %s" % (name, program, word)
        for variable in service["environment"]:
            if not variable.startswith("ASSENT_") or variable[len("ASSENT_"):].lower() not in keys:
                yield "%s: %s sets no key of the configuration" % (name, variable)


def option(service, name):
    command = service.get("command", [])
    return command[command.index(name) + 1] if name in command else None


def http_faults(compose):
    """Whoever listens beyond loopback takes tokens, out of the volume that `tokens` fills before; from the host all that is
    reached by loopback alone; and every daemon is asked whether it is well where it listens for that."""
    for name, service in compose["services"].items():
        published = [port.split(":") for port in service.get("ports", [])]
        for port in published:
            if len(port) != 3 or port[0] != "127.0.0.1":
                yield "%s: %s is published beyond loopback" % (name, ":".join(port))
        if name == "kafka":
            continue
        listen = option(service, "--listen")
        if [port[-1] for port in published] != ([listen.rpartition(":")[2]] if listen else []):
            yield "%s listens on %s and publishes %s" % (name, listen, published)
        if listen and not listen.startswith("127."):
            if TOKENS not in targets_of(service) or not (option(service, "--tokens") or "").startswith(TOKENS + "/"):
                yield "%s listens on %s without a token file out of %s" % (name, listen, TOKENS)
            if "tokens" not in service["depends_on"]:
                yield "%s may start before its token file is there" % name
        if not service["command"][0].startswith("assent-"):
            continue
        admin, test = service["environment"].get("ASSENT_ADMIN_LISTEN", ""), service.get("healthcheck", {}).get("test", [])
        if not admin.startswith("127.0.0.1:"):
            yield "%s: its admin port %r is not of loopback, and has no token file" % (name, admin)
        if not test or test[-1] not in ["http://%s/%s" % (admin, path) for path in ("livez", "readyz")]:
            yield "%s: its health check asks %s, not %s" % (name, test, admin)


def token_faults(compose):
    """What the service `tokens` makes is run here, in a folder of its own: twice, as at every `up`."""
    shell, flags, script = compose["services"]["tokens"]["command"]
    script = script.replace("$$", "$")
    wanted = {path for service in compose["services"].values() for path in service.get("command", [])
              if path.startswith(TOKENS + "/")}
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for _ in range(2):
            subprocess.run([shell, flags, script.replace(TOKENS, folder)], check=True)
            made.append({name: open(os.path.join(folder, name)).read() for name in sorted(os.listdir(folder))})
        if made[0] != made[1]:
            yield "a second start makes other tokens"
        for path in sorted(wanted):
            if os.path.basename(path) not in made[0]:
                yield "%s is not made" % path
        for name, lines in made[0].items():
            if stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) != 0o600:
                yield "%s can be read by others" % name
            for line in lines.splitlines():
                if not re.fullmatch(r"[a-z]+ [0-9a-f]{64}" if name.endswith(".tokens") else "[0-9a-f]{64}", line):
                    yield "%s has the line %r" % (name, line)
        source, known = (made[0].get(os.path.basename(option(compose["services"][name], word) or ""), "")
                         for name, word in (("cache", "--source-token-file"), ("order", "--tokens")))
        if not source or " " + source not in known:
            yield "order does not know the token that the cache brings"


def plugin_faults():
    if not shutil.which("docker"):
        return
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        return
    result = subprocess.run(["docker", "compose", "-f", os.path.join(ROOT, FILE), "config", "-q"],
                            capture_output=True, text=True, check=False)
    if result.returncode:
        yield result.stderr.strip().split("\n")[0]


def dockerfile_faults():
    source = text("Dockerfile")
    stages = re.findall(r"^FROM (\S+)", source, re.M)
    default = re.search(r"^ARG DEBIAN=(\S+)", source, re.M)
    if not default or not pinned(default.group(1)) or set(stages) != {"${DEBIAN}"}:
        yield "the base image has no version"
    users = re.findall(r"^USER (\S+)", source, re.M)
    if not re.search(r"install -d -o assent .*\s%s\s" % TOKENS, source):
        yield "it has no folder %s of the user assent" % TOKENS
    if not users or users[-1] in ("root", "0"):
        yield "it runs as root"
    for path in re.findall(r"^COPY (?!--from)(\S+) ", source, re.M):
        if not os.path.exists(os.path.join(ROOT, path)):
            yield "COPY %s: there is no such file" % path
    version = re.search(r'ASSENT_VERSION\s+"([^"]+)"', text("framework/include/assent/types.h")).group(1)
    if "image: assent:%s\n" % version not in text(FILE):
        yield "%s does not name the image assent:%s" % (FILE, version)


def main():
    report = Report()
    compose = yaml.safe_load(text(FILE))
    report.check("compose: services, keys, pinned images", shape_faults(compose))
    report.check("compose: dependencies can be met", order_faults(compose))
    report.check("compose: data is in named volumes", volume_faults(compose))
    report.check("compose: the broker has all it needs", kafka_faults(compose))
    report.check("compose: daemons and variables exist", daemon_faults(compose))
    report.check("compose: HTTP beyond loopback has tokens, ports are of loopback, daemons are asked for their health",
                 http_faults(compose))
    report.check("compose: tokens are made as they are read", token_faults(compose))
    report.check("compose: the plugin, where there is one, accepts it", plugin_faults())
    report.check("Dockerfile: pinned, not root, in step with the version", dockerfile_faults())
    report.finish()


main()
