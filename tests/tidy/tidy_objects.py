#!/usr/bin/env python3
"""What the objects tell: the core is pure, and the shared library exports the public headers and nothing else."""
import glob
import os
import re
import subprocess

from report import BUILD, Report, ROOT, code, files

CORE = os.path.join(BUILD, "obj/framework/core")
BASE = os.path.join(BUILD, "obj/framework/base")
# What a core may ask of the C library: bytes. The last two come from the compiler's hardening.
BYTES = re.compile(r"(?:memcpy|memmove|memset|memcmp|strlen|SHA1_(?:Init|Update|Final)"
                   r"|__(?:memcpy|memmove|memset)_chk|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_)$")
# The arena is where the core's memory comes from: reserved once at birth, and returned.
ARENA = ("arena.o", {"mmap", "munmap"})
PANIC = "assent_panic"  # ends the process; the only way out of a broken invariant


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def objects(folder):
    return sorted(glob.glob(os.path.join(folder, "*.o")))


class Object:
    """One object file: which section defines a symbol, and which names each section refers to."""

    def __init__(self, path):
        self.path = path
        self.section_of, self.exported, self.refers = {}, set(), {}
        for line in run("objdump", "-t", path).splitlines():
            match = re.match(r"[0-9a-f]+ (.)....(.)(.) (\S+)\t[0-9a-f]+ (?:\.hidden )?(\S+)$", line)
            if match and match.group(4) != "*UND*":
                self.section_of[match.group(5)] = match.group(4)
                if match.group(1) == "g":
                    self.exported.add(match.group(5))
        section = None
        for line in run("objdump", "-r", path).splitlines():
            match = re.match(r"RELOCATION RECORDS FOR \[(\S+)\]", line)
            if match:
                section = match.group(1)
                continue
            match = re.match(r"[0-9a-f]+ R_\S+\s+(\S+?)(?:[+-]0x[0-9a-f]+)?$", line)
            if match:
                self.refers.setdefault(section, set()).add(match.group(1))


def reached():
    """Everything the core can get to, section by section (a function is a section of its own), into base as well.
    Yields (object, section, name): the name that a section asks for, or None for the section itself."""
    core, base = [Object(path) for path in objects(CORE)], [Object(path) for path in objects(BASE)]
    home = {symbol: thing for thing in core + base for symbol in thing.exported}
    waiting = [(thing, section) for thing in core for section in set(thing.section_of.values()) | set(thing.refers)]
    seen = set()
    while waiting:
        thing, section = waiting.pop()
        if (thing, section) in seen or section.startswith((".debug", ".eh_frame")):
            continue
        seen.add((thing, section))
        yield thing, section, None
        for name in sorted(thing.refers.get(section, ())):
            if name == PANIC:
                continue
            if name in thing.section_of or name.startswith("."):
                waiting.append((thing, thing.section_of.get(name, name)))
            elif name in home:
                waiting.append((home[name], home[name].section_of[name]))
            else:
                yield thing, section, name


def purity_faults():
    """A helper in base that allocates or reads a clock would make the core do so: calls are followed into base."""
    if not objects(CORE):
        yield "no objects in %s" % CORE
    for thing, section, name in reached():
        if name is None or BYTES.match(name):
            continue
        if not (os.path.basename(thing.path) == ARENA[0] and name in ARENA[1]):
            yield "%s %s needs %s" % (os.path.relpath(thing.path, BUILD), section, name)


def global_faults():
    """A table of pointers stands in .data.rel.ro, read-only once the program runs; .data and .bss would be state."""
    for thing, section, name in reached():
        if name is None and re.match(r"\*COM\*|\.t?bss|\.tdata|\.data(?!\.rel\.ro)", section):
            names = [symbol for symbol, where in thing.section_of.items() if where == section and symbol != section]
            if names:
                yield "%s: %s in %s" % (os.path.relpath(thing.path, BUILD), ", ".join(sorted(names)), section)


def declared():
    public, unmarked = set(), []
    for path in files(".h", under="framework/include"):
        source = re.sub(r"^\s*#(?:[^\\\n]|\\\n|\\.)*", "", code(path), flags=re.M)
        for statement in re.split(r"[;{}]", source):
            match = re.search(r"\b(assent_\w+)\s*\((?!\s*\*)", statement)
            if not match or re.search(r"\btypedef\b|\bstatic\b|\(\s*\*", statement[:match.start()]):
                continue
            if re.search(r"ASSENT_API|visibility\(", statement[:match.start()]):
                public.add(match.group(1))
            else:
                unmarked.append("%s: %s is not marked ASSENT_API" % (path, match.group(1)))
    return public, unmarked


def export_faults():
    library = os.path.join(BUILD, "libassent.so")
    if not os.path.exists(library):
        yield "%s is not built" % library
        return
    public, unmarked = declared()
    yield from unmarked
    exported = {line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()}
    for name in sorted(public - exported):
        yield "%s is declared and not exported" % name
    for name in sorted(exported - public):
        yield "%s is exported and in no public header" % name


def hardening_faults():
    built = glob.glob(os.path.join(BUILD, "libassent.so")) + glob.glob(os.path.join(BUILD, "bin", "*"))
    for path in sorted(filter(os.path.exists, built)):
        name, header = os.path.relpath(path, BUILD), run("readelf", "-hWld", path)
        if not re.search(r"Type:\s+DYN", header):
            yield "%s is not position-independent" % name
        if "GNU_RELRO" not in header or not re.search(r"BIND_NOW|FLAGS_1.*NOW", header):
            yield "%s is linked without -z relro -z now" % name
        if re.search(r"GNU_STACK.*\bRWE\b", header):
            yield "%s has an executable stack" % name
        if path.endswith(".so") and "[libassent.so.0]" not in header:
            yield "%s has no SONAME libassent.so.0" % name


def alone_faults():
    compiler = os.environ.get("CC", "gcc")
    for path in files(".h", under="framework/include/assent"):
        result = subprocess.run(
            [compiler, "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
             "-I" + os.path.join(ROOT, "framework/include"), "-x", "c", "-"],
            input="#include <assent/%s>\n" % os.path.basename(path), stderr=subprocess.PIPE, text=True, check=False)
        if result.returncode:
            yield "%s: %s" % (path, result.stderr.strip().split("\n")[0])


def main():
    report = Report()
    report.check("the core, and what it uses of base, asks for nothing but bytes and its arena", purity_faults())
    report.check("the core has no writable globals", global_faults())
    report.check("the shared library exports the public headers, all of them and no more", export_faults())
    report.check("library and programs are hardened", hardening_faults())
    report.check("every public header compiles alone", alone_faults())
    report.finish()


main()
