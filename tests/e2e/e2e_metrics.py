#!/usr/bin/env python3
"""What operators see of the real daemons: health, metrics that promtool accepts and that rules and dashboard are made of, and the
gauges of what is in doubt as they rise and fall.

On an embedded broker of the test's own where it is to die."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
import uuid

import pipeline
from orders import Service, order
from pipeline import BUILD, EMBEDDED, SERVICES, Process, branches, check, equal, main, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OBSERVE = os.path.join(ROOT, "framework", "observe")
SOON = {"statistics_ms": 200}
# Exposed only by services that serve HTTP.
OF_HTTP = {"assent_http_requests_total", "assent_http_request_duration_seconds", "assent_client_begins_sent_total",
           "assent_client_begins_total", "assent_client_begins_in_flight", "assent_client_outcomes_total",
           "assent_client_waits_expired_total", "assent_idempotent_replays_total",
           "assent_http_connections_refused_total"}


def port(process):
    return int(until("%s listens for operators" % process.name,
                     lambda: re.search(r'event="admin listens" .*port=(\d+)', process.text())).group(1))


def ask(process, path):
    """(status, body)"""
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port(process), path), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(process):
    """{"name{labels}": value}"""
    status, page = ask(process, "/metrics")
    equal(status, 200, "/metrics of " + process.name)
    return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")}


def metric(process, name, **labels):
    """The sum of the samples of that name that have these labels."""
    found = [value for key, value in metrics(process).items()
             if key.split("{")[0] == name and all('%s="%s"' % label in key for label in labels.items())]
    check(found, "%s exposes no %s with %s" % (process.name, name, labels))
    return sum(found)


def linted(process):
    page = ask(process, "/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=30, check=False)
    equal((done.returncode, done.stdout + done.stderr), (0, ""), "promtool check metrics of %s:\n%s" % (process.name, page))
    return set(re.findall(r"^# TYPE (\S+)", page, re.M))


def named():
    """The metrics that rules and dashboard are made of."""
    with open(os.path.join(OBSERVE, "assent.rules.yml")) as file:
        texts = re.findall(r"expr: (.*(?:\n {10}.*)*)", file.read())
    with open(os.path.join(OBSERVE, "dashboard.json")) as file:
        texts += [target["expr"] for panel in json.load(file)["panels"] for target in panel.get("targets", ())]
    return {re.sub("_(bucket|sum|count)$", "", name) for text in texts for name in re.findall(r"\b(?:assent|process)_[a-z0-9_]+", text)}


@contextlib.contextmanager
def own_broker(p):
    file = os.path.join(p.folder, "port")
    broker = Process("devbroker", [os.path.join(BUILD, "bin", "assent-devbroker"), "--port-file", file], p.folder)
    p.processes.append(broker)
    until("the broker is there", lambda: os.path.exists(file))
    kept = pipeline.BROKERS, pipeline.EMBEDDED
    with open(file) as port_file:
        pipeline.BROKERS, pipeline.EMBEDDED = port_file.read().strip().split("=")[1], True
    try:
        yield broker
    finally:
        pipeline.BROKERS, pipeline.EMBEDDED = kept


def daemons(p):
    return [p.coordinator_process, *p.services.values()]


def every_daemon_tells_what_rules_and_dashboard_want(p):
    p.settings.update(SOON)
    p.up()
    for number in range(5):
        equal(p.begin(*branches("o-%d" % number))[0], 0, "a transaction")
    equal(p.begin(*branches("o-9", cents=10 ** 9))[0], 3, "a transaction that alice cannot pay")
    exposed = set()
    for daemon in daemons(p):
        equal(ask(daemon, "/livez"), (200, "ok\n"), "/livez of " + daemon.name)
        until("%s is ready" % daemon.name, lambda d=daemon: ask(d, "/readyz")[0] == 200)
        version = json.loads(ask(daemon, "/version")[1])
        equal((version["program"], version["rules"]), (daemon.name, 1), "/version")
        check("librdkafka" in version["libraries"], version)
        until("%s tells of Kafka" % daemon.name, lambda d=daemon: "assent_kafka_consumer_lag" in ask(d, "/metrics")[1])
        exposed |= linted(daemon)
    check(len(named()) > 30, named())
    equal(sorted(named() - exposed - OF_HTTP), [], "metrics that rules or dashboard name and nobody exposes")

    coordinator, payment = p.coordinator_process, p.services["payment"]
    equal(metric(coordinator, "assent_transactions_total", outcome="committed", protocol="2pc"), 5, "commits")
    equal(metric(coordinator, "assent_transactions_total", outcome="aborted"), 1, "aborts")
    equal(metric(coordinator, "assent_transaction_duration_seconds_count", outcome="committed"), 5, "timed")
    equal(metric(coordinator, "assent_messages_total", type="begin", result="applied"), 6, "begins")
    until("nothing is in flight", lambda: metric(coordinator, "assent_transactions_in_flight") == 0)
    equal(metric(coordinator, "assent_lanes", state="ready"), pipeline.LANES, "lanes")
    equal(metric(payment, "assent_votes_total", vote="yes"), 5, "votes")
    equal(metric(payment, "assent_votes_total", vote="no"), 1, "votes")
    check(metric(payment, "assent_messages_total", type="command", result="applied") >= 11, "commands")
    check(metric(payment, "assent_store_commit_duration_seconds_count") > 0, "commits of the store")
    check(metric(payment, "assent_store_bytes") > 4096, "a database")
    equal(metric(payment, "assent_frozen_branches"), 0, "frozen")
    until("the checkpoint covers it", lambda: metric(payment, "assent_checkpoint_age_seconds") == 0)
    until("no lag", lambda: metric(payment, "assent_kafka_consumer_lag") == 0)


def what_cannot_be_read_is_counted(p):
    p.settings.update(SOON)
    p.up()
    check(p.send("inbox", 0, b"nonsense") is not None, "sent")
    check(p.send("payment.commands", 1, b"nonsense") is not None, "sent")
    until("the coordinator sets it aside", lambda: metric(p.coordinator_process, "assent_dlt_messages_total") == 1)
    until("payment sets it aside", lambda: metric(p.services["payment"], "assent_dlt_messages_total") == 1)
    equal(metric(p.coordinator_process, "assent_messages_total", type="undecodable", result="malformed"), 1, "counted")
    equal(metric(p.services["payment"], "assent_messages_total", result="malformed"), 1, "counted")


def a_broker_that_dies_makes_nobody_restart(p):
    p.settings.update(SOON)
    with own_broker(p) as broker:
        p.up()
        equal(p.begin(*branches("o-1"))[0], 0, "a transaction")
        broker.kill()
        for daemon in daemons(p):
            until("%s has lost its broker" % daemon.name, lambda d=daemon: metric(d, "assent_kafka_brokers_connected") == 0)
            equal(ask(daemon, "/livez")[0], 200, "/livez of " + daemon.name)
            equal(ask(daemon, "/healthz")[0], 200, "/healthz of " + daemon.name)
            linted(daemon)
            check(daemon.popen.poll() is None, daemon.text())


def an_order_service_tells_of_its_client(p):
    p.settings.update(SOON)
    p.up("payment", "inventory")
    shop = Service(p).start()
    daemon = shop.process

    def begins(**labels):
        return metric(daemon, "assent_client_begins_total", **labels)

    def outcomes(word):
        return metric(daemon, "assent_client_outcomes_total", outcome=word)
    equal([metric(daemon, "assent_client_" + name) for name in ("begins_sent_total", "begins_in_flight", "outcomes_total")], [0, 0, 0], "at first")
    for number in range(3):
        equal(shop.place("k%d" % number).status, 201, "an order")
    equal(shop.place("nobody", order("nobody")).status, 200, "an order that cannot be paid")
    equal(metric(daemon, "assent_client_begins_sent_total"), 4, "begins")
    until("what became of them", lambda: [begins(result=result) for result in ("held", "refused", "dropped")] == [4, 0, 0])
    until("none is in flight", lambda: metric(daemon, "assent_client_begins_in_flight") == 0)
    until("the outcomes", lambda: (outcomes("committed"), outcomes("aborted")) == (3, 1))
    equal(metric(daemon, "assent_client_waits_expired_total"), 0, "waits in vain")
    equal(metric(daemon, "assent_idempotent_replays_total"), 0, "replays")
    for seen in 1, 2:
        equal(shop.place("k0").headers["Idempotent-Replayed"], "true", "an order once more")
        equal(metric(daemon, "assent_idempotent_replays_total"), seen, "replays")
    txn = p.txn()
    for count in 1, 2:
        p.begin("--txn", txn, *branches("o-1", count=count, services=("payment", "inventory")))
    until("other bytes under the same id are refused", lambda: outcomes("rejected") == 1)
    p.services["inventory"].signal(signal.SIGSTOP)
    equal(shop.place("slow", Prefer="wait=1").status, 202, "an order that waits in vain")
    equal(metric(daemon, "assent_client_waits_expired_total"), 1, "waits in vain")
    shop.place("not waited for", Prefer="respond-async")
    equal(metric(daemon, "assent_client_waits_expired_total"), 1, "waits in vain")
    p.services["inventory"].signal(signal.SIGCONT)
    equal(OF_HTTP - linted(daemon), set(), "what it does not expose")


def events_that_wait_for_their_topic_are_seen(p):
    p.settings.update(SOON, retry_ms=100, retry_max_ms=200)
    services = [word for service in SERVICES for word in ("--service", service)]
    equal(p.ctl("topics", "apply", *services)[0], 0, "topics, but none for events")
    p.coordinator()
    for name in ("payment", "inventory"):
        p.participant(name)
    shop = Service(p).start()
    equal(metric(shop.process, "assent_outbox_rows"), 0, "at first")
    for number in range(3):
        equal(shop.place("k%d" % number).status, 201, "an order")
    until("two events of each order wait", lambda: metric(shop.process, "assent_outbox_rows") == 6)
    equal(metric(shop.process, "assent_outbox_sent_total"), 0, "events that the broker has")
    equal(p.ctl("topics", "apply", *services, "--events", "order.events")[0], 0, "their topic")
    until("none waits any more", lambda: metric(shop.process, "assent_outbox_rows") == 0)
    equal(metric(shop.process, "assent_outbox_sent_total"), 6, "events that the broker has")


def cache(p, launch, *arguments):
    return launch("assent-cache", "--db", p.db("cache"), "--listen", "127.0.0.1:0", "--group", p.prefix + ".cache", *arguments)


def a_cache_tells_how_far_it_follows(p):
    p.settings.update(SOON)
    p.up("payment", "inventory")
    shop = Service(p).start()
    equal(shop.place("before").status, 201, "an order")
    daemon = cache(p, p.start)
    until("it is ready", lambda: ask(daemon, "/readyz")[0] == 200)
    equal(ask(daemon, "/readyz?verbose")[1], "[+]consumer %s.cache\n[+]cache\nok\n" % p.prefix, "/readyz")
    until("it has followed", lambda: metric(daemon, "assent_cache_events_total") == 2)
    until("no lag", lambda: "assent_kafka_consumer_lag" in ask(daemon, "/metrics")[1] and metric(daemon, "assent_kafka_consumer_lag") == 0)
    equal(metric(daemon, "assent_messages_total", type="record", result="applied"), 2, "events that were handled")
    equal(metric(daemon, "assent_lanes", state="ready"), pipeline.LANES, "lanes")
    equal([metric(daemon, "assent_ready", source=source) for source in ("cache", "consumer %s.cache" % p.prefix)], [1, 1], "ready")
    check("assent_cache_requests_total" in linted(daemon), "what it serves")
    equal(daemon.stop(), 0, "exit status")
    equal(shop.place("meanwhile").status, 201, "an order")
    daemon = cache(p, p.start)
    until("it has caught up", lambda: metric(daemon, "assent_messages_total", type="record", result="applied") == 2)
    equal(daemon.stop(), 0, "exit status")


def lives_and_is_not_ready_while_it_opens(p):
    """A port that nobody answers on stands for a broker that is away."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        kept = pipeline.BROKERS
        pipeline.BROKERS = "127.0.0.1:%d" % silent.getsockname()[1]
        try:
            for daemon in p.launch("assent-coordinator"), p.launch("assent-payment", "--db", p.db("payment")), cache(p, p.launch):
                equal(ask(daemon, "/livez"), (200, "ok\n"), "/livez")
                equal(ask(daemon, "/readyz?verbose"), (503, "[-]%s: opening\nnot ready\n" % daemon.name), "/readyz")
                check("assent_build_info{program=\"%s\"" % daemon.name in ask(daemon, "/metrics")[1], "/metrics")
        finally:
            pipeline.BROKERS = kept


