#!/usr/bin/env python3
"""The order service against its own description: schemathesis makes requests out of consumers/order/openapi.json, good and bad
ones, and holds every answer against it."""
import json
import os
import re
import subprocess
import sys

from orders import Service, order
from pipeline import EMBEDDED, ENVIRONMENT, check, equal, main

VERSION = "4.32.5"
SEED = os.environ.get("SEED", "1")
EXAMPLES = 15 if EMBEDDED else 8
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
VENV = os.path.join(ROOT, "build", "openapi")
# What is right by the description and refused all the same: a version that is another one by now, an order that is gone. What
# is wrong by it may be refused for that, too, before anybody looks at what is wrong.
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "404", "409", "410", "412"]
negative_data_rejection.expected-statuses = ["400", "404", "405", "406", "410", "412", "415", "422", "428"]
# 501 is for methods that the server does not know, such as QUERY.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "501"]
missing_required_header.expected-statuses = ["400", "404", "410", "415", "422", "428"]
"""


def text(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return file.read()


def schemathesis():
    """The program; installed once. If it cannot be had, the test fails."""
    program = os.path.join(VENV, "bin", "schemathesis")
    if not os.path.exists(program) or VERSION not in subprocess.run([program, "--version"], capture_output=True).stdout.decode():
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True, capture_output=True)
        done = subprocess.run([os.path.join(VENV, "bin", "pip"), "install", "--quiet", "schemathesis==" + VERSION],
                              capture_output=True)
        check(done.returncode == 0, "pip cannot install schemathesis:\n" + done.stderr.decode())
    return program


def answers_are_as_described(p):
    program = schemathesis()
    p.up("payment", "inventory")
    shop = Service(p, wait_ms=1000).start()
    for number in range(3):
        equal(shop.place("k%d" % number, order("nobody" if number else "alice"), Prefer="wait=20").status, 200 if number else 201, "an order")
    config = os.path.join(p.folder, "schemathesis.toml")
    with open(config, "w") as file:
        file.write(CONFIG)
    # A stream of events does not end; e2e_order.py reads it.
    done = subprocess.run([program, "--config-file", config, "run", "http://127.0.0.1:%d/openapi.json" % shop.port, "--seed", SEED,
                           "-n", str(EXAMPLES), "--checks", "all", "--exclude-checks", "unsupported_method", "--exclude-path", "/v1/events", "--no-color",
                           "--continue-on-failure", "--generation-database", "none", "--request-timeout", "20"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=150, cwd=p.folder,
                          env=dict(ENVIRONMENT, SCHEMATHESIS_HOOKS="openapi_hooks", PYTHONPATH=HERE))
    out = done.stdout.decode(errors="replace")
    found = re.search(r"(\d+) generated", out)
    check(done.returncode == 0 and found and int(found.group(1)) > 300, "schemathesis:\n%s%s" % (out, done.stderr.decode()))
    print("# seed %s: %s" % (SEED, found.group(0)))
    check(shop.process.popen.poll() is None, "the service lives")
    equal(shop.process.stop(), 0, "and ends as it should")
    p.participant("order")
    p.audit()


def the_description_is_the_one_in_the_tree_and_knows_every_problem(p):
    shop = Service(p)
    p.up("payment", "inventory")
    shop.start()
    description = json.loads(text("consumers", "order", "openapi.json"))
    equal(shop.get("/openapi.json").json, description, "what is served")
    told = set(re.findall(r'^    \{"([a-z-]+)", \d+,', text("consumers", "order", "problems.c") + text("consumers", "problems.h"),
                          re.M))
    said = set()
    for folder in (("consumers", "order"), ("framework", "http")):
        for name in os.listdir(os.path.join(ROOT, *folder)):
            if name.endswith(".c") and name != "fetch.c":
                said |= set(re.findall(r'assent_http_problem\(\s*request,\s*\w+,\s*"([a-z-]+)"', text(*folder, name)))
    said |= set(re.findall(r'assent_http_problem\(request, \d+, "([a-z-]+)"', text("consumers", "problems.h")))
    equal(told, said, "problems.c has what the service says")
    described = set(re.findall(r"/problems/([a-z-]+)", json.dumps(description)))
    equal(described - told, set(), "described problems that nobody knows")
    # Of what is not described by path and method nothing can be said there.
    equal(told - described, {"method-not-allowed", "unknown-method", "problem-not-found"} - described, "problems not described")
    for slug in sorted(told):
        answer = shop.get("/problems/" + slug)
        equal((answer.status, answer.json["slug"]), (200, slug), "what it means")
    equal(shop.get("/problems/none").problem(), "problem-not-found", "an unknown one")


main(answers_are_as_described, the_description_is_the_one_in_the_tree_and_knows_every_problem)
