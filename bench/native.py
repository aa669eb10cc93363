#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Figures of native recordings: what `quire record --native` costs a program that makes few memory calls (target: under 5 %) and one
that makes nothing else, bytes a recorded call takes, calls a second that `quire verify` judges (target: 300,000). Times are CPU time, runs are
interleaved, figures are medians.

Usage: bench/native.py [--quire PATH] [--rounds N] [--json FILE]
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
CALL_ROUNDS = 20000
FEW = ["/usr/bin/python3", "-c", "s = 0\nfor i in range(6000000): s += i * i\nprint(s)"]


def cpu(argv):
    """CPU seconds, the recorder's included: what other programs do meanwhile does not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"bench: {' '.join(argv)}: exit status {done.returncode}\n{done.stderr.decode(errors='replace')[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def interleaved(native, recorded, rounds):
    a, b = [], []
    for _ in range(rounds):
        a.append(cpu(native))
        b.append(cpu(recorded))
    return statistics.median(a), statistics.median(b)


def verify(quire, trace, rounds):
    best = None
    for _ in range(rounds):
        done = subprocess.run([quire, "verify", "--json", trace], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"bench: verify {trace}: exit status {done.returncode}\n{done.stderr[-2000:]}")
        r = json.loads(done.stdout)
        if best is None or r["seconds"] < best["seconds"]:
            best = r
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    args = parser.parse_args()
    out = {}
    with tempfile.TemporaryDirectory(prefix="quire-bench-") as folder:
        trace, program = os.path.join(folder, "t"), os.path.join(folder, "calls")
        subprocess.run(["gcc", "-O2", "-o", program, os.path.join(HERE, "programs/calls.c")], check=True)
        record = [args.quire, "record", "--native", "-o", trace, "--"]
        native, recorded = interleaved(FEW, record + FEW, args.rounds)
        out["few_calls"] = {"native_s": native, "recorded_s": recorded, "overhead": recorded / native - 1}
        many = [program, str(CALL_ROUNDS)]
        native, recorded = interleaved(many, record + many, args.rounds)
        r = verify(args.quire, trace, args.rounds)
        calls = r["total"]["calls"]
        out["calls_only"] = {"calls": calls, "native_us": native * 1e6 / calls, "recorded_us": recorded * 1e6 / calls,
                             "bytes_a_call": os.path.getsize(trace) / calls}
        out["verify"] = {"calls": calls, "seconds": r["seconds"], "calls_a_second": calls / r["seconds"]}
    few, many, v = out["few_calls"], out["calls_only"], out["verify"]
    print(f"few memory calls (python, a loop)    native {few['native_s']:.2f} s, recorded {few['recorded_s']:.2f} s: {few['overhead'] * 100:+.1f} %")
    print(f"nothing but memory calls             native {many['native_us']:.2f} us a call, recorded {many['recorded_us']:.2f} us; "
          f"{many['bytes_a_call']:.1f} bytes a call in the trace")
    print(f"verify                               {v['calls_a_second'] / 1e3:.0f} thousand calls a second")
    if args.json:
        with open(args.json, "w") as f:
            json.dump(out, f, indent=2)


if __name__ == "__main__":
    main()
