#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How runs and recordings end when the world interferes: SIGTERM and SIGINT, processes left behind, limits on file sizes, full disks, closed
descriptors, readers that go away. Each case says what is reported, with which status, and nothing may be left: no process, no file in
TMPDIR or /dev/shm.

Usage: ends.py [--quire PATH] [NAME]...
"""
import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

from surroundings import PATIENCE_S, usual

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SMALL = ["--machine", os.path.join(ROOT, "machines/small.conf")]
# Ends by itself when told to; says when it is ready. Its stdin never ends.
POLITE = "trap 'echo told; exit 7' TERM INT; echo ready; while :; do read line; done"
# It and its child do not.
STUBBORN = "trap '' TERM INT; sleep 600 & echo ready; while :; do sleep 1; done"
problems = []


def expect(what, got, wanted):
    if got != wanted:
        problems.append(f"{what}: {got!r}, expected {wanted!r}")


def expect_in(what, text, words):
    for word in words:
        if word not in text:
            problems.append(f"{what}: {word!r} is not in {text!r:.600}")


class Bench:
    def __init__(self, quire, folder):
        self.quire, self.folder = quire, folder
        self.trace, self.native, self.saved = (os.path.join(folder, n) for n in ("t.quire", "t.native", "t.saved"))
        self.run("record", "-o", self.trace, "--", "true")
        self.run("record", "--native", "-o", self.native, "--", "true")
        self.run("run", "--quiet", *SMALL, "--save", self.saved, "--", "true")

    def start(self, *args, **how):
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        return subprocess.Popen([self.quire, *args], text=True, cwd=self.folder, **how)

    def run(self, *args, **how):
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        return subprocess.run([self.quire, *args], text=True, cwd=self.folder, timeout=PATIENCE_S, **how)

    def path(self, name):
        return os.path.join(self.folder, name)


def left_behind(bench):
    """Files of ours where temporary ones go; processes that work in the folder."""
    files = [n for n in os.listdir("/dev/shm") if "quire" in n] + os.listdir(os.environ["TMPDIR"])
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/cwd") == bench.folder:
                pids.append(int(pid))
        except OSError:
            pass
    return files, pids


def until(what, done):
    """Waits for done(); what: said if it does not come."""
    for _ in range(PATIENCE_S * 20):
        if done():
            return
        time.sleep(0.05)
    problems.append(f"{what}: not within {PATIENCE_S} s")


def all_gone(bench):
    return not left_behind(bench)[1]


def wait_for_the_dying(bench):
    """Who is killed takes a moment to go; who is not stays."""
    end = time.monotonic() + 20
    while not all_gone(bench) and time.monotonic() < end:
        time.sleep(0.02)


def pending(pid, sig):
    """The signal was sent to the process, which has not taken it yet: a second one would be lost."""
    try:
        with open(f"/proc/{pid}/status") as f:
            return any(int(line.split()[1], 16) >> sig - 1 & 1 for line in f if line.startswith(("SigPnd:", "ShdPnd:")))
    except OSError:
        return False


# -- signals -----------------------------------------------------------------------------------------------------------

KINDS = {"run": ["run", *SMALL, "--check", "--json", "report.json"],
         "record": ["record", "-o", "stopped.quire", *SMALL, "--check", "--json", "report.json"],
         "native": ["record", "--native", "-o", "stopped.native"]}


def verified(bench):
    p = bench.run("verify", "--json", "stopped.native")
    expect("verify: status", p.returncode, 0)
    expect("verify: what is not whole", p.stderr, "")


def replayed(bench):
    with open(bench.path("report.json")) as f:
        live = json.load(f)
    p = bench.run("replay", *SMALL, "--check", "--quiet", "--json", "again.json", "stopped.quire")
    expect("replay: status", p.returncode, 0)
    expect("replay: what is not whole", p.stderr, "")
    with open(bench.path("again.json")) as f:
        again = json.load(f)
    expect("replay: page faults", again["machines"][0]["vmstat"]["pgfault"], live["machines"][0]["vmstat"]["pgfault"])


def stopped(kind, sig, how):
    """how: polite (not killed, even if that takes time), stubborn (grace period), twice (second signal)"""
    def case(bench):
        p = bench.start(*KINDS[kind], "--", "sh", "-c", POLITE if how == "polite" else STUBBORN, stdin=subprocess.PIPE)
        expect("the program's first line", p.stdout.readline(), "ready\n")
        program = [pid for pid in left_behind(bench)[1] if pid != p.pid]
        begin = time.monotonic()
        p.send_signal(sig)
        if how == "twice":
            until("the first signal is taken", lambda: not pending(p.pid, sig))
            begin = time.monotonic()
            p.send_signal(sig)
            until("the program is killed", lambda: not set(program) & set(left_behind(bench)[1]))
            if time.monotonic() - begin > 4:  # of five for who does not send a second one
                problems.append(f"the second signal has waited for the first one's grace period: {time.monotonic() - begin:.1f} s")
        out, err = p.communicate(timeout=PATIENCE_S)
        seconds = time.monotonic() - begin
        expect("status", p.returncode, 7 if how == "polite" else -signal.SIGKILL)
        expect("what the program said", out, "told\n" if how == "polite" else "")
        if how == "stubborn" and seconds < 4.5:
            problems.append(f"no grace period: {seconds:.1f} s")
        if kind == "run":
            expect_in("report", err, ["ended with status 7"] if how == "polite" else ["was killed by signal 9", "told to stop", "were killed"])
        elif how != "polite":
            expect_in("report", err, ["told to stop", "were killed"])
        if kind != "native":
            with open(bench.path("report.json")) as f:
                expect("books", json.load(f)["machines"][0]["check"], "ok")
        if kind == "record" and how == "polite":
            replayed(bench)
        if kind == "native":
            verified(bench)
    return case


def stopped_with_children(kind, stubborn):
    """The signal ends the program; its child, that a signal to the program alone would leave behind, ends with the run."""
    def case(bench):
        trap = "trap '' TERM; " if stubborn else ""
        with open(bench.path("stopped.err"), "w") as err:
            p = bench.start(*KINDS[kind], "--", "sh", "-c", f"({trap}echo ready; sleep 600; :) & wait", stderr=err)
            expect("the child's first line", p.stdout.readline(), "ready\n")
            p.send_signal(signal.SIGTERM)
            expect("status", p.wait(timeout=PATIENCE_S), -signal.SIGTERM)
        p.stdout.close()
        with open(bench.path("stopped.err")) as f:
            expect("were killed", "what the program left behind did not end" in f.read(), stubborn)
        with open(bench.path("report.json")) as f:
            report = json.load(f)
        expect("still running", report["still_running"], 0)
        expect("books", report["machines"][0]["check"], "ok")
    return case


def launcher_killed(kind):
    """SIGKILL leaves no time for anything: the program of a native recording goes with it, that of a run goes on."""
    def case(bench):
        p = bench.start(*KINDS[kind], "--", "sh", "-c", "echo ready; sleep 1")
        p.stdout.readline()
        p.kill()
        p.communicate(timeout=PATIENCE_S)
        until("all are gone", lambda: all_gone(bench))
    return case


def background(bench):
    """cat is left behind: it has begun (its first file came through `up`), and goes on until somebody writes to `go`."""
    for name in ("up", "go"):
        os.mkfifo(bench.path(name))
    with open(bench.path("line"), "w") as f:
        f.write("up\n")
    p = bench.run("run", *SMALL, "--check", "--json", "report.json", "--", "sh", "-c", "cat line go >up 2>/dev/null & read line <up; exit 3")
    expect("status", p.returncode, 3)
    with open(bench.path("report.json")) as f:
        report = json.load(f)
    expect("still running", report["still_running"], 1)
    expect("books", report["machines"][0]["check"], "ok")
    expect_in("report", p.stderr, ["1 process(es) were still running", "(cat) outlives the program"])
    expect("they go on", len(left_behind(bench)[1]), 1)
    if not all_gone(bench):
        with open(bench.path("go"), "w"):
            pass
    for name in ("up", "go"):
        os.unlink(bench.path(name))


def left(kind, compiler):
    """Processes left behind go on with everything (left.c) when the report is out and the launcher gone."""
    def case(bench):
        source, go, out = os.path.join(HERE, "left.c"), bench.path("go"), bench.path("left.out")
        try:
            subprocess.run([compiler, "-O1", "-static", "-pthread", "-o", bench.path("left"), source], check=True)
        except FileNotFoundError:
            return f"no {compiler}"
        if os.path.exists(go):
            os.unlink(go)
        with open(out, "w") as f, open(bench.path("left.err"), "w") as err:  # no pipes: they hold them open
            p = bench.run(*KINDS[kind], "--report", "left.report", "--", "./left", "go", stdout=f, stderr=err,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        expect("status", p.returncode, 3)
        with open(bench.path("left.report")) as f:
            expect_in("report", f.read(), ["process(es) were still running"])
        with open(bench.path("report.json")) as f:
            expect("books", json.load(f)["machines"][0]["check"], "ok")
        open(go, "w").close()
        until("what is left behind ends", lambda: all_gone(bench))
        for pid in left_behind(bench)[1]:
            with open(f"/proc/{pid}/wchan") as f:
                problems.append(f"process {pid} hangs: {f.read()}")
            os.kill(pid, signal.SIGKILL)
        with open(out) as f:
            expect("what they said", f.read(), "done\n" * 2)
        with open(bench.path("left.err")) as f:
            expect("about us", [line for line in f if "quire" in line], [])
        return None
    return case


# -- limits, disks -----------------------------------------------------------------------------------------------------

def limited(kilobytes):
    """What `ulimit -f` does."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10, kilobytes << 10))}


