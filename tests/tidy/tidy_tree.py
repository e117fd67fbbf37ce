#!/usr/bin/env python3
"""The tree itself: what stands at the top, scripts that parse, released schemas that never change."""
import hashlib
import json
import os
import stat
import subprocess

from report import Report, ROOT, files, lines, text

TOP = {"README.md", "CHANGELOG.md", "LICENSE", ".clang-format", ".gitignore", ".dockerignore", ".ci", "framework",
       "consumers", "producers", "schemas", "tests", "Makefile", "Dockerfile", "docker-compose.yml"}
NOT_OURS = {".git", "build"}
RELEASED = "tests/tidy/schemas.sha256"


def top_faults():
    there = set(os.listdir(ROOT)) - NOT_OURS
    for name in sorted(there - TOP):
        yield "%s does not belong at the top" % name
    for name in sorted(TOP - there):
        yield "%s is missing" % name


def script_faults():
    for path in files():
        with open(os.path.join(ROOT, path), "rb") as file:
            shebang = file.readline(80)
        if not shebang.startswith(b"#!"):
            continue
        if not os.stat(os.path.join(ROOT, path)).st_mode & stat.S_IXUSR:
            yield "%s is not executable" % path
        if b"bash" in shebang or shebang.rstrip().endswith(b"sh"):
            shell = "bash" if b"bash" in shebang else "sh"
            result = subprocess.run([shell, "-n", os.path.join(ROOT, path)], stderr=subprocess.PIPE, text=True, check=False)
            if result.returncode:
                yield "%s: %s" % (path, result.stderr.strip().split("\n")[0])
    for path in files(".py"):
        try:
            compile(text(path), path, "exec")
        except SyntaxError as error:
            yield "%s: %s" % (path, error)


def schema_faults():
    released = {}
    for line in lines(RELEASED):
        if line:
            digest, path = line.split(maxsplit=1)
            released[path] = digest
    for path in files(".avsc", under="schemas"):
        if path not in released:
            yield "%s is not in %s" % (path, RELEASED)
    for path, digest in released.items():
        if not os.path.exists(os.path.join(ROOT, path)):
            yield "%s is gone; a released schema stays" % path
            continue
        with open(os.path.join(ROOT, path), "rb") as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != digest:
            yield "%s changed; a released schema never does: add a new version beside it" % path
        json.loads(content)


def main():
    report = Report()
    report.check("the top level holds what is listed and nothing else", top_faults())
    report.check("scripts parse and can be run", script_faults())
    report.check("released schemas are as they were released", schema_faults())
    report.finish()


main()
