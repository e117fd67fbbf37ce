#!/usr/bin/env python3
"""assent-load as its users see it: what it begins, measures, asserts, saves, draws and refuses."""
import csv
import json
import os
import signal
import subprocess
import time
import xml.dom.minidom

from pipeline import BUILD, SERVICES, check, equal, main

FAST = ("--quiet", "--json")


def load(p, *arguments, wanted=0):
    """Runs it; the one JSON object, and what was said beside it."""
    status, out, err = p.run("assent-load", *FAST, *arguments)
    equal(status, wanted, "exit status of assent-load %s:\n%s%s" % (" ".join(arguments), out, err))
    equal(out.count("\n"), 1, "one line on stdout")
    return json.loads(out), err


def plot(*arguments):
    done = subprocess.run([os.path.join(BUILD, "bin", "assent-load"), "plot", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=20)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def databases(p):
    return [word for service in SERVICES for word in ("--" + service, p.db(service))]


def a_schedule_is_measured_saved_and_drawn(p):
    p.up()
    saved, series = os.path.join(p.folder, "<one> & only.json"), os.path.join(p.folder, "series.csv")
    told, err = load(p, "--rate", "200", "--arrivals", "poisson", "--warm-up", "1s", "--duration", "2s", "--protocol", "mix",
                     "--services", "order,payment,inventory", "--participants", "4", "--payload-size", "600", "--skew", "1.2",
                     "--abort-ratio", "0.1", "--duplicate-ratio", "0.2", "--save", saved, "--csv", series, *databases(p),
                     "--assert", "violations==0", "--assert", "p99<10s", "--assert", "lag_max < 2s")
    check(300 < told["count"] < 500, "about 400 in two seconds: %r" % told)
    check(100 < told["warm_up"] < 300, "about 200 before: %r" % told)
    equal(told["committed"] + told["aborted"], told["count"], "outcomes")
    check(0.02 < told["aborted"] / told["count"] < 0.25, "about a tenth is refused: %r" % told)
    check(0.1 < told["duplicates"] / told["count"] < 0.35 and told["duplicates_absorbed"] == told["duplicates"], str(told))
    equal((told["in_doubt"], told["violations"], told["rejected"], told["unknown"]), (0, 0, 0, 0), "the audit")
    equal([a["holds"] for a in told["assertions"]], [True] * 3, "assertions")
    equal((told["settings"]["rate"], told["settings"]["seed"], told["first_abort"]), (200, 1, None), "settings")
    check(told["p50_ms"] <= told["p99_ms"] <= told["p999_ms"] <= told["max_ms"], str(told))
    with open(saved) as file:
        whole = json.load(file)
    equal(sum(count for _, count in whole["histogram_us"]), told["count"], "the histogram holds every latency")
    with open(series) as file:
        rows = list(csv.DictReader(file))
    equal(sum(int(row["begun"]) for row in rows), told["count"], "the series holds every begin")
    check(len(rows) >= 2 and rows[0]["second"] == "1", "a line a second: %r" % rows)
    picture = os.path.join(p.folder, "picture.svg")
    status, out, err = plot(saved, saved, "-o", picture)
    equal(status, 0, out + err)
    drawn = xml.dom.minidom.parse(picture)
    equal(len(drawn.getElementsByTagName("polyline")), 4, "two curves for each of two results")
    check("<one> & only.json" in drawn.getElementsByTagName("tspan")[0].firstChild.data, "its name is there")
    # What the services saw.
    begins = {r["message"]["txn_id"]: r["message"] for r in p.tail("inbox") if r["message"]["type"] == "BEGIN"}
    equal({b["protocol"] for b in begins.values()}, {"2PC", "3PC"}, "both protocols")
    equal({len(b["branches"]) for b in begins.values()}, {4}, "branches")
    used = p.query("payment", "SELECT count(*) FROM ledger GROUP BY account ORDER BY 1 DESC")
    check(used[0][0] > 5 * used[len(used) // 2][0], "the first account is used most: %r" % used[:3])


def a_seed_gives_the_same_load_again(p):
    p.up()
    drawn = []
    for seed, same in (("7", False), ("7", True), ("8", False)):
        told, err = load(p, "-n", "200", "--abort-ratio", "0.3", "--duplicate-ratio", "0.3", "--seed", seed)
        p.audit()
        drawn.append((told["committed"], told["aborted"], told["duplicates"]))
        odd = p.query("payment", "SELECT account FROM ledger GROUP BY account HAVING count(*) % 2 = 1")
        equal(odd == [], same, "every account was charged twice as often: %r" % odd)
    equal(drawn[0], drawn[1], "the same seed")
    check(drawn[0] != drawn[2], "another seed: %r" % drawn)


def a_schedule_that_is_not_kept_is_said_to_lag(p):
    p.up()
    arguments = ("--rate", "5000", "--duration", "1s", "--in-flight", "4")
    told, err = load(p, *arguments, "--assert", "lag_max<50ms", "--assert", "not_begun==0", "--assert", "committed>0", wanted=1)
    check(told["not_begun"] > 0 and told["lag_max_ms"] > 100, str(told))
    check(4900 < told["count"] + told["not_begun"] < 5100, "the whole schedule: %r" % told)
    check(told["p50_ms"] > 50, "latencies count from the scheduled begin: %r" % told)
    equal([a["holds"] for a in told["assertions"]], [False, False, True], "assertions")
    equal(err.count("broken:"), 2, "a line for each broken assertion: " + err)
    check("lag_max<50ms: lag_max_ms is" in err, err)
    status, out, err = p.run("assent-load", "--quiet", *arguments)
    check(status == 0 and "NOT KEPT" in out and "never made" in out, out + err)


def an_interrupted_load_tells_what_it_has(p):
    p.up()
    process = p.launch("assent-load", "--rate", "50", "--duration", "1m", "--json")
    time.sleep(2.5)
    process.signal(signal.SIGINT)
    status = process.popen.wait(15)
    check(status in (0, 4), "exit status %d" % status)
    text = process.text()
    told = json.loads(text[text.index("{"):])
    check(50 < told["committed"] < 250, text)
    check("tx/s" in text.split("{")[0], "a line of progress each second: " + text)


def what_cannot_be_is_refused_before_anything_is_begun(p):
    nowhere = os.path.join(p.folder, "nowhere.db")
    for status, part, *arguments in (
            (2, "no whole number from 1 to 10000000", "--count", "0"),
            (2, "did you mean --rate", "--ratt", "5"),
            (2, "needs --rate", "--arrivals", "poisson"),
            (2, "the limit needs a unit", "--assert", "p99<5"),
            (2, "tx_per_s seconds p50_ms", "--assert", "p98<5ms"),
            (2, "more than 32", *["--assert", "count>0"] * 33),
            (2, "known only to the audit", "--assert", "violations==0"),
            (2, "known only with --rate", "--assert", "lag_max<1s"),
            (2, "nowhere.db: No such file", "--payment", nowhere),
            (2, "nowhere.db: No such file", nowhere),
            (2, "is no NAME", "--services", "payment,Inventory"),
            (2, "--save", "--save", os.path.join(nowhere, "x")),
            (2, "--csv", "--csv", os.path.join(nowhere, "x"))):
        got, out, err = p.run("assent-load", *arguments)
        check(got == status and part in err and out == "", "%r: %d %s%s" % (arguments, got, out, err))
    for status, part, *arguments in (
            (2, "Give -o FILE.svg", "x.json"),
            (2, "no result given", "-o", "x.svg"),
            (2, "x.json", "x.json", "-o", "x.svg"),
            (0, "Example:", "--help")):
        got, out, err = plot(*arguments)
        check(got == status and part in out + err, "%r: %d %s%s" % (arguments, got, out, err))
    p.up("payment")
    too_large = ("-n", "5", "--payload-size", "300000", "--services", "payment")
    got, out, err = p.run("assent-load", *too_large)
    check(got == 2 and "assent.record_bytes_max" in err and "lower --payload-size" in err, "%d %s%s" % (got, out, err))
    told, err = load(p, "-n", "5", "--services", "nobody:nothing", *["--assert", "count==5"] * 32)
    check(told["aborted"] == 5 and told["first_abort"] and len(told["assertions"]) == 32, "an abort that was not asked for tells why: %r" % told)


main(a_schedule_is_measured_saved_and_drawn, a_seed_gives_the_same_load_again, a_schedule_that_is_not_kept_is_said_to_lag,
     an_interrupted_load_tells_what_it_has, what_cannot_be_is_refused_before_anything_is_begun)
