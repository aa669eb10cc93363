#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real programs recorded on a machine, and replayed on the same machine: every count must come out again, exactly.

Usage: record.py [--quire PATH] [NAME]...
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from surroundings import PATIENCE_S, usual

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SMALL = ["--machine", os.path.join(ROOT, "machines/small.conf")]
LARGE = ["--machine", os.path.join(ROOT, "machines/large.conf")]
PYTHON = "/usr/bin/python3"
FORK = "import os\nx = bytearray(1 << 20)\nfor k in range(3):\n  if os.fork() == 0:\n    x[::4096] = x[::4096]\n    os._exit(k)\n  os.wait()\n"
# Of the run, not of the machines; notices have addresses.
ABOUT_THE_RUN = ("wall_s", "notices", "usage", "program", "quire")


def differences(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for k in sorted(set(a) | set(b)) for d in differences(a.get(k), b.get(k), path + "/" + k)]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b)) for d in differences(x, y, "%s/%d" % (path, i))]
    return [] if a == b else ["%s: %.60s recorded, %.60s replayed" % (path, a, b)]


def load(path):
    with open(path) as f:
        return {k: v for k, v in json.load(f).items() if k not in ABOUT_THE_RUN}


def run(quire, *args, timeout=PATIENCE_S):
    return subprocess.run([quire, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=timeout)


def exact(quire, folder, machines, program):
    trace, live, again = (os.path.join(folder, n) for n in ("t.quire", "live.json", "again.json"))
    r = run(quire, "record", "-o", trace, *machines, "--check", "--quiet", "--json", live, "--", *program)
    if r.returncode == 3 or not os.path.exists(live):
        return ["recording: " + r.stderr]
    r = run(quire, "replay", *machines, "--check", "--quiet", "--json", again, trace)
    if r.returncode:
        return ["replay: status %d: %s" % (r.returncode, r.stderr)]
    return differences(load(live), load(again))


def record_only(quire, folder, program):
    """Without machines, then on two; the sizes that the goal is about."""
    trace, again = os.path.join(folder, "t.quire"), os.path.join(folder, "again.json")
    r = run(quire, "record", "-o", trace, "--", *program)
    if r.returncode:
        return ["recording: " + r.stderr]
    r = run(quire, "replay", *SMALL, *LARGE, "--check", "--quiet", "--json", again, trace)
    j = load(again)
    bad = ["replay: status %d: %s" % (r.returncode, r.stderr)] if r.returncode else []
    if j["disagreements"]:
        bad.append("%d disagreements" % j["disagreements"])
    words = totals(trace)
    size = os.path.getsize(trace)
    if size > 2 * words:
        bad.append("%d bytes for %d recorded events" % (size, words))
    return bad


def ends_well(quire, program):
    """More threads than the machine has CPUs, none of which waits when the process ends."""
    r = run(quire, "run", *SMALL, "--quiet", "--check", "--", *program)
    return ["status %d: %s" % (r.returncode, r.stderr)] if r.returncode else []


def totals(trace):
    """`words=` of the END block, which is short enough to lie uncompressed or in plain sight."""
    with open(trace, "rb") as f:
        tail = f.read()[-400:]
    return int(tail.split(b"words=")[1].split()[0])


def damaged(quire, folder, program):
    """A trace that is cut or changed is replayed as far as it is whole, and named; status 2."""
    trace, cut = os.path.join(folder, "t.quire"), os.path.join(folder, "cut.quire")
    run(quire, "record", "-o", trace, "--", *program)
    with open(trace, "rb") as f:
        whole = f.read()
    bad = []
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for data, word in ((whole[:len(whole) * 2 // 3], "truncated"), (bytes(flipped), "corrupt"), (b"ELF" + whole, "not a Quire trace"),
                       (whole[:8] + b"\x09" + whole[9:], "version 9"), (b"", "empty")):
        with open(cut, "wb") as f:
            f.write(data)
        r = run(quire, "replay", *SMALL, "--quiet", "--check", cut)
        if r.returncode != 2 or word not in r.stderr or "offset" not in r.stderr:
            bad.append("%s: status %d: %s" % (word, r.returncode, r.stderr))
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    parser.add_argument("names", nargs="*")
    o = parser.parse_args()
    usual()
    quire = os.path.abspath(o.quire)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("threads", "kills", "shared", "exits", "execs", "exec_signals"):
            subprocess.run(["gcc", "-O1", "-pthread", "-o", os.path.join(folder, name), os.path.join(HERE, name + ".c")], check=True)
        source = os.path.join(folder, "x.c")
        with open(source, "w") as f:
            f.write("int f(int a) { return a * 3; }\nint main(void) { return f(0); }\n")
        pipeline = ["sh", "-c", "cat %s/README.md | grep a | sort | uniq -c | wc -l" % ROOT]
        four = ["--set", "cpus=4"]
        cases = {
            "true": lambda: exact(quire, folder, SMALL + LARGE, ["true"]),
            "python-fork": lambda: exact(quire, folder, SMALL, [PYTHON, "-c", FORK]),
            "pipeline": lambda: exact(quire, folder, SMALL + LARGE, pipeline),
            "pipeline-four-cpus": lambda: exact(quire, folder, SMALL + four, pipeline),
            "gcc": lambda: exact(quire, folder, SMALL + LARGE, ["gcc", "-O2", "-o", os.path.join(folder, "x"), source]),
            "threads": lambda: exact(quire, folder, SMALL + four, [os.path.join(folder, "threads")]),
            "kills": lambda: exact(quire, folder, SMALL + four, [os.path.join(folder, "kills")]),
            "shared": lambda: exact(quire, folder, SMALL + LARGE, [os.path.join(folder, "shared"), "1"]),
            "exec_signals": lambda: exact(quire, folder, SMALL + four, [os.path.join(folder, "exec_signals")]),
            "exits": lambda: exact(quire, folder, SMALL, [os.path.join(folder, "exits")]),
            "exits-four-cpus": lambda: exact(quire, folder, SMALL + four, [os.path.join(folder, "exits")]),
            "execs": lambda: exact(quire, folder, SMALL, [os.path.join(folder, "execs")]),
            "execs-four-cpus": lambda: exact(quire, folder, SMALL + four, [os.path.join(folder, "execs")]),
            "exits-not-recorded": lambda: ends_well(quire, [os.path.join(folder, "exits")]),
            "record-only": lambda: record_only(quire, folder, [PYTHON, "-c", FORK]),
            "damaged": lambda: damaged(quire, folder, ["ls", "/"]),
        }
        failed = 0
        for name in o.names or cases:
            start = time.time()
            bad = cases[name]()
            failed += bool(bad)
            print("%s %s  %.2f s" % ("FAIL" if bad else "ok  ", name, time.time() - start), *bad[:8], sep="\n     " if bad else " ")
            sys.stdout.flush()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
