#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whole-program figures: CPU time of five programs native, under plain qemu, under `quire run`, and under valgrind's cachegrind and
lackey; what a second machine costs; how two guest threads scale; how much host memory machines take. Runs are interleaved; figures
are medians; ratios are the point: absolute times depend on the machine.

Usage: bench/programs.py [--quire PATH] [--rounds N] [--only NAME[,NAME]] [--valgrind] [--json FILE]
NAME: one of the five programs, or memory.
--valgrind: short inputs, one round, for every tool: lackey needs minutes for what takes a native program 0.1 s.
"""
import argparse
import json
import math
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def measure(argv, cwd):
    """Run argv once: CPU seconds (user + system, all children), wall seconds, peak RSS in KiB of the largest process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    done = subprocess.run(argv, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"bench: {' '.join(argv)}: exit status {done.returncode}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


SIZES = {"python": 200000, "sort": 50_000_000, "sqlite3": 100000, "matrix": 400, "cc1": 250}
SHORT = {"python": 12000, "sort": 1_000_000, "sqlite3": 4000, "matrix": 120, "cc1": 6}


def prepare(folder, sizes):
    """Inputs of the programs, made once; returns {name: argv}."""
    rng = random.Random(1)
    text = os.path.join(folder, "lines.txt")
    with open(text, "w") as f:
        size = 0
        while size < sizes["sort"]:
            line = "%016x %d\n" % (rng.getrandbits(64), size)
            f.write(line)
            size += len(line)
    sql = os.path.join(folder, "table.sql")
    with open(sql, "w") as f:
        f.write("create table t(a integer primary key, b text, c integer);\n"
                "with recursive n(x) as (select 1 union all select x + 1 from n where x < %d)\n"
                "insert into t select x, 'row' || (x * 7919 %% 300007), x * 31 %% 1009 from n;\n"
                "create index i on t(b);\n"
                "select c, count(*), max(b) from t group by c order by 2 desc limit 5;\n" % sizes["sqlite3"])
    source = os.path.join(folder, "large.c")
    with open(source, "w") as f:
        for n in range(sizes["cc1"]):
            f.write("int f%d(int a, int b) { int s = 0; for (int i = a; i < b; i++) { s += i * %d; if (s %% %d == 3) s ^= b; }"
                    " return s; }\n" % (n, n + 3, n + 7))
    for name in ("matrix", "threads"):
        subprocess.run(["gcc", "-O2", "-pthread", "-o", os.path.join(folder, name), os.path.join(HERE, "programs", name + ".c")],
                       check=True)
    cc1 = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "python": [shutil.which("python3"), os.path.join(HERE, "programs", "objects.py"), str(sizes["python"])],
        "sort": [shutil.which("sort"), "--parallel=1", "-S", "200M", text],
        "sqlite3": [shutil.which("sqlite3"), ":memory:", ".read " + sql],
        "matrix": [os.path.join(folder, "matrix"), str(sizes["matrix"])],
        "cc1": [cc1, "-quiet", "-O2", source, "-o", os.path.join(folder, "large.s")],
    }


def real_python():
    """The interpreter itself, not a launcher script in front of it."""
    return os.path.realpath(sys.executable)


def tree_memory(pid):
    """KiB of a process and its descendants: anonymous memory added up, of shared memory and files the largest part."""
    size = {}
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(("RssAnon:", "RssShmem:", "RssFile:")):
            size[line.split(":")[0]] = int(line.split()[1])
    for task in os.listdir(f"/proc/{pid}/task"):
        for child in open(f"/proc/{pid}/task/{task}/children").read().split():
            for kind, kib in tree_memory(int(child)).items():
                size[kind] = size[kind] + kib if kind == "RssAnon" else max(size[kind], kib)
    return size


