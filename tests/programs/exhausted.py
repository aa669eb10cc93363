#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Machines of 16 MiB, with programs that need more: at a fork, an execve, a read, wherever memory ends. The program runs on as on the
host; the machine followed it until there, says so, and its books balance; a replay of the recording ends at the same place.

Usage: exhausted.py [--quire PATH] [NAME]...
"""
import argparse
import json
import os
import subprocess
import sys

from surroundings import PATIENCE_S, disk_folder, usual

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SMALL = ["--machine", os.path.join(ROOT, "machines/small.conf")]
LARGE = ["--machine", os.path.join(ROOT, "machines/large.conf")]
TINY = [*SMALL, "--set", "mem=16M"]
# Pages that are taken before: the machine has room for some 2,300, whoever needs memory last is another one each time.
PAGES = [10, 1500, 2200, 2250, 2280, 4000]
# With 10 pages before, where it must end: all that this does costs memory of that kind.
ENDS = {"fork": "fork or thread creation (error 12)", "read": "read of a file at 0x", "write": "write to a file at 0x",
        "segment": None, "map": "write of 0x", "thread": None, "exec": None}
problems = []


def expect(what, good, *seen):
    if not good:
        problems.append(f"{what}: {seen!r:.900}")


def dead_of(path):
    with open(path) as f:
        return [m["dead"] for m in json.load(f)["machines"]]


class Bench:
    def __init__(self, quire, folder):
        self.quire, self.folder = quire, folder
        self.guest = self.path("exhaust")
        subprocess.run(["cc", "-O1", "-pthread", "-o", self.guest, os.path.join(HERE, "exhaust.c")], check=True)
        self.large = self.path("large")
        with open(self.large, "wb") as f:
            f.write(bytes(16 << 20))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, what, *args, status):
        """The machines' reasons for an early end, after a run that ended well."""
        report = self.path("report.json")
        if os.path.exists(report):
            os.remove(report)
        p = subprocess.run([self.quire, *args], cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE_S)
        expect(what, p.returncode == status, p.returncode, p.stdout, p.stderr[-600:])
        expect(what, "assert" not in p.stderr.lower(), p.stderr[-600:])
        if not os.path.exists(report):
            return [None], p
        return dead_of(report), p


def check_reason(what, dead, text):
    expect(what, dead is None or dead.startswith("out of memory: process "), dead)
    if text:
        expect(what, dead and text in dead, dead)


def run_act(bench, act):
    for pages in PAGES:
        what = f"{act} after {pages} pages"
        dead, p = bench.run(what, "run", *TINY, "--check", "--json", "report.json", "--", bench.guest, act, str(pages), bench.large,
                            status=7)
        expect(what, p.stdout == "done\n", p.stdout)
        expect(what, "check " in p.stderr and " ok" in p.stderr, p.stderr[-600:])
        check_reason(what, dead[0], ENDS[act] if pages == PAGES[0] else "write of 0x" if pages == PAGES[-1] else None)
        if dead[0]:
            expect(what, f"small: followed the run only until: {dead[0]}" in p.stderr, p.stderr[-600:])


def run_python(bench):
    program = os.path.join(ROOT, "examples/hello_memory.py")
    for size in ["16M", "20M", "28M"]:
        dead, p = bench.run(f"python, {size}", "run", *SMALL, "--set", f"mem={size}", *LARGE, "--check", "--json", "report.json", "--",
                            "/usr/bin/python3", program, status=0)
        expect(f"python, {size}", p.stdout.endswith("done\n"), p.stdout)
        check_reason(f"python, {size}", dead[0], "(python3)")
        expect(f"python, {size}", dead[-1] is None, dead)


def run_replay(bench):
    recorded, _ = bench.run("record", "record", "-o", "t.quire", *TINY, "--json", "report.json", "--", bench.guest, "fork", "10", status=7)
    replayed, _ = bench.run("replay", "replay", *TINY, "--check", "--json", "report.json", "t.quire", status=0)
    check_reason("record", recorded[0], ENDS["fork"])
    expect("replay", recorded == replayed, recorded, replayed)


def run_save(bench):
    """Nothing can be saved of a machine that was given up: an error, and no file."""
    dead, p = bench.run("save", "run", *TINY, "--save", "saved", "--", bench.guest, "fork", "10", status=2)
    expect("save", "--save saved: not saved: no machine followed the run so far" in p.stderr, p.stderr[-600:])
    expect("save", not os.path.exists(bench.path("saved")))


def run_host_limit(bench):
    """The host refuses the machine's memory: with the reason, before the program starts."""
    limit = "ulimit -v 3000000; exec \"$0\" \"$@\""
    for args in [["run", *SMALL, "--set", "mem=8G", "--", "/bin/echo", "started"]]:
        p = subprocess.run(["sh", "-c", limit, bench.quire, *args], cwd=bench.folder, capture_output=True, text=True, timeout=PATIENCE_S)
        expect("limit", p.returncode == 2 and not p.stdout, p.returncode, p.stdout)
        expect("limit", "machine small: cannot be booted: Cannot allocate memory" in p.stderr and "ulimit -v" in p.stderr, p.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    usual()
    cases = {act: lambda bench, act=act: run_act(bench, act) for act in ENDS}
    cases |= {"python": run_python, "replay": run_replay, "save": run_save, "host": run_host_limit}
    bad = 0
    with disk_folder("quire-exhausted-") as folder:
        bench = Bench(os.path.abspath(args.quire), folder)
        for name, case in cases.items():
            if args.names and name not in args.names:
                continue
            problems.clear()
            case(bench)
            bad += bool(problems)
            print(f"{'FAIL' if problems else 'ok  '} {name}", flush=True)
            for p in problems:
                print(f"     {p}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
