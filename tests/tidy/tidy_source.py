#!/usr/bin/env python3
"""What the text of the tree must keep to: who includes whom, what is never called, how long things may get."""
import os
import re

from report import ROOT, Report, code, files, lines, text

# The direction of layout: a module may include these folders of framework/ …
MODULES = {
    "base": {"base"},
    "core": {"base", "core"},
    "codec": {"base", "core", "codec"},
    "store": {"base", "core", "store"},
    "kafka": {"base", "kafka"},
    "http": {"base", "http"},
    "observe": {"base", "observe"},
    "cache": {"base", "cache"},
    "runtime": {"base", "core", "codec", "store", "kafka", "observe", "runtime"},
    "devbroker": {"base"},
    "include": set(),
}
# … and these headers belong to whom they are named for; everything else in <> is the C library's or the system's.
OWNED = {
    "avro.h": ("framework/codec/", "consumers/", "tests/"),
    "librdkafka/": ("framework/kafka/", "framework/devbroker/", "tests/"),
    "sqlite3.h": ("framework/store/", "framework/http/", "consumers/", "producers/audit/", "tests/"),
    "jansson.h": ("framework/codec/", "framework/http/", "framework/observe/", "consumers/", "producers/", "tests/"),
    "microhttpd.h": ("framework/http/", "tests/"),
    "curl/": ("framework/http/", "producers/load/"),
    "hiredis/": ("consumers/cache/", "tests/"),
    "xxhash.h": ("framework/base/",),
    "openssl/": ("framework/base/",),
    "uuid/uuid.h": ("consumers/", "producers/", "tests/"),
    "criterion/": ("tests/",),
}
# A pure core needs words and bytes, no more.
CORE_SYSTEM = {"stdbool.h", "stddef.h", "stdint.h", "inttypes.h", "limits.h", "string.h"}
PUBLIC_SYSTEM = {"stdbool.h", "stddef.h", "stdint.h"}

BANNED = """strcpy strcat sprintf vsprintf gets strtok atoi atol atof system popen tmpnam mktemp rand srand setjmp longjmp
            alloca""".split()
BODY_LINES_MAX = 70
COLUMNS_MAX = 128
LONG_FUNCTIONS = {}  # "path:function": why it is better in one piece

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def includes(path):
    for match in INCLUDE.finditer(text(path)):
        yield match.group(1), match.group(2)


def system_faults(path, header):
    if header.startswith("assent/"):
        return
    for owned, owners in OWNED.items():
        if header == owned or (owned.endswith("/") and header.startswith(owned)):
            if not path.startswith(owners):
                yield "%s: <%s> belongs to %s" % (path, header, ", ".join(owners))
    if path.startswith("framework/core/") and header not in CORE_SYSTEM:
        yield "%s: <%s>: the core is pure" % (path, header)
    if path.startswith("framework/include/") and header not in PUBLIC_SYSTEM:
        yield "%s: <%s> in a public header" % (path, header)


def framework_faults():
    for path in files(".c", ".h", under="framework"):
        module = path.split("/")[1]
        for mark, header in includes(path):
            if mark == "<":
                yield from system_faults(path, header)
            elif header.endswith(".avsc.inc"):
                if module != "codec":
                    yield "%s: %s: schemas are the codec's" % (path, header)
            elif header.split("/")[0] not in MODULES.get(module, set()):
                yield '%s: "%s": %s may include %s' % (path, header, module, sorted(MODULES.get(module, set())))


def outside_faults():
    for path in files(".c", ".h", under="consumers") + files(".c", ".h", under="producers"):
        for mark, header in includes(path):
            if mark == "<":
                yield from system_faults(path, header)
                continue
            beside = os.path.normpath(os.path.join(os.path.dirname(path), header))
            if beside.split("/")[0] != path.split("/")[0] or not os.path.exists(os.path.join(ROOT, beside)):
                yield '%s: "%s": only <assent/…> and headers of %s' % (path, header, path.split("/")[0])


def banned_faults():
    call = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(BANNED))
    for path in files(".c", ".h"):
        for number, line in enumerate(code(path).split("\n"), 1):
            for match in call.finditer(line):
                yield "%s:%d: %s" % (path, number, match.group(1))


def functions(path):
    """(name, first line, lines of body): the brace of a function, and of nothing else, stands alone at the margin."""
    begin = name = None
    head = ""
    for number, line in enumerate(code(path).split("\n"), 1):
        if line.rstrip() == "{" and begin is None:
            begin = number
            found = re.findall(r"(\w+)\s*\(", head)
            name = found[0] if found else "?"
        elif line.startswith("}") and begin is not None:
            yield name, begin, number - begin - 1
            begin, head = None, ""
        elif begin is None:
            head = "" if line.strip() == "" or line.endswith((";", "}")) else head + line


def long_faults():
    for folder in ("framework", "consumers", "producers"):
        for path in files(".c", ".h", under=folder):
            for name, number, size in functions(path):
                if size > BODY_LINES_MAX and "%s:%s" % (path, name) not in LONG_FUNCTIONS:
                    yield "%s:%d: %s has %d lines (max %d)" % (path, number, name, size, BODY_LINES_MAX)


def is_text(path):
    return not path.endswith((".png", ".bin", ".db", ".gz", ".sqlite"))


def layout_faults():
    for path in files():
        if not is_text(path):
            continue
        content = lines(path)
        if content[-1] != "":
            yield "%s: no newline at the end" % path
        for number, line in enumerate(content, 1):
            if line != line.rstrip():
                yield "%s:%d: trailing blanks" % (path, number)
            if "\t" in line and path.endswith((".c", ".h", ".py", ".sh", ".yml", ".avsc")):
                yield "%s:%d: a tab" % (path, number)
            if len(line) > COLUMNS_MAX and path.endswith((".c", ".h")):
                yield "%s:%d: %d columns (max %d)" % (path, number, len(line), COLUMNS_MAX)


def word_faults():
    unfinished = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")
    machine = re.compile(r"(?<![\w.)}~])/(?:work|root|home)\b|\.\./" r"shared\b")
    for path in files():
        if not is_text(path):
            continue
        for number, line in enumerate(lines(path), 1):
            for match in unfinished.finditer(line):
                yield "%s:%d: %s: finish it or file it" % (path, number, match.group(0))
            for match in machine.finditer(line):
                yield "%s:%d: %s: a path of somebody's machine" % (path, number, match.group(0))


def main():
    report = Report()
    report.check("framework modules include in one direction", framework_faults())
    report.check("consumers and producers include only what a user may", outside_faults())
    report.check("no banned call", banned_faults())
    report.check("functions fit on a screen", long_faults())
    report.check("no tabs, trailing blanks, overlong lines", layout_faults())
    report.check("nothing unfinished, no path of a machine", word_faults())
    report.finish()


main()
