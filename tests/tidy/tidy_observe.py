#!/usr/bin/env python3
"""What operators are handed: the alerts are sound and tested, and rules, dashboard and code name the same metrics."""
import json
import os
import re
import subprocess
import tempfile

import yaml

from report import ROOT, Report, files, text

FOLDER = "framework/observe"
RULES, TESTS, DASHBOARD = ("%s/%s" % (FOLDER, name) for name in ("assent.rules.yml", "assent.rules.test.yml", "dashboard.json"))
NAME = re.compile(r"\b((?:assent|process)_[a-z0-9_]+?)(?:_bucket|_sum|_count)?\b(?!\")")
SHOWN_ELSEWHERE = {"process_max_fds"}  # for whoever wants a ratio


def promtool(*arguments, folder=FOLDER):
    done = subprocess.run(["promtool", *arguments], cwd=os.path.join(ROOT, folder), capture_output=True, text=True, check=False)
    if done.returncode:
        yield from (done.stdout + done.stderr).strip().splitlines()


def rules():
    return [rule for group in yaml.safe_load(text(RULES))["groups"] for rule in group["rules"]]


def panels():
    return [panel for panel in json.loads(text(DASHBOARD))["panels"] if panel["type"] != "row"]


def expressions():
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")


def exposed():
    """Names as the code has them: whole string literals."""
    found = set()
    for path in files(".c", ".h", under="framework") + files(".c", ".h", under="consumers"):
        found |= set(re.findall(r'"((?:assent|process)_[a-z0-9_]+)"', text(path)))
    return found


def named(expression):
    return set(NAME.findall(expression))


def unknown_faults():
    known = exposed()
    for rule in rules():
        for name in sorted(named(rule["expr"]) - known):
            yield "%s: %s: nothing exposes it" % (rule["alert"], name)
    for expression in expressions():
        for name in sorted(named(expression) - known):
            yield "%s: %s: nothing exposes it" % (DASHBOARD, name)


def unseen_faults():
    """A metric begins where the code says assent_expose (or a helper of that line) with its name."""
    shown = set().union(*(named(expression) for expression in expressions()))
    begun = set()
    for path in files(".c", under="framework"):
        begun |= set(re.findall(r'expose\w*\((?:\w+,\s*)+"((?:assent|process)_[a-z0-9_]+)"', text(path)))
    for name in sorted(begun - shown - SHOWN_ELSEWHERE):
        yield "%s: no panel shows %s" % (DASHBOARD, name)


def dashboard_faults():
    """Every expression as a rule of its own, so that promtool judges it."""
    identities = [panel["id"] for panel in json.loads(text(DASHBOARD))["panels"]]
    if len(set(identities)) != len(identities):
        yield "two panels have the same id"
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "panels.yml"), "w", encoding="utf-8") as file:
            yaml.safe_dump({"groups": [{"name": "panels", "rules": [
                {"record": "panel_%d" % i, "expr": expression} for i, expression in enumerate(expressions())]}]}, file)
        yield from promtool("check", "rules", os.path.join(folder, "panels.yml"))


def tested_faults():
    """An alert that is never expected may be one that never fires; one that is never absent may always."""
    fired, quiet = set(), set()
    for test in yaml.safe_load(text(TESTS))["tests"]:
        for case in test["alert_rule_test"]:
            (fired if case.get("exp_alerts") else quiet).add(case["alertname"])
    for rule in rules():
        for seen, word in ((fired, "fires"), (quiet, "is quiet")):
            if rule["alert"] not in seen:
                yield "%s: no test in which it %s" % (rule["alert"], word)


def main():
    report = Report()
    report.check("the alert rules are sound", promtool("check", "rules", os.path.basename(RULES)))
    report.check("the alerts fire when they should, and only then", promtool("test", "rules", os.path.basename(TESTS)))
    report.check("every alert is tested both ways", tested_faults())
    report.check("the dashboard's expressions are sound", dashboard_faults())
    report.check("rules and dashboard name only what the code exposes", unknown_faults())
    report.check("the dashboard shows every metric of the framework", unseen_faults())
    report.finish()


main()
