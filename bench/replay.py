#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Recording and replay: what a recorded access takes in the file, recording beside a plain run, replay a second on one core.

Usage: bench/replay.py [--quire PATH] [--rounds N] [--only NAME[,NAME]] [--json FILE]
Recorded events: accesses and fetches that may change a machine's state; all accesses: with those that the trace only counts.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
MACHINE = ["--machine", os.path.join(ROOT, "machines/small.conf")]
TWO = MACHINE + ["--machine", os.path.join(ROOT, "machines/large.conf")]
GOAL_EVENTS, GOAL_BYTES = 50e6, 2.0


def cpu_seconds(argv):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit("bench: %s: exit status %d\n%s" % (" ".join(argv), done.returncode, done.stderr.decode(errors="replace")[-2000:]))
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def programs(folder):
    source = os.path.join(folder, "x.c")
    with open(source, "w") as f:
        for n in range(60):
            f.write("int f%d(int a, int b) { int s = 0; for (int i = a; i < b; i++) { s += i * %d; if (s %% %d == 3) s ^= b; } return s; }\n"
                    % (n, n + 3, n + 7))
    return {"python": ["/usr/bin/python3", os.path.join(ROOT, "examples/hello_memory.py")],
            "gcc": ["gcc", "-O2", "-c", "-o", os.path.join(folder, "x.o"), source],
            "sort": ["sh", "-c", "od -An -v -tx4 -w4 -N200000 /usr/bin/perl | sort | uniq -c | wc -l"]}


def totals(trace):
    with open(trace, "rb") as f:
        tail = f.read()[-400:]
    return {k: int(tail.split(k.encode() + b"=")[1].split()[0]) for k in ("words", "accesses", "blocks")}


def row(quire, trace, program, rounds):
    run = [quire, "run", "--quiet", *MACHINE, "--", *program]
    record = [quire, "record", "-o", trace, "--", *program]
    replay = [quire, "replay", "--quiet", *MACHINE, trace]
    t = {name: [] for name in ("run", "record", "replay", "two")}
    for _ in range(rounds):
        t["run"].append(cpu_seconds(run))
        t["record"].append(cpu_seconds(record))
        t["replay"].append(cpu_seconds(replay))
        t["two"].append(cpu_seconds([quire, "replay", "--quiet", *TWO, trace]))
    t = {name: statistics.median(v) for name, v in t.items() if v}
    n = totals(trace)
    all_accesses = n["accesses"] + n["blocks"]
    return {"events": n["words"], "all": all_accesses, "bytes": os.path.getsize(trace), "bytes_per_event": os.path.getsize(trace) / n["words"],
            "run_s": t["run"], "record_s": t["record"], "replay_s": t["replay"], "replay_two_s": t["two"],
            "events_per_s": n["words"] / t["replay"], "all_per_s": all_accesses / t["replay"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only")
    parser.add_argument("--json")
    o = parser.parse_args()
    rows = {}
    print("%-8s %9s %9s %9s  %9s %9s %9s %9s  %12s" % ("program", "events", "in all", "B/event", "run", "record", "replay", "2 machines",
                                                      "events/s"))
    with tempfile.TemporaryDirectory() as folder:
        for name, program in programs(folder).items():
            if o.only and name not in o.only.split(","):
                continue
            r = rows[name] = row(os.path.abspath(o.quire), os.path.join(folder, "t.quire"), program, o.rounds)
            over = "" if r["events_per_s"] >= GOAL_EVENTS and r["bytes_per_event"] <= GOAL_BYTES else "  OVER"
            print("%-8s %7.1f M %7.1f M %9.3f  %7.2f s %7.2f s %7.2f s %7.2f s  %10.0f M%s" % (
                name, r["events"] / 1e6, r["all"] / 1e6, r["bytes_per_event"], r["run_s"], r["record_s"], r["replay_s"], r["replay_two_s"],
                r["events_per_s"] / 1e6, over))
            sys.stdout.flush()
    print("(CPU time; goals: %.0f M events/s replayed, %.0f bytes an event)" % (GOAL_EVENTS / 1e6, GOAL_BYTES))
    if o.json:
        with open(o.json, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
