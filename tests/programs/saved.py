#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Saved runs of real programs: `quire run --save`, `quire cat`. Contents of views, sums, JSON, moments, and what is refused.

Usage: saved.py --quire PATH --library PATH
"""
import argparse
import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import time

from surroundings import PATIENCE_S, disk_folder, usual

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SMALL, LARGE = (["--machine", os.path.join(ROOT, f"machines/{name}.conf")] for name in ("small", "large"))
# The child is there when the run ends, and no longer.
FORK_PY = """
import os, select
x = bytearray(1 << 20)
run = select.poll()
run.register(os.pidfd_open(os.getppid()), select.POLLIN)
if os.fork() == 0:
    run.poll()
os._exit(7)
"""
THREADS_PY = """
import os, threading
def work():
    for k in range(40):
        x = bytearray(1 << 17)
        for i in range(0, len(x), 4096):
            x[i] = 1
threads = [threading.Thread(target=work) for _ in range(3)]
[t.start() for t in threads]
if os.fork() == 0:
    work()
    os._exit(0)
[t.join() for t in threads]
os.wait()
"""
LEFT_PY = """
import os, threading, time
[threading.Thread(target=time.sleep, args=(20,)).start() for _ in range(3)]
os._exit(5)
"""
failures = []


def expect(what, got, wanted):
    if got != wanted:
        failures.append(f"{what}: {got!r}, expected {wanted!r}")


class Quire:
    def __init__(self, path):
        self.path = path

    def __call__(self, *arguments, status=0, binary=False):
        done = subprocess.run([self.path, *arguments], capture_output=True, timeout=PATIENCE_S)
        expect(f"{' '.join(arguments)}: status", done.returncode, status)
        if status:
            return done.stderr.decode()
        return done.stdout if binary else done.stdout.decode()


def numbers(text):
    """Name: number, of lines that are such."""
    pairs = (line.replace(":", " ").split() for line in text.splitlines())
    return {p[0]: int(p[1]) for p in pairs if len(p) > 1 and p[1].isdigit()}


def sum_of(smaps, name):
    return sum(int(line.split()[1]) for line in smaps.splitlines() if line.startswith(name + ":"))


def check_process(quire, saved, machine, who):
    """What views of one process say must agree."""
    smaps = quire("cat", "-m", machine, saved, f"{who}/smaps")
    rollup, status = (numbers(quire("cat", "-m", machine, saved, f"{who}/{view}")) for view in ("smaps_rollup", "status"))
    statm = [int(n) for n in quire("cat", "-m", machine, saved, f"{who}/statm").split()]
    maps = quire("cat", "-m", machine, saved, f"{who}/maps").splitlines()
    for name in ("Rss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced", "Anonymous"):
        expect(f"{who} on {machine}: {name}", sum_of(smaps, name), rollup[name])
    expect(f"{who} on {machine}: VmRSS", status["VmRSS"], rollup["Rss"])
    expect(f"{who} on {machine}: statm", statm[1] * 4, rollup["Rss"])
    expect(f"{who} on {machine}: VmSize", status["VmSize"], sum_of(smaps, "Size"))
    expect(f"{who} on {machine}: maps", [line for line in smaps.splitlines() if "-" in line.split()[0] and ":" not in line.split()[0]], maps)
    words = quire("cat", "-m", machine, "--raw", saved, f"{who}/pagemap", binary=True)
    present = sum(words[i + 7] >> 7 for i in range(0, len(words), 8))
    expect(f"{who} on {machine}: words of pagemap", len(words) // 8 * 4, status["VmSize"])
    if present * 4 < rollup["Rss"]:  # the zero page is present and not resident
        failures.append(f"{who} on {machine}: pagemap has {present} pages, Rss {rollup['Rss']} kB")


def check_machine(quire, saved, machine):
    meminfo, vmstat = (numbers(quire("cat", "-m", machine, saved, view)) for view in ("meminfo", "vmstat"))
    free = sum(int(n) << order for line in quire("cat", "-m", machine, saved, "buddyinfo").splitlines()
               for order, n in enumerate(line.split()[4:]))
    zones = quire("cat", "-m", machine, saved, "zoneinfo")
    in_zones = sum(int(line.split()[2]) for line in zones.splitlines() if line.startswith("  pages free"))
    expect(f"{machine}: buddyinfo", free, vmstat["nr_free_pages"])
    expect(f"{machine}: zoneinfo", in_zones, vmstat["nr_free_pages"])
    expect(f"{machine}: MemFree", meminfo["MemFree"], vmstat["nr_free_pages"] * 4)
    expect(f"{machine}: AnonPages", meminfo["AnonPages"], vmstat["nr_anon_pages"] * 4)
    slabs = [line.split() for line in quire("cat", "-m", machine, saved, "slabinfo").splitlines()[2:]]
    pages = sum(int(s[5]) * int(s[14]) for s in slabs)
    expect(f"{machine}: Slab", meminfo["Slab"], pages * 4)


def test_end_of_program(quire, folder):
    saved = os.path.join(folder, "fork.quire")
    quire("run", "--quiet", "--check", *SMALL, *LARGE, "--save", saved, "--", sys.executable, "-c", FORK_PY, status=7)
    for machine in ("small", "large"):
        check_machine(quire, saved, machine)
        check_process(quire, saved, machine, "self")
    listed = quire("cat", "--list", saved)
    expect("processes listed", listed.count(os.path.basename(sys.executable)[:15]) >= 4, True)
    both = json.loads(quire("cat", "-m", "small", "--json", saved, "meminfo", "self/smaps"))
    expect("json", both["meminfo"]["MemTotal"], numbers(quire("cat", "-m", "small", saved, "meminfo"))["MemTotal"])
    expect("json smaps", sum(v["Rss"] for v in both["self/smaps"]), sum_of(quire("cat", "-m", "small", saved, "self/smaps"), "Rss"))
    for name, why in [("memifo", "nearest: meminfo"), ("self/smap", "nearest: PID/smaps"), ("maps", "is of a process"),
                      ("self/vmstat", "is of the machine"), ("nobody/maps", "no such process")]:
        expect(f"refused: {name}", why in quire("cat", "-m", "small", saved, name, status=2), True)
    expect("refused: no machine", "choose one with -m: small, large" in quire("cat", saved, "meminfo", status=2), True)
    whole = open(saved, "rb").read()
    for n, why in [(0, "too few"), (100, "too few"), (len(whole) // 2, "truncated"), (len(whole) - 1, "truncated")]:
        open(saved, "wb").write(whole[:n])
        expect(f"refused: {n} bytes", why in quire("cat", saved, status=2), True)


def views_of(quire, saved):
    """Names of the listing: views of the machine, and of processes."""
    names = [line.split()[0] for line in quire("cat", "--list", saved).split("\nviews\n")[1].splitlines() if line.startswith("  ")]
    return [n for n in names if "/" not in n], [n.split("/")[1] for n in names if "/" in n]


def test_everything(quire, folder, library):
    """A program with threads, a child, segments, memfds: every view of it and of its child can be printed; what they say is so."""
    program, saved = os.path.join(folder, "everything"), os.path.join(folder, "everything.quire")
    subprocess.run(["gcc", "-O1", "-Wall", "-pthread", "-o", program, os.path.join(ROOT, "tests/programs/everything.c")], check=True)
    printed = quire("run", "--quiet", "--check", *SMALL, *LARGE, "--save", saved, "--", program)
    of_machine, of_process = views_of(quire, saved)
    lib = load_library(library)
    child = [line.split()[0] for line in quire("cat", "--list", saved).split("machine large")[0].splitlines() if line.endswith("resident")][-1]
    for machine in ("small", "large"):
        for name in of_machine + [f"{who}/{view}" for who in ("self", child) for view in of_process]:
            expect(f"{machine}: {name} is empty", quire("cat", "-m", machine, "--raw", saved, name, binary=True) == b"", False)
            if not name.endswith(("/auxv", "/pagemap")):  # binary
                json.loads(quire("cat", "-m", machine, "--json", saved, name))
        check_machine(quire, saved, machine)
        check_process(quire, saved, machine, "self")
        check_process(quire, saved, machine, child)
        check_books(lib, saved, machine)
        maps = quire("cat", "-m", machine, saved, "self/maps").splitlines()
        segment = [line for line in maps if "/SYSV00000000 (deleted)" in line]
        expect("the segment's mappings", [line.split()[1] for line in sorted(segment, key=lambda line: line.split()[1])], ["r--s", "rw-s"])
        expect("memfds", [sum(f"/memfd:{name} (deleted)" in line for line in maps) for name in ("kept", "closed")], [1, 1])
        status = numbers(quire("cat", "-m", machine, saved, "self/status"))
        expect("threads", status["Threads"], 3)
        expect("locked", status["VmLck"], 128)
        smaps = quire("cat", "-m", machine, saved, "self/smaps")
        expect("locked in smaps", sum_of(smaps, "Locked"), 128)
        auxv = quire("cat", "-m", machine, "--raw", saved, "self/auxv", binary=True)
        expect("auxv", struct.unpack(f"<{len(auxv) // 8}Q", auxv), tuple(int(word, 16) for word in printed.split()))
        vmstat = numbers(quire("cat", "-m", machine, saved, "vmstat"))
        expect("shared memory: memfds, the segment, anonymous; 64 pages each", vmstat["nr_shmem"], 256)
        expect("RssShmem", status["RssShmem"], 1024)


def test_each_process(quire, folder):
    each = os.path.join(folder, "each")
    os.mkdir(each)
    quire("run", "--quiet", "--check", *SMALL, "--save", each, "--", "sh", "-c", "echo a | /bin/grep a >/dev/null; /bin/true; exit 3", status=3)
    names = sorted(name.split(".")[0] for name in os.listdir(each))
    expect("a file for grep, sh and true", {"grep", "sh"} <= set(names), True)
    for name in os.listdir(each):
        check_process(quire, os.path.join(each, name), "small", name.split(".")[1])


def test_signal(quire, folder):
    saved = os.path.join(folder, "usr1.quire")
    run = subprocess.Popen([quire.path, "run", "--quiet", *SMALL, "--save", saved, "--save-at", "usr1", "--", sys.executable, "-c",
                            "import time; print('up', flush=True); x = bytearray(1 << 20); time.sleep(1000)"], stdout=subprocess.PIPE)
    run.stdout.readline()
    run.send_signal(signal.SIGUSR1)
    for _ in range(PATIENCE_S * 20):
        if os.path.exists(saved):
            break
        time.sleep(0.05)
    run.terminate()
    expect("SIGTERM is the program's", run.wait(), -signal.SIGTERM)
    check_process(quire, saved, "small", "self")
    message = quire("run", "--quiet", *SMALL, "--save", saved, "--save-at", "usr1", "--", "/bin/true", status=2)
    expect("no moment came", "the moment to save did not come" in message, True)


def load_library(path):
    lib = ctypes.CDLL(path)
    for name, result, arguments in [("quire_machine_load", ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]),
                                    ("quire_machine_check", ctypes.c_int, [ctypes.c_void_p]),
                                    ("quire_machine_destroy", None, [ctypes.c_void_p]), ("quire_last_error", ctypes.c_char_p, [])]:
        getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
    return lib


def check_books(lib, saved, machine):
    m = lib.quire_machine_load(saved.encode(), machine.encode())
    if not m:
        failures.append(f"{saved}, {machine}: {lib.quire_last_error().decode()}")
        return
    if lib.quire_machine_check(m):
        failures.append(f"{saved}, {machine}: {lib.quire_last_error().decode()}")
    lib.quire_machine_destroy(m)


def test_while_it_runs(quire, folder, library):
    """Threads and a child are in the middle of things: each file is a machine whose books balance."""
    lib, saved = load_library(library), os.path.join(folder, "calls.quire")
    quire("run", "--quiet", *SMALL, *LARGE, "--save", saved, "--save-at", "calls=300", "--save-at", "exit", "--", sys.executable, "-c",
          THREADS_PY)
    files = [name for name in os.listdir(folder) if name.startswith("calls.quire")]
    expect("several files", len(files) > 2, True)
    for name in files:
        for machine in ("small", "large"):
            check_books(lib, os.path.join(folder, name), machine)


def test_violent_ends(quire, folder):
    saved = os.path.join(folder, "killed.quire")
    quire("run", "--quiet", *SMALL, "--check", "--save", saved, "--", "sh", "-c", "kill -9 $$", status=-signal.SIGKILL)
    check_process(quire, saved, "small", "self")
    saved = os.path.join(folder, "left.quire")
    quire("run", "--quiet", *SMALL, "--check", "--save", saved, "--", sys.executable, "-c", LEFT_PY, status=5)
    check_process(quire, saved, "small", "self")
    expect("threads", numbers(quire("cat", saved, "self/status"))["Threads"], 4)


def test_library(library):
    out = subprocess.run([sys.executable, os.path.join(ROOT, "examples/saved_views.py"), library], capture_output=True, text=True, timeout=PATIENCE_S)
    expect("examples/saved_views.py", out.stdout,
           "100 {'Rss': 64, 'Pss': 34, 'Shared_Dirty': 60, 'Private_Dirty': 4}\n"
           "101 {'Rss': 64, 'Pss': 34, 'Shared_Dirty': 60, 'Private_Dirty': 4}\n")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    p.add_argument("--library", default=os.path.join(ROOT, "build/lib/libquire.so"))
    args = p.parse_args()
    usual()
    quire = Quire(os.path.abspath(args.quire))
    with disk_folder("quire-saved-") as folder:
        test_end_of_program(quire, folder)
        test_everything(quire, folder, os.path.abspath(args.library))
        test_each_process(quire, folder)
        test_signal(quire, folder)
        test_while_it_runs(quire, folder, os.path.abspath(args.library))
        test_violent_ends(quire, folder)
    test_library(args.library)
    for failure in failures:
        print(failure)
    print("failed" if failures else "ok")
    sys.exit(bool(failures))