def file_limit(bench):
    """A machine's memory and the session are files to the kernel: no machine, an error. Traces end where the limit is."""
    for command in (["run", *SMALL, "--", "true"], ["record", "-o", "x", "--", "true"], ["replay", *SMALL, bench.trace],
                    ["verify", bench.native]):
        p = bench.run(*command, **limited(100))
        expect(f"{command[0]}: status", p.returncode, 2)
        expect_in(command[0], p.stderr, ["ulimit -f"])
        expect(f"{command[0]}: lines", p.stderr.count("\n"), 1)
    p = bench.run("record", "--native", "-o", "short", "--", "sh", "-c", "trap 'echo got XFSZ' XFSZ; for i in 1 2 3 4 5 6 7 8; do ls / >/dev/null; done; echo done",
                  **limited(2))
    expect("native: status", p.returncode, 2)
    expect("native: the program goes on", p.stdout, "done\n")
    expect_in("native", p.stderr, ["short: File too large", "not complete"])


def program_limit(bench):
    """The program's own limit is the program's, signal and all; under qemu it holds for the recording, too, which says so."""
    code = "ulimit -f 1; exec 2>/dev/null; cat /dev/zero > big; kill -l $?"
    native = subprocess.run(["sh", "-c", code], cwd=bench.folder, capture_output=True, text=True)
    for command, status in ((["run", "--quiet", *SMALL], 0), (["record", "--quiet", "-o", "x"], 2), (["record", "--native", "-o", "x"], 0)):
        p = bench.run(*command, "--", "sh", "-c", code)
        expect(f"{command}: status", p.returncode, status)
        expect(f"{command}: how it ended", p.stdout, native.stdout)
        expect_in(f"{command}", p.stderr, ["x: File too large; the trace is cut short"] if status else [])


