#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The C programs which the oracle writes: of random sequences, compiled with all warnings as errors, and run. What the kernel gave to the
oracle's child it must give to them: results, errors, signals with code and address.

Usage: reproducers.py [--oracle PATH] [--seed N] [--seeds N] [--steps N] [--keep DIR]
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Numbers of their own: the heap begins elsewhere, limits count the program, ids are other processes' too.
WITHOUT = "brk,prlimit64,setrlimit,shmget,shmctl,shmat,shmdt,process_madvise,membarrier"
STEP = re.compile(r"/\* (.*)\n \* kernel (.*)\n \* model .*\n \*/\nstatic void step(\d+)\(void\)\n\{\n((?:.*\n)*?)\}\n")


def wanted_of(source):
    """[(op, kernel's result, code)] by step."""
    with open(source) as f:
        steps = STEP.findall(f.read())
    assert [int(s[2]) for s in steps] == list(range(len(steps)))
    return [(op, result, code) for op, result, _, code in steps]


def line_of(result, code):
    """What the program prints for it; None: nothing is known."""
    if result.startswith("signal"):
        return re.match(r"signal \d+ code \d+ address \S+", result).group(0).replace("address 0x", "address 0x")
    if "show(" not in code:
        return None
    number = int(result.split()[0], 0)
    if -4096 < number < 0:
        return f"-1 ({os.strerror(-number)})"
    if "fd[" in code and "= r;" in code:
        return "descriptor"
    return f"{number:#x}" if number else "0"


def compare(source, output):
    """Problems as text."""
    got, step = {}, None
    for line in output.splitlines():
        if line.startswith("step "):
            step = int(line.split()[1].rstrip(","))
        elif step is not None and (line.startswith("  ") or line.startswith("signal")):
            got.setdefault(step, line.strip())
    problems = []
    for n, (op, result, code) in enumerate(wanted_of(source)):
        wanted = line_of(result, code)
        if wanted is None:
            continue
        line = got.get(n, "nothing").replace("(nil)", "0")
        if wanted == "descriptor":
            ok = not line.startswith("-1") and line != "nothing"
        else:
            ok = line == wanted
        if not ok:
            problems.append(f"step {n}: {op}: the oracle's child got {wanted}, the program {line}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", default=os.path.join(ROOT, "build/tests/oracle/oracle"))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--keep", help="write the programs there")
    args = parser.parse_args()
    bad = compared = 0
    with tempfile.TemporaryDirectory(prefix="quire-reproducers-") as folder:
        folder = args.keep or folder
        p = subprocess.run([args.oracle, "--seed", str(args.seed), "--seeds", str(args.seeds), "--steps", str(args.steps), "--without", WITHOUT,
                            "--print-c", "--out", folder], capture_output=True, text=True)
        if p.returncode == 77:
            print(p.stdout, end="")
            return 77
        for name in sorted(os.listdir(folder)):
            if not name.endswith(".c"):
                continue
            with open(os.path.join(folder, name)) as f:
                if "this program does not" in f.read():
                    print(f"skip {name}: clone with flags, or execve")
                    continue
            source, program = os.path.join(folder, name), os.path.join(folder, name[:-2])
            subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-static", "-no-pie",
                            "-Wl,-Ttext-segment=0x10000000", "-o", program, source], check=True)
            run = subprocess.run(["setarch", "-R", program], capture_output=True, text=True, cwd=folder)  # it has an alarm
            for key in range(0x51000000, 0x51000008):  # the program leaves them to whoever looks at it
                subprocess.run(["ipcrm", "-M", hex(key)], capture_output=True)
            problems = compare(source, run.stdout)
            if run.returncode:
                problems.append(f"status {run.returncode}: {run.stderr}")
            compared += len(wanted_of(source))
            print(f"{'FAIL' if problems else 'ok  '} {name}")
            for problem in problems[:8]:
                print("     " + problem)
            bad += bool(problems)
    print(f"{compared} steps; " + ("all passed" if not bad else f"{bad} failed"))
    return 1 if bad or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