def in_doubt_rises_without_a_coordinator_and_falls_again(p):
    p.settings.update(SOON)
    p.topics(*SERVICES, "nobody")
    coordinator, payment = p.coordinator(), p.participant("payment")
    equal(metric(payment, "assent_in_doubt_transactions"), 0, "in doubt")
    equal(metric(payment, "assent_in_doubt_oldest_timestamp_seconds"), 0, "since")
    txn = p.txn()
    equal(p.begin("--txn", txn, *branches("o-1", services=("payment",)), "--branch", "nobody:x:{}", wait="1ms")[0], 4, "a begin")
    until("payment is prepared", lambda: p.state("payment", txn) == 2)
    coordinator.kill()
    until("it is seen in doubt", lambda: metric(payment, "assent_in_doubt_transactions") == 1)
    born = (uuid.UUID(txn).int >> 80) / 1000
    equal(metric(payment, "assent_in_doubt_oldest_timestamp_seconds"), born, "the oldest")
    until("it finds the outcome by itself", lambda: metric(payment, "assent_in_doubt_transactions") == 0, 40)
    equal(metric(payment, "assent_in_doubt_oldest_timestamp_seconds"), 0, "since")
    equal(metric(payment, "assent_terminations_total"), 1, "found in the log")
    check(metric(payment, "assent_inquiries_total") >= 1, "asked")


