#!/usr/bin/env python3
"""Real processes run into the limits of their machine while a load runs: a full disk, no more files, no more memory, too little of
the processor. They say so or wait; nothing is lost, and with room again everything is settled and the books balance."""
import contextlib
import os
import re
import resource
import signal
import subprocess
import time
import urllib.error
import urllib.request

from pipeline import check, equal, main, until

FATAL = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL, -signal.SIGXFSZ)


def load(p, count, *more):
    process = p.launch("assent-load", "-n", str(count), "--participants", "order,payment,inventory", "--abort-ratio", "0.1",
                       "--quiet", *more)
    until("the load runs", lambda: p.query("payment", "SELECT count(*) FROM assent_branch")[0][0] > 50)
    return process


def settled(p, generator):
    """The load has ended, knowing all or not all outcomes, and the databases agree."""
    check(generator.popen.wait(100) in (0, 4), generator.text())
    check(p.query("payment", "SELECT count(*) FROM assent_branch WHERE state = 4")[0][0] > 0, "commits:\n" + generator.text())
    p.audit(wait="40s")
    for service in p.services:
        equal(p.query(service, "SELECT count(*) FROM assent_branch WHERE frozen"), [(0,)], "contradictions of " + service)


def ended(process, pattern):
    """It has stopped by itself, by no signal, and has said why."""
    status = until("%s stops" % process.name, lambda: process.popen.poll() is not None and [process.popen.poll()], 60)[0]
    check(status > 0, "%s ended with %d:\n%s" % (process.name, status, process.text()))
    check(process.said(pattern), "%s said nothing like %s:\n%s" % (process.name, pattern, process.text()))


def a_file_that_may_not_grow_stops_its_owner(p):
    p.up()
    generator = load(p, 3000)
    for service in ("payment", "inventory"):
        most = max(os.path.getsize(p.db(service) + end) for end in ("", "-wal")) + 65536
        resource.prlimit(p.services[service].popen.pid, resource.RLIMIT_FSIZE, (most, most))
        ended(p.services[service], r"%s: .*\(SQLite 778, .*err=ASSENT_E_STORE" % re.escape(p.db(service)))
        p.services[service] = p.participant(service)
    settled(p, generator)


def may_mount(folder):
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", folder], capture_output=True, check=False)
    return done.returncode == 0


def a_full_disk_stops_its_owner(p):
    """On a file system of its own, where one may be mounted."""
    small, inside = os.path.join(p.folder, "small"), p.db
    os.mkdir(small)
    if may_mount(small):
        p.db = lambda name: os.path.join(small, "payment.db") if name == "payment" else inside(name)
    else:
        print("# no file system may be mounted here: a limit of the file's size stands for it")
    try:
        limits = [] if os.path.ismount(small) else [(resource.RLIMIT_FSIZE, 1 << 20)]
        p.topics()
        p.coordinator_process = p.coordinator()
        p.services = {name: p.participant(name, limits=limits if name == "payment" else []) for name in
                      ("order", "payment", "inventory")}
        generator = load(p, 3000)
        ended(p.services["payment"], r"%s: .*SQLite \d+.*err=ASSENT_E_STORE" % re.escape(p.db("payment")))
        if os.path.ismount(small):
            check(p.services["payment"].said("full"), p.services["payment"].text())
            subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        p.services["payment"] = p.participant("payment")
        settled(p, generator)
    finally:
        p.close()
        if os.path.ismount(small):
            subprocess.run(["umount", small], check=True)