def full_disk(bench):
    """On a file system of 16 KiB, if one can be mounted."""
    disk = bench.path("disk")
    os.makedirs(disk, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "quire-test", disk], capture_output=True).returncode:
        return "no file system can be mounted here"
    try:
        many = lambda n: ["sh", "-c", "for i in %s; do ls / >/dev/null; done; echo done; exit 5" % " ".join("x" * n)]
        for name, command, words in (("record", ["record", "-o", "disk/t"], ["disk/t: No space left on device", "cut short"]),
                                     ("native", ["record", "--native", "--maps=all", "-o", "disk/n"], ["disk/n: No space left on device", "not complete"]),
                                     ("save", ["run", "--quiet", *SMALL, "--save", "disk/s"], ["disk/s", "failed"]),
                                     ("json", ["run", "--quiet", *SMALL, "--json", "disk/j"], ["--json disk/j: No space left on device"])):
            with open(os.path.join(disk, "fill"), "wb") as f:
                f.write(bytes(4096 if name != "json" else 16384))
            p = bench.run(*command, "--", *many(20 if name == "native" else 3))
            expect(f"{name}: status", p.returncode, 2)
            expect(f"{name}: the program goes on", p.stdout, "done\n")
            expect_in(name, p.stderr, words)
            if name == "record":
                p = bench.run("replay", *SMALL, "--quiet", "disk/t")
                expect("replay of it: status", p.returncode, 2)
                expect_in("replay of it", p.stderr, ["truncated"])
            for left in os.listdir(disk):
                os.unlink(os.path.join(disk, left))
    finally:
        subprocess.run(["umount", disk], check=True)
    return None


# -- descriptors -------------------------------------------------------------------------------------------------------

def printers(bench):
    return [["--help"], ["--version"], ["run", "--help-keys"], ["cat", bench.saved], ["cat", bench.saved, "meminfo"], ["cat", "--json", bench.saved, "meminfo"],
            ["verify", bench.native], ["verify", "--json", bench.native], ["replay", "--quiet", *SMALL, "--json", "-", bench.trace],
            ["export", "csv", bench.trace], ["export", "vma", "-o", "-", bench.saved], ["run", "--quiet", *SMALL, "--json", "-", "--", "true"]]


def output_fails(bench):
    """A full or a closed standard output is an error of every command that prints."""
    for command in printers(bench):
        with open("/dev/full", "w") as full:
            p = bench.run(*command, stdout=full)
        expect(f"{command}, full: status", p.returncode, 2)
        expect_in(f"{command}, full", p.stderr, ["No space left on device"])
        p = bench.run(*command, stdout=None, preexec_fn=lambda: os.close(1))
        expect(f"{command}, closed: status", p.returncode, 2)
        expect_in(f"{command}, closed", p.stderr, ["Bad file descriptor"])


