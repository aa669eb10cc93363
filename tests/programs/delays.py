#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Threads and processes that meet, end, are killed and execute programs, while the front end and the core sleep at random where others may
get in between (RACE_POINT(), QUIRE_DELAYS): nothing may hang, no book may be out of balance, and a recording replays exactly.

Needs a build with debug_level >= 1: without it nothing sleeps. What hangs is left running for --keep.

Usage: delays.py [--quire PATH] [--delays N] [--rounds N] [--keep] [NAME]...
"""
import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
from record import differences, load  # noqa: E402
from surroundings import usual  # noqa: E402

SMALL = ["--machine", os.path.join(ROOT, "machines/small.conf")]
ONE, FOUR, TWO_MACHINES = SMALL, SMALL + ["--set", "cpus=4"], SMALL + SMALL
PROGRAMS = {"exits": ["exits"], "kills": ["kills"], "threads": ["threads"], "execs": ["execs"],
            "pipeline": ["sh", "-c", "ls -l / | grep a | sort | wc -l"],
            "vforks": ["/usr/bin/python3", "-c", "import subprocess\nfor k in range(3): subprocess.run(['true'], check=True)"]}
LIMIT_S = 120  # a few seconds, on a quiet machine


class Hang(Exception):
    pass


def quire(o, *args):
    env = dict(os.environ, QUIRE_DELAYS=str(o.delays))
    p = subprocess.Popen([o.quire, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)
    try:
        _, err = p.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        if o.keep:
            raise Hang(f"hangs, left running: process {p.pid}") from None
        p.send_signal(signal.SIGTERM)
        _, err = p.communicate()
        raise Hang(f"no end after {LIMIT_S} s: {err}") from None
    return p.returncode, err


def followed(o, folder, machines, program):
    status, err = quire(o, "run", *machines, "--check", "--quiet", "--", *program)
    return [f"run: status {status}: {err}"] if status else []


def recorded(o, folder, machines, program):
    trace, live, again = (os.path.join(folder, n) for n in ("t.quire", "live.json", "again.json"))
    status, err = quire(o, "record", "-o", trace, *machines, "--check", "--quiet", "--json", live, "--", *program)
    if status:
        return [f"record: status {status}: {err}"]
    status, err = quire(o, "replay", *machines, "--check", "--quiet", "--json", again, trace)
    if status:
        return [f"replay: status {status}: {err}"]
    with open(live) as f:
        if "out of turn" in f.read():
            return []
    return differences(load(live), load(again))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    parser.add_argument("--delays", type=int, default=12, help="one of N visits sleeps")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="leave what hangs running, for a debugger")
    parser.add_argument("names", nargs="*", metavar="NAME")
    o = parser.parse_args()
    usual()
    o.quire = os.path.abspath(o.quire)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("exits", "kills", "threads", "execs"):
            subprocess.run(["gcc", "-O1", "-pthread", "-o", os.path.join(folder, name), os.path.join(HERE, name + ".c")], check=True)
        cases = {f"{how.__name__} {program} {label}": (how, machines, program)
                 for program in PROGRAMS for how in (followed, recorded)
                 for label, machines in (("one-cpu", ONE), ("four-cpus", FOUR), ("two-machines", TWO_MACHINES))}
        for name, (how, machines, program) in cases.items():
            if o.names and not all(word in name for word in o.names):
                continue
            argv = [os.path.join(folder, PROGRAMS[program][0])] if len(PROGRAMS[program]) == 1 else PROGRAMS[program]
            for _ in range(o.rounds):
                start = time.time()
                try:
                    bad = how(o, folder, machines, argv)
                except Hang as e:
                    bad = [str(e)]
                failed += bool(bad)
                print("%s %s  %.2f s" % ("FAIL" if bad else "ok  ", name, time.time() - start), *bad[:8], sep="\n     " if bad else " ")
                sys.stdout.flush()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