def a_coordinator_that_takes_over_tells_how_long_it_took(p):
    p.settings.update(SOON)
    p.up("payment")
    equal(p.begin(*branches("o-1", services=("payment",)))[0], 0, "a transaction")
    equal(p.coordinator_process.stop(), 0, "exit status")
    p.coordinator_process = p.coordinator()
    until("it is ready", lambda: ask(p.coordinator_process, "/readyz")[0] == 200)
    equal(metric(p.coordinator_process, "assent_recovery_duration_seconds_count"), pipeline.LANES, "takeovers")
    equal(metric(p.coordinator_process, "assent_transactions_total"), 0, "what is replayed is not counted again")


def a_member_that_got_no_lane_is_ready_too(p):
    p.settings.update(lanes_count=1)
    p.topics()
    members = [p.coordinator(name="member-%d" % number) for number in range(2)]
    for member in members:
        until("%s is ready" % member.name, lambda m=member: ask(m, "/readyz")[0] == 200)
    until("one of them has the lane", lambda: sum(metric(member, "assent_lanes", state="ready") for member in members) == 1)
    equal([ask(member, "/readyz?verbose")[1] for member in members], ["[+]coordinator\nok\n"] * 2, "/readyz")


def the_service_manager_is_told(p):
    p.topics()
    path = os.path.join(p.folder, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)

        def told():
            return manager.recv(4096).decode().split("\n")
        for start in p.coordinator, lambda **more: p.participant("payment", **more):
            daemon = start(environment={"NOTIFY_SOCKET": path})
            while "READY=1" not in told():
                pass
            equal(daemon.stop(), 0, "exit status")
            check("STOPPING=1" in told(), "told at the end")


def off_is_off(p):
    p.settings.update(admin_listen="off")
    p.topics()
    check(not p.coordinator().said("admin listens"), "a listener nobody wanted")
    check(not p.participant("payment").said("admin listens"), "a listener nobody wanted")


main(every_daemon_tells_what_rules_and_dashboard_want, what_cannot_be_read_is_counted, a_broker_that_dies_makes_nobody_restart,
     an_order_service_tells_of_its_client, events_that_wait_for_their_topic_are_seen, a_cache_tells_how_far_it_follows, lives_and_is_not_ready_while_it_opens, in_doubt_rises_without_a_coordinator_and_falls_again,
     a_coordinator_that_takes_over_tells_how_long_it_took, the_service_manager_is_told, off_is_off,
     # An embedded broker's groups settle badly, so its coordinators subscribe to none.
     *([] if EMBEDDED else [a_member_that_got_no_lane_is_ready_too]))