def readiness(process):
    port = until("it listens", lambda: process.said(r'event="admin listens" .*port=(\d+)')).group(1)
    try:
        with urllib.request.urlopen("http://127.0.0.1:%s/readyz?verbose" % port, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def a_full_disk_is_told_before_it_is_met(p):
    """While nothing is written: whoever asks whether it is ready hears that it could not write, until it could."""
    small, inside = os.path.join(p.folder, "small"), p.db
    os.mkdir(small)
    if not may_mount(small):
        print("# no file system may be mounted here: not tested")
        return
    p.db = lambda name: os.path.join(small, "payment.db") if name == "payment" else inside(name)
    try:
        p.up()
        payment = p.services["payment"]
        until("it is ready", lambda: readiness(payment)[0] == 200)
        filler = os.path.join(small, "filler")
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        until("it is told", lambda: readiness(payment)[0] == 503)
        check("store not writable" in readiness(payment)[1], readiness(payment)[1])
        os.remove(filler)
        until("it is ready again", lambda: readiness(payment)[0] == 200)
    finally:
        p.close()
        if os.path.ismount(small):
            subprocess.run(["umount", small], check=True)


def few_files_or_little_memory_are_refused(p):
    """From next to nothing upwards, until it is ready; a process that goes on without says what it lacks."""
    p.up()
    generator = load(p, 1500)
    for service in ("coordinator", "payment"):
        for which, values, said in ((resource.RLIMIT_NOFILE, (3, 6, 8, 14, 18), r"open files|rror 24|cannot open"),
                                    (resource.RLIMIT_AS, (16 << 20, 32 << 20, 64 << 20, 128 << 20),
                                     r"memory|cannot reserve|map segment|thread")):
            for most in values:
                process = p.coordinator_process if service == "coordinator" else p.services[service]
                process.kill()
                process = p.launch("assent-" + service, *(["--lanes", "all"] if service == "coordinator" else
                                                          ["--db", p.db(service)]), limits=[(which, most)])
                # (A library that gets no memory may abort, in words of its own.)
                aborts = -signal.SIGABRT if which == resource.RLIMIT_AS else 0
                until("%s with %d says what it lacks" % (service, most),
                      lambda x=process, y=said, z=aborts: x.said(y) or (z and x.popen.poll() == z))
                check(process.popen.poll() not in FATAL, process.text())
                check(not process.said(r'event="?ready'), "ready with so little:\n" + process.text())
                process.kill()
        if service == "coordinator":
            p.coordinator_process = p.coordinator()
        else:
            p.services[service] = p.participant(service)
    settled(p, generator)


def no_more_files_or_memory_in_the_middle(p):
    p.up()
    generator = load(p, 2000)
    for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS):
        for name in ("coordinator", "payment"):
            process = p.coordinator_process if name == "coordinator" else p.services[name]
            # Not below what is open: poll() would refuse that, too.
            most = 1 if which == resource.RLIMIT_AS else 1 + max(map(int, os.listdir("/proc/%d/fd" % process.popen.pid)))
            resource.prlimit(process.popen.pid, which, (most, resource.prlimit(process.popen.pid, which)[1]))
        before = p.query("payment", "SELECT count(*) FROM assent_branch")
        until("it goes on or ends", lambda b=before: p.services["payment"].popen.poll() is not None or
              p.coordinator_process.popen.poll() is not None or generator.popen.poll() is not None or
              p.query("payment", "SELECT count(*) FROM assent_branch") != b)
        for name in ("coordinator", "payment"):
            process = p.coordinator_process if name == "coordinator" else p.services[name]
            check(process.popen.poll() not in FATAL, "%s ended with %s:\n%s" % (name, process.popen.poll(), process.text()))
            # (A library that gets no memory may abort, in words of its own.)
            status = process.popen.poll()  # before its words are looked at
            told = process.said("memory|files|alloc") or (which == resource.RLIMIT_AS and status == -signal.SIGABRT)
            check(status is None or told, process.text())
            process.kill()
        p.coordinator_process = p.coordinator()
        p.services["payment"] = p.participant("payment")
    settled(p, generator)


def undecided(process):
    port = until("it listens", lambda: process.said(r'event="admin listens" .*port=(\d+)')).group(1)
    with urllib.request.urlopen("http://127.0.0.1:%s/metrics" % port, timeout=10) as answer:
        page = answer.read().decode()
    return int(re.search(r'^assent_transactions_in_flight\{.*state="undecided".* (\d+)$', page, re.M).group(1))


def a_slow_participant_holds_others_up_within_bounds(p):
    """It runs for a fiftieth of the time, as on a disk or a processor that others have: more is begun than it can take."""
    p.settings.update(in_flight_soft=25, in_flight_max=1000)
    p.up()
    generator = load(p, 3000, "--rate", "400")
    slow, most = p.services["payment"], 0
    for _ in range(12):
        slow.signal(signal.SIGSTOP)
        time.sleep(0.5)
        most = max(most, undecided(p.coordinator_process))
        slow.signal(signal.SIGCONT)
        time.sleep(0.01)
    print("# at most %d undecided" % most)
    check(25 < most < 800, "undecided: %d" % most)  # 4 lanes of 25; without shedding 4 s of 400
    for process in (p.coordinator_process, *p.services.values()):
        check(process.popen.poll() is None, "%s ended:\n%s" % (process.name, process.text()))
    settled(p, generator)


main(a_file_that_may_not_grow_stops_its_owner, a_full_disk_stops_its_owner, a_full_disk_is_told_before_it_is_met,
     few_files_or_little_memory_are_refused,
     no_more_files_or_memory_in_the_middle, a_slow_participant_holds_others_up_within_bounds)
