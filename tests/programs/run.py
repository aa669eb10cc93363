#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real programs under `quire run --check`, compared with the same program run natively: standard output, standard error, exit status; and
the machines' books must balance, with no disagreement between machine and host.

Usage: run.py [--quire PATH] [--full] [--list] [NAME]...
A quick set by default (under two minutes); --full has the large programs. Names choose single ones.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from surroundings import PATIENCE_S, disk_folder, usual

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MACHINES = ["--machine", os.path.join(ROOT, "machines/small.conf"), "--machine", os.path.join(ROOT, "machines/large.conf")]
PYTHON = "/usr/bin/python3"
FORK_PY = """
import os, threading, subprocess
data = bytearray(8 << 20)
def count(n):
    s = 0
    for i in range(n):
        s += i
    return s
ts = [threading.Thread(target=count, args=(30000,)) for _ in range(4)]
[t.start() for t in ts]
[t.join() for t in ts]
for k in range(3):
    pid = os.fork()
    if pid == 0:
        for i in range(0, len(data), 4096):
            data[i] = k
        os._exit(k)
    print(k, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), data[0])
print(subprocess.run(["sh", "-c", "echo from a child; exit 4"]).returncode)
"""


# Two processes have a memfd, one ends; then the other; then one goes by execve.
MEMFD_PY = """
import mmap, os
fd = os.memfd_create("left")
os.ftruncate(fd, 8 << 20)
memory = mmap.mmap(fd, 8 << 20)
memory[::4096] = bytes(2048)
memory.close()
if os.fork() == 0:
    os._exit(0)
os.wait()
print(sum(os.pread(fd, 8 << 20, 0)))
if os.fork() == 0:
    os.close(fd)
    own = os.memfd_create("cloexec", os.MFD_CLOEXEC)
    os.write(own, bytes(4 << 20))
    os.execl("/bin/true", "true")
os.wait()
os._exit(0)
"""


def nothing_shared(machine):
    left = machine["vmstat"]["nr_shmem"]
    return f"{left} pages of shared memory left" if left else None


def shared_memory(machine, pages):
    """One process ended with so many pages of shared memory; at the end none is left."""
    rss = max(mm["rss"]["shmem"] for mm in machine["mms"] if mm["hiwater_rss"] > 8192)
    if rss != pages or machine["vmstat"]["nr_shmem"]:
        return f"{rss} pages of shared memory mapped, {machine['vmstat']['nr_shmem']} left; wanted {pages}, 0"
    return None


class Case:
    def __init__(self, name, argv, full=False, machines=None, env=None, native=None, stdin=None, timeout=PATIENCE_S, same_stderr=True,
                 wanted=None):
        self.name, self.argv, self.full, self.env, self.stdin, self.timeout = name, argv, full, env, stdin, timeout
        self.machines = machines or []
        self.native = native or argv  # what is compared with; a list: expected (status, stdout)
        self.same_stderr = same_stderr
        self.wanted = wanted  # function(machine's report): what is wrong with it, or None


def compile_programs(folder):
    """C programs for the host and, static, for the other guests; returns {name: path}, None where a compiler is missing."""
    built = {}
    jobs = [("guest_basic", "gcc", []), ("kills", "gcc", []), ("threads", "gcc", []), ("exec_chain", "gcc", []), ("exec_at", "gcc", []), ("exec_signals", "gcc", []), ("shared", "gcc", []),
            ("guest_static", "gcc", ["-static"]), ("guest_nopie", "gcc", ["-no-pie"]),
            ("guest_aarch64", "aarch64-linux-gnu-gcc", ["-static"]), ("guest_riscv64", "riscv64-linux-gnu-gcc", ["-static"])]
    for name, compiler, flags in jobs:
        source = name if name in ("kills", "threads", "exec_chain", "exec_at", "exec_signals", "shared") else "guest_basic"
        built[name] = None
        if shutil.which(compiler):
            built[name] = os.path.join(folder, name)
            subprocess.run([compiler, "-O1", "-pthread", *flags, "-o", built[name], os.path.join(HERE, source + ".c")], check=True)
    return built


def write_lines(path, size):
    rng = random.Random(7)
    with open(path, "w") as f:
        written = 0
        while written < size:
            written += f.write("%016x %d\n" % (rng.getrandbits(64), written))


def write_source(path, functions):
    with open(path, "w") as f:
        for n in range(functions):
            f.write("int f%d(int a, int b) { int s = 0; for (int i = a; i < b; i++) { s += i * %d; if (s %% %d == 3) s ^= b; }"
                    " return s; }\n" % (n, n + 3, n + 7))


def write_sql(path, rows):
    with open(path, "w") as f:
        f.write("create table t(a integer primary key, b text, c integer);\n"
                "with recursive n(x) as (select 1 union all select x + 1 from n where x < %d)\n"
                "insert into t select x, 'row' || (x * 7919 %% 300007), x * 31 %% 1009 from n;\n"
                "create index i on t(b);\n"
                "select c, count(*), max(b) from t group by c order by 2 desc, 1 limit 5;\n" % rows)