def files_fail(bench):
    """So it is of the files that options name."""
    for option in ("--report", "--json"):
        for command in (["run", "--quiet", *SMALL, option, "/dev/full", "--", "true"], ["replay", "--quiet", *SMALL, option, "/dev/full", bench.trace]):
            p = bench.run(*command)
            expect(f"{command}: status", p.returncode, 2)
            expect_in(f"{command}", p.stderr, [f"{option} /dev/full: No space left on device"])


def closed_descriptors(bench):
    """A closed descriptor is closed for the program, and no file of Quire's takes its number."""
    look = "for fd in 0 1 2; do [ -e /proc/$$/fd/$fd ] && echo $fd >&9; done"
    for fd, close in enumerate(("<&-", ">&-", "2>&-")):
        seen = []
        for command in ([], [bench.quire, "run", "--quiet", *SMALL, "--"], [bench.quire, "record", "-o", "x", "--"],
                        [bench.quire, "record", "--native", "-o", "x", "--"]):
            subprocess.run(["sh", "-c", f'exec 9>fds; exec "$@" {close}', "sh", *command, "sh", "-c", look], cwd=bench.folder, timeout=PATIENCE_S)
            with open(bench.path("fds")) as f:
                seen.append(f.read().split())
        expect(f"descriptor {fd} closed: natively", str(fd) in seen[0], False)
        expect(f"descriptor {fd} closed: run, record, record --native", seen[1:], seen[:1] * 3)


def reader_goes(bench):
    """`quire ... | head`: ended by SIGPIPE without a word; under `quire run` it is the program's SIGPIPE."""
    for command in printers(bench)[2:11]:
        p = bench.start(*command)
        p.stdout.close()
        expect(f"{command}: said", p.stderr.read(), "")
        expect(f"{command}: status", p.wait(timeout=PATIENCE_S) in (0, -signal.SIGPIPE), True)  # what is short has been written before
    p = bench.start("run", "--quiet", *SMALL, "--", "yes")
    p.stdout.readline()
    p.stdout.close()
    expect("yes: status", p.wait(timeout=PATIENCE_S), -signal.SIGPIPE)
    p.stderr.close()
    p = bench.start("run", *SMALL, "--", "true")  # who reads the report goes
    p.stderr.close()
    expect("report unread: status", p.wait(timeout=PATIENCE_S), 0)


def cases():
    all_cases = {f"{kind}-{signal.Signals(sig).name}-{how}": stopped(kind, sig, how)
                 for kind, sig, how in [("run", signal.SIGTERM, "polite"), ("run", signal.SIGINT, "polite"), ("run", signal.SIGTERM, "stubborn"),
                                        ("run", signal.SIGINT, "twice"), ("record", signal.SIGTERM, "polite"), ("record", signal.SIGINT, "twice"),
                                        ("native", signal.SIGTERM, "polite"), ("native", signal.SIGINT, "polite"),
                                        ("native", signal.SIGTERM, "stubborn"), ("native", signal.SIGINT, "twice")]}
    all_cases.update({"run-SIGKILL": launcher_killed("run"), "native-SIGKILL": launcher_killed("native"), "background": background,
                      "file-limit": file_limit, "program-limit": program_limit, "full-disk": full_disk, "output-fails": output_fails, "files-fail": files_fail,
                      "left-run": left("run", "gcc"), "left-record": left("record", "gcc"), "left-aarch64": left("run", "aarch64-linux-gnu-gcc"),
                      "run-children": stopped_with_children("run", False), "run-children-stubborn": stopped_with_children("run", True),
                      "record-children": stopped_with_children("record", False),
                      "closed-descriptors": closed_descriptors, "reader-goes": reader_goes})
    return all_cases


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    usual()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="quire-ends-") as folder:
        os.environ["TMPDIR"] = os.path.join(folder, "tmp")
        os.mkdir(os.environ["TMPDIR"])
        bench = Bench(os.path.abspath(args.quire), folder)
        before = set(left_behind(bench)[0])
        for name, case in cases().items():
            if args.names and name not in args.names:
                continue
            problems.clear()
            start = time.monotonic()
            skipped = case(bench)
            wait_for_the_dying(bench)
            files, pids = left_behind(bench)
            expect("processes left", pids, [])
            expect("files left", sorted(set(files) - before), [])
            print(f"{'FAIL' if problems else 'skip' if skipped else 'ok  '} {name}  {skipped or f'{time.monotonic() - start:.1f} s'}", flush=True)
            for p in problems:
                print("     " + p)
            bad += bool(problems)
    print("all passed" if not bad else f"{bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
