"""What the tidy checks share: TAP on standard output, the files of the tree, C without its comments and strings."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("ASSENT_BUILD", os.path.join(ROOT, "build", "release"))


class Report:
    def __init__(self):
        self.count = self.failed = 0

    def check(self, name, faults):
        """One test: it passes when the list of faults is empty."""
        self.count += 1
        faults = list(faults)
        self.failed += bool(faults)
        print(("not ok" if faults else "ok"), self.count, "-", name)
        for fault in faults:
            print("  #", fault)

    def finish(self):
        print("1..%d" % self.count, flush=True)
        sys.exit(1 if self.failed else 0)


def files(*suffixes, under=""):
    """Paths relative to the root of all files that belong to the tree (nothing built, nothing of git's)."""
    found = []
    for folder, folders, names in os.walk(os.path.join(ROOT, under).rstrip("/")):
        folders[:] = sorted(f for f in folders if f not in (".git", "__pycache__"))
        if folder == ROOT and "build" in folders:
            folders.remove("build")
        for name in sorted(names):
            if not suffixes or name.endswith(suffixes):
                found.append(os.path.relpath(os.path.join(folder, name), ROOT))
    return found


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def lines(path):
    return text(path).split("\n")


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code(path):
    """A C file with comments and the insides of strings blanked, line numbers kept."""
    def blank(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token[0] + token[0]
        return "\n" * token.count("\n") or " "
    return TOKEN.sub(blank, text(path))
