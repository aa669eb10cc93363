#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Machines of different geometries see one run together: each counts exactly what it counts when it is alone.

Usage: together.py [--quire PATH]
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

from surroundings import usual

PROGRAM = ["/usr/bin/python3", "-S", "-c", """
words = ["w%d" % (i * 2654435761 % 100003) for i in range(4000)]
index = {w: i for i, w in enumerate(words)}
print(sum(index[w] for w in sorted(words)))
"""]
MACHINES = {
    "usual": "",
    "small": "tlb.l1d.4k = 4x2\ntlb.l1i.4k = 2x3\ntlb.l2 = 8x4\n",
    "large": "tlb.l1d.4k = 64x12\ntlb.l1i.4k = 128x1\ntlb.l2 = 64x20\n",
    "one set": "tlb.l1d.4k = 1x16\ntlb.l1i.4k = 1x4\ntlb.l2 = 0\n",
}
TOGETHER = [["usual", "usual"], ["usual", "large"], ["usual", "small", "large"], list(MACHINES)]


def run(quire, folder, names):
    """{machine: what it counted}; addresses are the same in every run."""
    report = os.path.join(folder, "report.json")
    files = []
    for name in names:
        files += ["--machine", os.path.join(folder, name.replace(" ", "_") + ".conf")]
    env = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
    subprocess.run(["setarch", "-R", quire, "run", "--check", "--report", "/dev/null", "--json", report, *files, "--", *PROGRAM],
                   check=True, env=env, stdout=subprocess.DEVNULL)
    with open(report) as f:
        machines = json.load(f)["machines"]
    return [(name, m) for name, m in zip(names, machines)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(os.path.dirname(__file__), "../../build/cli/quire"))
    args = parser.parse_args()
    usual()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, text in MACHINES.items():
            with open(os.path.join(folder, name.replace(" ", "_") + ".conf"), "w") as f:
                f.write("mem = 1G\n" + text)
        alone = dict(run(args.quire, folder, [name])[0] for name in MACHINES)
        for names in TOGETHER:
            for name, machine in run(args.quire, folder, names):
                for part in ("tlb", "vmstat", "time_ns", "check"):
                    if machine[part] != alone[name][part]:
                        bad += 1
                        print(f"{name!r} among {names}: {part}: {machine[part]}\n  alone: {alone[name][part]}")
    print("differences: %d" % bad)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
