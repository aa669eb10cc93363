#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs under `quire record --native`: they must do what they do without it (output, exit status), and `quire verify` must agree
with the kernel on every call that is modelled.

Usage: native.py [--quire PATH] [NAME]...
"""
import argparse
import json
import os
import subprocess
import sys

from surroundings import PATIENCE_S, disk_folder, usual

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PARTS = ["calls", "signals", "threads", "processes", "limits", "stops", "exec", "huge", "rings", "pidfds", "disk", "stack", "clones",
         "unmappable", "segments"]
FORK_PY = """
import os, subprocess, threading
data = bytearray(4 << 20)
ts = [threading.Thread(target=lambda: [bytearray(1 << 20) for _ in range(20)]) for _ in range(3)]
[t.start() for t in ts]
[t.join() for t in ts]
for k in range(3):
    pid = os.fork()
    if pid == 0:
        data[0:4096] = bytes(4096)
        os._exit(k)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
print(subprocess.run(["sh", "-c", "echo from a child; exit 4"]).returncode)
"""


def run(argv, folder, stdin=None):
    p = subprocess.run(argv, cwd=folder, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S)
    return p.returncode, p.stdout, p.stderr


def cases(folder):
    program = os.path.join(folder, "native_calls")
    subprocess.run(["gcc", "-O1", "-w", "-pthread", "-o", program, os.path.join(HERE, "native_calls.c")], check=True)
    with open(os.path.join(folder, "a.c"), "w") as f:
        for n in range(60):
            f.write("int f%d(int a) { int s = 0; for (int i = 0; i < a; i++) s += i * %d %% 7; return s; }\n" % (n, n))
    out = [(p, [program, p], None) for p in PARTS]
    out += [
        ("true", ["true"], None),
        ("status", ["sh", "-c", "exit 42"], None),
        ("killed", ["sh", "-c", "kill -TERM $$"], None),
        ("stdin", ["wc"], "a b\nc\n"),
        ("pipeline", ["sh", "-c", "seq 20000 | grep -v 7 | sort -r | uniq -c | wc -l"], None),
        ("python", ["/usr/bin/python3", "-c", FORK_PY], None),
        ("unlimited stack", ["sh", "-c", "ulimit -s unlimited; exec /usr/bin/python3 -c 'print(1)'"], None),
        ("legacy layout", ["setarch", "-L", "/usr/bin/python3", "-c", "print(1)"], None),
        ("no randomisation", ["setarch", "-R", "/usr/bin/python3", "-c", "print(1)"], None),
        ("gcc", ["sh", "-c", "gcc -O2 -c -o a.o a.c && cksum < a.o"], None),
        ("perl", ["perl", "-e", "my %h; $h{$_ % 997} .= $_ for 1..20000; print scalar(keys %h)"], None),
        ("sqlite3", ["sqlite3", ":memory:", "with recursive n(x) as (select 1 union all select x + 1 from n where x < 20000) "
                     "select sum(x), count(distinct x % 991) from n;"], None),
    ]
    return out


def verify(quire, trace, folder):
    """Problems as lines of text, and the JSON."""
    status, out, err = run([quire, "verify", "--json", trace], folder)
    if status not in (0, 1):
        return [f"verify: status {status}: {err.strip()}"], None
    report = json.loads(out)
    if status == 0 and not err:
        return [], report
    bad = {k: v["disagreed"] for k, v in report["calls"].items() if v["disagreed"]}
    text = run([quire, "verify", "--show", "2", trace], folder)[1]
    return [f"disagreements: {bad} {err}"] + text.split("system call ")[0].splitlines(), report


def run_case(quire, folder, name, argv, stdin):
    trace = os.path.join(folder, "t")
    native = run(argv, folder, stdin)
    recorded = run([quire, "record", "--native", "--maps=all", "-o", trace, "--", *argv], folder, stdin)
    problems = [f"{what}: native {a!r:.200}, recorded {b!r:.200}"
                for what, a, b in zip(("status", "stdout", "stderr"), native, recorded) if a != b]
    more, report = verify(quire, trace, folder)
    calls = report["total"]["calls"] if report else 0
    return problems + more, calls


def run_bad_input(quire, folder):
    """Truncated, damaged and foreign files: exit status 2 (truncated: what is whole is verified), never a crash."""
    trace = os.path.join(folder, "t")
    run([quire, "record", "--native", "-o", trace, "--", "true"], folder)
    with open(trace, "rb") as f:
        whole = f.read()
    bad = 0
    for name, content, allowed in [("empty", b"", {2}), ("text", b"hello\n" * 100, {2}), ("half", whole[:len(whole) // 2], {2}),
                                   ("damaged", whole[:len(whole) // 2] + b"\xff" * 8 + whole[len(whole) // 2 + 8:], {2}),
                                   ("without its end", whole[:-1], {2})]:
        with open(os.path.join(folder, "bad"), "wb") as f:
            f.write(content)
        status, _, err = run([quire, "verify", "bad"], folder)
        ok = status in allowed and err
        print(f"{'ok  ' if ok else 'FAIL'} bad input: {name}")
        if not ok:
            print(f"     status {status}, stderr {err!r}")
        bad += not ok
    return bad


def run_options(quire, folder):
    """Help and wrong options: status, and a word of what is said."""
    trace = os.path.join(folder, "t")
    tracer = "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)"
    bad = 0
    for argv, expected, word in [(["verify", "--help"], 0, "--show N"), (["cat", "--help"], 0, "--raw"),
                                 (["record", "--native", "--help"], 0, "--maps=all"), (["verify"], 2, "usage"),
                                 (["verify", "--show", "x", "t"], 2, "--show x"), (["verify", "--maps", "t"], 2, "--maps"),
                                 (["record", "--native", "--maps=some", "-o", trace, "true"], 2, "--maps=some"),
                                 (["record", "--native", "-o", trace, "/usr/bin/python3", "-c", tracer], 0, "called ptrace")]:
        status, out, err = run([quire, *argv], folder)
        ok = status == expected and word in (err if status or word == "called ptrace" else out)
        print(f"{'ok  ' if ok else 'FAIL'} options: {' '.join(argv[:3])}")
        if not ok:
            print(f"     status {status}, stdout {out!r:.200}, stderr {err!r:.200}")
        bad += not ok
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    usual()
    quire = os.path.abspath(args.quire)
    bad = 0
    with disk_folder("quire-native-") as folder:
        for name, argv, stdin in cases(folder):
            if args.names and name not in args.names:
                continue
            problems, calls = run_case(quire, folder, name, argv, stdin)
            print(f"{'FAIL' if problems else 'ok  '} {name}  {calls} calls", flush=True)
            for p in problems:
                print("     " + p)
            bad += bool(problems)
        if not args.names:
            bad += run_bad_input(quire, folder) + run_options(quire, folder)
    print("all passed" if not bad else f"{bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