def cases(folder):
    c = compile_programs(folder)
    write_lines(os.path.join(folder, "small.txt"), 1_000_000)
    write_source(os.path.join(folder, "small.c"), 30)
    write_sql(os.path.join(folder, "small.sql"), 10_000)
    pipeline = "cat small.txt | grep -v 00 | sort | uniq -c | wc -l"
    out = [
        Case("true", ["true"], machines=MACHINES),
        Case("status", ["sh", "-c", "exit 42"]),
        Case("python", [PYTHON, "-c", "print(sum(i * i for i in range(20000)))"], machines=MACHINES),
        Case("python-fork-threads", [PYTHON, "-c", FORK_PY]),
        Case("pipeline", ["sh", "-c", pipeline], machines=MACHINES),
        Case("stderr", ["sh", "-c", "echo out; echo err >&2; ls /nonexistent"]),
        Case("closed-stderr", ["sh", "-c", "exec 2>&-; echo still here"]),
        Case("stdin", ["wc"], stdin="a b\nc\n"),
        Case("sort", ["sort", "small.txt"]),
        Case("sqlite3", ["sqlite3", ":memory:", ".read small.sql"]),
        Case("gcc", ["sh", "-c", "gcc -O2 -c -o small.o small.c && cksum < small.o"]),
        Case("perl", ["perl", "-e", "my %h; $h{$_ % 997} .= $_ for 1..20000; print scalar(keys %h), ' ', length($h{5}), qq(\\n)"]),
        Case("killed-by-signal", ["sh", "-c", "kill -TERM $$"]),
        Case("missing-in-shell", ["sh", "-c", "/nonexistent/program; echo $?"]),
        Case("script", [os.path.join(folder, "nested.sh"), "one", "two words"]),
        Case("objects", [PYTHON, os.path.join(HERE, "objects.py"), "10"]),
        Case("objects-500M", [PYTHON, os.path.join(HERE, "objects.py"), "500"], full=True, timeout=900),
        Case("sort-50M", ["sort", "large.txt"], full=True, timeout=900),
        Case("sqlite3-1M", ["sqlite3", ":memory:", ".read large.sql"], full=True, timeout=900),
        Case("gcc-large", ["sh", "-c", "gcc -O2 -c -o large.o large.c && cksum < large.o"], full=True, timeout=900),
        Case("pipeline-large", ["sh", "-c", pipeline.replace("small", "large")], full=True, timeout=900),
    ]
    with open(os.path.join(folder, "nested.sh"), "w") as f:
        f.write("#!%s -e\necho \"$0\" \"$#\" \"$2\"\n" % os.path.join(folder, "outer"))
    with open(os.path.join(folder, "outer"), "w") as f:
        f.write("#!/bin/sh\necho outer \"$1\" \"${2##*/}\" \"$4\"\n")
    for name in ("nested.sh", "outer"):
        os.chmod(os.path.join(folder, name), 0o755)
    env = {"PATH": os.environ["PATH"], "X": "1", "LD_BIND_NOW": "1", "Y": "a,b", "MALLOC_PERTURB_": "0"}
    for name in ("guest_basic", "guest_static", "guest_nopie", "kills", "threads"):
        out.append(Case(name, [c[name]]))
    for name, argument, pages in (("shared-kept", "1", 8192), ("shared-given-back", "0", 0)):
        out.append(Case(name, [c["shared"], argument], wanted=lambda m, pages=pages: shared_memory(m, pages)))
    out.append(Case("memfd-at-the-end", [PYTHON, "-c", MEMFD_PY], wanted=nothing_shared))
    out.append(Case("threads-one-cpu", [c["threads"]], machines=["--set", "cpus=1"]))
    out.append(Case("kills-one-cpu", [c["kills"]], machines=["--set", "cpus=1"]))
    out.append(Case("exec_chain", [c["exec_chain"]]))
    out.append(Case("exec_at", [c["exec_at"]]))
    out.append(Case("exec_signals", [c["exec_signals"]]))
    out.append(Case("ignored-signals", ["sh", "-c", "trap '' HUP INT QUIT; exec %s ignored" % c["exec_signals"]]))
    out.append(Case("environment", [c["exec_chain"], "x"], env=env))
    for name in ("guest_aarch64", "guest_riscv64"):
        if c[name]:
            out.append(Case(name, [c[name]], native=[c["guest_static"]]))
    return out


def prepare_full(folder):
    write_lines(os.path.join(folder, "large.txt"), 50_000_000)
    write_source(os.path.join(folder, "large.c"), 1200)
    write_sql(os.path.join(folder, "large.sql"), 1_000_000)


def run(argv, case, folder):
    start = time.monotonic()
    p = subprocess.Popen(argv, cwd=folder, env=case.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         start_new_session=True)
    try:
        out, err = p.communicate((case.stdin or "").encode(), timeout=case.timeout)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        out, err = p.communicate()
        return "timeout", out, err, time.monotonic() - start
    return p.returncode, out, err, time.monotonic() - start