def memory_when_ready(argv, cwd):
    """Start argv, which prints a line when its memory is full and then waits: bytes at that point."""
    with subprocess.Popen(argv, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout.readline() != b"ready\n":
            sys.exit(f"bench: {' '.join(argv)} did not get ready")
        size = 1024 * sum(tree_memory(process.pid).values())
        process.stdin.close()
        process.stdout.read()
    return size


def measure_memory(quire, folder, objects):
    """Host memory of each machine for each page of the program: {machines: bytes}."""
    argv = [real_python(), os.path.join(HERE, "programs", "strings.py"), str(objects)]
    report = os.path.join(folder, "memory.json")
    run = [quire, "run", "--report", "/dev/null", "--json", report]
    second = ["--machine", "/dev/null", "--machine", "/dev/null"]
    plain = memory_when_ready(["qemu-x86_64"] + argv, folder)
    one = memory_when_ready(run + ["--"] + argv, folder)
    two = memory_when_ready(run + second + ["--"] + argv, folder)
    pages = json.load(open(report))["machines"][0]["mms"][0]["hiwater_rss"]
    print(f"host memory beyond plain qemu's {plain >> 20} MB, for each of the program's {pages} pages:"
          f" {(one - plain) / pages:.0f} bytes with one machine, {(two - plain) / pages / 2:.0f} for each of two")
    return {"pages": pages, "plain": plain, "one": (one - plain) / pages, "two": (two - plain) / pages / 2}


def geomean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(HERE, "..", "build", "cli", "quire"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--valgrind", action="store_true", help="cachegrind and lackey too, on short inputs")
    parser.add_argument("--json", help="write the figures to this file")
    args = parser.parse_args()
    quire = os.path.abspath(args.quire)
    results = {}
    with tempfile.TemporaryDirectory(prefix="quire-bench-") as folder:
        programs = prepare(folder, SHORT if args.valgrind else SIZES)
        rounds = 1 if args.valgrind else args.rounds
        programs["python"][0] = real_python()
        chosen = [n for n in args.only.split(",") if n in programs] if args.only else list(programs)
        report = os.path.join(folder, "report.json")
        table = os.path.join(folder, "table.txt")
        if chosen:
            print(f"{'program':9} {'native':>8} {'qemu':>8} {'quire':>8} {'quire/qemu':>10} {'2 machines':>10} {'M acc/s':>8}"
                  + (f" {'cachegrind':>10} {'lackey':>8}" if args.valgrind else ""))
        for name in chosen:
            argv = programs[name]
            tools = {
                "native": argv,
                "qemu": ["qemu-x86_64"] + argv,
                "quire": [quire, "run", "--report", table, "--json", report, "--"] + argv,
                "quire2": [quire, "run", "--report", table, "--set", "mem=4G", "--machine", "/dev/null", "--machine", "/dev/null", "--"]
                + argv,
            }
            times = {tool: [] for tool in tools}
            walls = []
            for _ in range(rounds):
                for tool, command in tools.items():
                    cpu, wall = measure(command, folder)
                    times[tool].append(cpu)
                    if tool == "quire":
                        walls.append(wall)
            accesses = json.load(open(report))["accesses"]
            row = {tool: statistics.median(t) for tool, t in times.items()}
            row["accesses"] = accesses
            row["accesses_per_s"] = accesses / row["quire"]
            if args.valgrind:
                row["cachegrind"] = measure(["valgrind", "--tool=cachegrind", "--cachegrind-out-file=/dev/null"] + argv, folder)[0]
                row["lackey"] = measure(["valgrind", "--tool=lackey", "--trace-mem=yes", "--log-file=/dev/null"] + argv, folder)[0]
            results[name] = row
            extra = (row["quire2"] - row["quire"]) / row["quire"]
            print(f"{name:9} {row['native']:8.2f} {row['qemu']:8.2f} {row['quire']:8.2f} {row['quire'] / row['qemu']:9.2f}x"
                  f" {extra:+9.0%} {row['accesses_per_s'] / 1e6:8.0f}"
                  + (f" {row['cachegrind']:10.2f} {row['lackey']:8.2f}" if args.valgrind else ""), flush=True)
        if len(chosen) > 1:
            print(f"geometric mean of quire/qemu: {geomean([r['quire'] / r['qemu'] for r in results.values()]):.2f}x")
        if not args.only and not args.valgrind:
            threads = os.path.join(folder, "threads")
            base = [quire, "run", "--report", table, "--set", "cpus=2", "--"]
            one = statistics.median(measure(base + [threads, "1", "300"], folder)[1] for _ in range(args.rounds))
            two = statistics.median(measure(base + [threads, "2", "300"], folder)[1] for _ in range(args.rounds))
            results["threads"] = {"one": one, "two": two, "scaling": 2 * one / two}
            print(f"two guest threads do {2 * one / two:.2f} times the work of one in the same wall time")
        if not args.valgrind and (not args.only or "memory" in args.only.split(",")):
            results["memory"] = measure_memory(quire, folder, 5_500_000)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(results, f, indent=1)


if __name__ == "__main__":
    main()