def problems_of(case, native, quire, report):
    """Differences and unbalanced books, as lines of text."""
    found = []
    for what, a, b in (("status", native[0], quire[0]), ("stdout", native[1], quire[1]), ("stderr", native[2], quire[2])):
        if a != b:
            found.append(f"{what}: native {a!r:.300}, quire {b!r:.300}")
    if report is None:
        return found + ["no JSON report"]
    for m in report["machines"]:
        if m["check"] != "ok":
            found.append(f"machine {m['name']}: check: {m['check']}")
        if m["dead"]:
            found.append(f"machine {m['name']}: {m['dead']}")
        if case.wanted and case.wanted(m):
            found.append(f"machine {m['name']}: {case.wanted(m)}")
    if report["disagreements"]:
        found.append(f"{report['disagreements']} disagreements: {report['notices'][:3]}")
    return found


def run_case(quire, case, folder):
    native = run(case.native, case, folder)
    path = os.path.join(folder, "report.json")
    if os.path.exists(path):
        os.unlink(path)
    done = run([quire, "run", "--quiet", "--check", "--json", path, *case.machines, "--", *case.argv], case, folder)
    report = None
    if os.path.exists(path):
        with open(path) as f:
            report = json.load(f)
    return problems_of(case, native, done, report), native[3], done[3]


# (name, arguments after `quire run`, text that the message must contain): exit status 2, one line on stderr, nothing on stdout
def refusals(folder):
    def make(name, content, mode=0o755):
        path = os.path.join(folder, name)
        with open(path, "wb") as f:
            f.write(content)
        os.chmod(path, mode)
        return path

    foreign = bytearray(64)
    foreign[:20] = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x15\x00"  # ELF64, machine 21: PowerPC 64
    return [
        ("not-found", ["--", "no-such-program"], "program not found"),
        ("not-executable", ["--", make("data", b"hello", 0o644)], "not executable"),
        ("directory", ["--", folder], "not executable"),
        ("no-format", ["--", make("text", b"hello\n")], "neither an ELF program nor a script"),
        ("no-interpreter", ["--", make("orphan", b"#!/no/such/interpreter\n")], "/no/such/interpreter"),
        ("foreign", ["--", make("ppc", bytes(foreign))], "another kind of machine"),
        ("bad-machine", ["--machine", make("bad.conf", b"mem = 1G\ncpsu = 2\n", 0o644), "--", "true"], "bad.conf:2"),
        ("bad-set", ["--set", "mem=banana", "--", "true"], "mem"),
        ("no-machine", ["--machine", "/no/such.conf", "--", "true"], "/no/such.conf"),
        ("narrow-machine", ["--set", "arch=riscv64-sv39", "--", "true"], "address space"),
        ("no-program", [], "no program given"),
        ("unknown-option", ["--nonsense", "--", "true"], "--nonsense"),
    ]


def run_refusals(quire, folder, names):
    bad = 0
    for name, arguments, text in refusals(folder):
        if names and name not in names:
            continue
        p = subprocess.run([quire, "run", *arguments], capture_output=True, text=True, timeout=PATIENCE_S)
        ok = p.returncode == 2 and text in p.stderr and not p.stdout and p.stderr.count("\n") == 1
        print(f"{'ok  ' if ok else 'FAIL'} refuses {name}")
        if not ok:
            print(f"     status {p.returncode}, stderr {p.stderr!r}, wanted {text!r}")
            bad += 1
    return bad


def exhausted(quire, folder):
    """A machine that is too small is reported, the other one goes on, and so does the program."""
    path = os.path.join(folder, "report.json")
    argv = [quire, "run", "--quiet", "--json", path, "--machine", MACHINES[1], "--set", "mem=32M", "--machine", MACHINES[3],
            "--", PYTHON, "-c", "print(len(bytes(60000000)) + len(bytearray(b'x') * 60000000))"]
    p = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S)
    with open(path) as f:
        report = json.load(f)
    dead = [m["dead"] for m in report["machines"]]
    ok = p.returncode == 0 and p.stdout == "120000000\n" and dead[0] and "out of memory" in dead[0] and dead[1] is None
    print(f"{'ok  ' if ok else 'FAIL'} exhausted machine")
    if not ok:
        print(f"     status {p.returncode}, stdout {p.stdout!r}, stderr {p.stderr!r:.500}, dead {dead}")
    return 0 if ok else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    usual()
    args.quire = os.path.abspath(args.quire)
    bad = 0
    with disk_folder("quire-programs-") as folder:
        chosen = [c for c in cases(folder) if (c.name in args.names if args.names else args.full or not c.full)]
        if args.list:
            print("\n".join(c.name for c in cases(folder)))
            return 0
        if any(c.full for c in chosen):
            prepare_full(folder)
        for case in chosen:
            problems, native_s, quire_s = run_case(args.quire, case, folder)
            print(f"{'FAIL' if problems else 'ok  '} {case.name}  native {native_s:.2f} s, quire {quire_s:.2f} s", flush=True)
            for p in problems:
                print("     " + p)
            bad += bool(problems)
        bad += run_refusals(args.quire, folder, args.names)
        if not args.names or "exhausted" in args.names:
            bad += exhausted(args.quire, folder)
    print("all passed" if not bad else f"{bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
