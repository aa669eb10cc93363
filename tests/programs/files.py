#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Names that are no files for what is asked: every option and operand of every subcommand. The message is one line on stderr and names
the option, the name and the reason, the exit status is 2, nothing hangs, no file appears, and what was there stays as it was. And "-".

Usage: files.py [--quire PATH] [WORD]...    (cases whose arguments have all the words)
"""
import argparse
import json
import os
import shutil
import stat
import subprocess
import sys

from surroundings import PATIENCE_S, disk_folder, usual

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOBODY = 65534
TRUE = ["--", "/bin/true"]
OLD = b"old\n"
failures = 0


def make_files(quire, folder):
    def run(*arguments):
        subprocess.run([quire, *arguments], check=True, cwd=folder, stdin=subprocess.DEVNULL)

    def write(name, content, mode=0o666):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(content)
        os.chmod(os.path.join(folder, name), mode)

    run("record", "-o", "good.trace", *TRUE)
    run("record", "--native", "-o", "good.native", *TRUE)
    run("run", "--quiet", "--save", "good.saved", *TRUE)
    os.mkdir(os.path.join(folder, "dir"))
    os.mkdir(os.path.join(folder, "closed"), 0o755)
    os.mkfifo(os.path.join(folder, "fifo"), 0o666)
    os.symlink("nowhere", os.path.join(folder, "dangling"))
    os.symlink("loop", os.path.join(folder, "loop"))
    for name in ("target", "read-only", "unreadable"):
        write(name, OLD, {"read-only": 0o444, "unreadable": 0}.get(name, 0o666))
    os.symlink("target", os.path.join(folder, "link"))
    write("empty", b"")
    write("random", bytes(range(128, 256)) * 1000)
    write("zero.conf", b"mem = 2G\n\0cpus = 4\n")
    write("good.csv", b"addr,kind\n1000,r\n")
    write("huge", b"")
    os.truncate(os.path.join(folder, "huge"), 5 << 30)
    os.chmod(folder, 0o777)


def state(folder):
    """Names, kinds, times and sizes: reading leaves them as they are."""
    found = {}
    for name in os.listdir(folder):
        st = os.lstat(os.path.join(folder, name))
        found[name] = (stat.S_IFMT(st.st_mode), st.st_ino, st.st_size, st.st_mtime_ns)
    return found


# What an output cannot be: (name, words). Of a stream; of a regular file, too.
NOT_WRITTEN = [("dir", ["folder"]), ("missing/x", ["missing", "No such file"]), ("good.csv/x", []), ("loop", ["symbolic links"]),
               ("dangling", ["symbolic link to nothing"]), ("", ["empty name"]), ("new/", ["no such folder"])]
NOT_A_FILE = NOT_WRITTEN + [("fifo", ["a FIFO", "name a file"]), ("-", ["name a file"])]
# What an input cannot be.
NOT_READ = [("missing", ["No such file"]), ("dir", []), ("loop", ["symbolic links"]), ("dangling", ["No such file"]), ("", ["empty name"])]


def named(option, name):
    return f"{option} {name}" if name else option


def refused():
    """(arguments, words)"""
    for name, words in NOT_A_FILE:
        yield ["record", "-o", name, *TRUE], [named("-o", name), *words]
        if name not in ("dir", "new/"):  # --save: a folder is where each process is saved
            yield ["run", "--quiet", "--save", name, *TRUE], [named("--save", name), *words]
            yield ["replay", "--quiet", "--save", name, "good.trace"], [named("--save", name), *words]
    for name, words in NOT_WRITTEN:
        yield ["record", "--native", "-o", name, *TRUE], [named("-o", name), *words]
        yield ["import", "csv", "-o", name, "good.csv"], [named("-o", name), *words]
        for form, source in (("csv", "good.trace"), ("oracle", "good.trace"), ("vma", "good.saved"), ("v2p", "good.trace")):
            yield ["export", form, "-o", name, source], [named("-o", name), *words]
        for option in ("--json", "--report"):
            yield ["run", "--quiet", option, name, *TRUE], [named(option, name), *words]
            yield ["replay", "--quiet", option, name, "good.trace"], [named(option, name), *words]
    yield ["record", "--native", "-o", "-", *TRUE], ["-o -", "name a file"]
    yield ["run", "--quiet", "--save", "new/", *TRUE], ["new/", "mkdir"]
    yield ["run", "--quiet", "--json", "-", "--report", "-", *TRUE], ["--json -", "--report -", "same file"]
    yield ["run", "--quiet", "--json", "new", "--report", "new", *TRUE], ["--json new", "--report new", "same file"]
    yield ["run", "--quiet", "--json", "target", "--save", "link", *TRUE], ["--json target", "--save link", "same file"]
    yield ["record", "--json", "target", "-o", "target", *TRUE], ["-o target", "--json target", "same file"]
    yield ["replay", "--quiet", "--json", "good.trace", "good.trace"], ["--json good.trace", "same file"]
    yield ["import", "csv", "-o", "good.csv", "good.csv"], ["good.csv", "same file"]
    yield ["export", "csv", "-o", "good.trace", "good.trace"], ["good.trace", "same file"]
    for name, words in NOT_READ:
        yield ["cat", name], ["cat", name, *words]
        yield ["replay", "--quiet", "--json", "target", name], [name, *words]
        yield ["verify", name], [name, *words]
        yield ["run", "--quiet", "--json", "target", "--machine", name, *TRUE], ["--machine", name, *words]
        yield ["import", "csv", "-o", "target", name], ["import", name, *words]
        yield ["import", "champsim", "-o", "target", name], ["import", name, *words]
        yield ["export", "csv", "-o", "target", name], [name, *words]
        yield ["export", "vma", "-o", "target", name], [name, *words]
    for name in ("empty", "random", "huge", "good.csv", "good.native"):
        yield ["cat", name], [name, "not a saved run"]
        yield ["replay", "--quiet", "--json", "target", name], [name]
        yield ["export", "oracle", "-o", "target", name], [name]
        yield ["export", "vma", "-o", "target", name], [name]
        if name != "good.native":
            yield ["verify", name], [name, "offset 0"]
        if name != "good.csv":
            yield ["import", "csv", "-o", "target", name], [name]
            yield ["import", "drmemtrace", "-o", "target", name], [name]
    yield ["cat", "fifo"], ["fifo", "not a file"]
    yield ["cat", "-"], ["cat: -", "name a file"]
    yield ["cat", "good.saved", "no-such-view"], ["no-such-view", "no such view"]
    yield ["cat", "good.saved", "no-such-process/maps"], ["no-such-process", "processes:"]
    yield ["run", "--machine", "-", *TRUE], ["--machine -", "/dev/stdin"]
    yield ["run", "--quiet", "--machine", "zero.conf", *TRUE], ["zero.conf", "offset 9", "zero byte"]
    yield ["run", "--quiet", "--machine", "/dev/zero", *TRUE], ["/dev/zero", "1 MiB"]
    yield ["run", "--quiet", "--machine", "random", *TRUE], ["random:1", "key = value"]
    yield ["run", "-o", "target", *TRUE], ["-o", "quire record"]
    yield ["replay", "good.native"], ["good.native", "quire verify"]
    yield ["replay", "good.saved"], ["good.saved", "quire cat"]
    yield ["verify", "good.saved"], ["good.saved", "quire cat"]
    yield ["verify", "good.trace"], ["good.trace", "record --native"]
    yield ["export", "csv", "-o", "target", "good.saved"], ["good.saved", "needs a trace"]


def refused_for_nobody():
    for option, subcommand, rest in (("--json", "run", TRUE), ("--report", "run", TRUE), ("--save", "run", TRUE), ("-o", "record", TRUE)):
        yield [subcommand, "--quiet", option, "read-only", *rest], [option + " read-only", "Permission denied"]
        yield [subcommand, "--quiet", option, "closed/x", *rest], [option + " closed/x", "Permission denied"]
    yield ["import", "csv", "-o", "read-only", "good.csv"], ["-o read-only", "Permission denied"]
    yield ["export", "csv", "-o", "closed/x", "good.trace"], ["-o closed/x", "Permission denied"]
    for arguments in (["cat"], ["replay"], ["verify"], ["import", "csv", "-o", "target"], ["export", "vma", "-o", "target"]):
        yield [*arguments, "unreadable"], ["unreadable", "Permission denied"]
    yield ["run", "--machine", "unreadable", *TRUE], ["unreadable", "Permission denied"]


def fail(arguments, problems):
    global failures
    failures += 1
    print(f"FAIL quire {' '.join(arguments)}")
    for problem in problems:
        print(f"     {problem}")


def check_refused(quire, folder, arguments, words, **who):
    before = state(folder)
    problems = []
    try:
        p = subprocess.run([quire, *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, **who)
        said = p.stderr.decode(errors="replace")
        problems = [f"{word!r} is missing" for word in words if word not in said]
        if p.returncode != 2:
            problems.append(f"status {p.returncode}")
        if said.count("\n") != 1 or p.stdout:
            problems.append(f"stdout {p.stdout[:100]!r}")
        if problems:
            problems.append(f"stderr {said[:300]!r}")
    except subprocess.TimeoutExpired:
        problems.append("hangs")
    after = state(folder)
    problems += [f"{name}: {before.get(name)} became {after.get(name)}" for name in sorted(before.keys() | after.keys())
                 if before.get(name) != after.get(name)]
    if problems:
        fail(arguments, problems)


def check_dash(quire, folder):
    """What "-" is where it is something."""
    def run(*arguments, stdin=None):
        p = subprocess.run([quire, *arguments], cwd=folder, input=stdin, stdin=None if stdin else subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S)
        return p.returncode, p.stdout

    with open(os.path.join(folder, "good.trace"), "rb") as f:
        trace = f.read()
    before = state(folder)
    hello = ["--", "/bin/echo", "hello"]
    status, out = run("run", "--quiet", "--json", "-", *hello)
    got = {"--json: the program's output first": status == 0 and out.startswith(b"hello\n"),
           "--json": json.loads(out[6:])["program"] == ["/bin/echo", "hello"]}
    status, out = run("run", "--quiet", "--report", "-", *hello)
    got["--report"] = status == 0 and out.startswith(b"hello\n\nquire: /bin/echo ended with status 0")
    status, out = run("replay", "--quiet", "--report", "-", "-", stdin=trace)
    got["replay - --report -"] = status == 0 and b"quire: /bin/true ended with status 0" in out
    status, out = run("export", "csv", "-o", "-", "-", stdin=trace)
    got["export -o - -"] = status == 0 and out.startswith(b"addr,kind,tid,space\n")
    status, out = run("import", "csv", "-o", "-", "-", stdin=b"addr,kind\n1000,r\n")
    got["import -o - -"] = status == 0 and run("replay", "--quiet", "-", stdin=out)[0] == 0
    got["no file named -"] = state(folder) == before
    status, out = run("record", "-o", "./-", *TRUE)
    got["./- is a file"] = status == 0 and os.path.isfile(os.path.join(folder, "-"))
    for what, ok in got.items():
        if not ok:
            fail([what], ["it is not so"])


NAMES_PY = rb"""
import mmap, os, sys
f = os.open(b"f\xff\xc3\xa9", os.O_RDWR | os.O_CREAT)
os.write(f, bytes(4096))
m = mmap.mmap(f, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
m[0]
os._exit(0)
"""


def check_names(quire, folder):
    """Names that are no UTF-8 are in the JSON, byte by byte; nothing is left out."""
    with open(os.path.join(folder, "names.py"), "wb") as f:
        f.write(NAMES_PY)
    run = [os.fsencode(quire), b"run", b"--quiet", b"--json", b"names.json", b"--save", b"names.saved", b"--", os.fsencode(os.path.realpath(sys.executable)), b"names.py", b"\xe9\n"]
    p = subprocess.run(run, cwd=folder, capture_output=True, timeout=PATIENCE_S)
    name = "/f\\377\u00e9"
    got = {"status": p.returncode == 0 and not p.stderr}
    with open(os.path.join(folder, "names.json"), encoding="utf-8") as f:
        report = json.load(f)
    got["arguments"] = report["program"][-1] == "\\351\n"
    got["report"] = any(v["name"].endswith(name) for mm in report["machines"][0]["mms"] for v in mm["vmas"])
    cat = [subprocess.run([quire, "cat", *options, "names.saved", "self/maps"], cwd=folder, capture_output=True, check=True).stdout for options in ([], ["--json"])]
    got["cat --json"] = len(json.loads(cat[1])) == cat[0].count(b"\n") and any(v["name"].endswith(name) for v in json.loads(cat[1]))
    export = subprocess.run([quire, "export", "vma.json", "names.saved"], cwd=folder, capture_output=True, check=True).stdout
    got["export vma.json"] = any(v["name"].endswith(name) for v in json.loads(export.decode("utf-8")))
    for what, ok in got.items():
        if not ok:
            fail(["names that are no UTF-8:", what], [p.stderr.decode(errors="replace")])


def check_terminal(quire, folder):
    """Binary output does not go to a terminal."""
    for arguments in (["import", "csv", "-o", "-", "good.csv"], ["export", "oracle", "good.trace"]):
        master, slave = os.openpty()
        p = subprocess.run([quire, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE, timeout=PATIENCE_S)
        os.close(slave)
        os.close(master)
        if p.returncode != 2 or b"is a terminal" not in p.stderr:
            fail(arguments, [f"to a terminal: status {p.returncode}, {p.stderr!r}"])


def check_full(quire, folder):
    """Standard output that takes nothing: one line that says so."""
    for arguments in (["cat", "good.saved"], ["cat", "good.saved", "self/maps"], ["cat", "--json", "good.saved", "meminfo"], ["verify", "good.native"],
                      ["export", "csv", "good.trace"], ["export", "vma", "good.saved"], ["import", "csv", "-o", "-", "good.csv"], ["--help"], ["export", "--help"],
                      ["run", "--quiet", "--json", "-", *TRUE], ["run", "--quiet", "--report", "-", *TRUE], ["replay", "--quiet", "--json", "-", "good.trace"]):
        with open("/dev/full", "wb") as full:
            p = subprocess.run([quire, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE_S)
        if p.returncode != 2 or p.stderr.count(b"\n") != 1 or not any(w in p.stderr for w in (b"standard output", b"--json -", b"--report -")):
            fail(arguments, [f"to /dev/full: status {p.returncode}, {p.stderr!r}"])


def check_links(quire, folder):
    """A saved run goes to the file behind a symbolic link; a device of our own is not replaced."""
    subprocess.run([quire, "run", "--quiet", "--save", "link", *TRUE], cwd=folder, check=True, stdin=subprocess.DEVNULL)
    with open(os.path.join(folder, "target"), "rb") as f:
        if not os.path.islink(os.path.join(folder, "link")) or f.read(8) != b"QUIRESAV":
            fail(["run", "--save", "link"], ["the link was replaced"])
    try:
        os.mknod(os.path.join(folder, "device"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except OSError:
        return
    check_refused(quire, folder, ["run", "--quiet", "--save", "device", *TRUE], ["--save device", "a device"])
    check_refused(quire, folder, ["replay", "--quiet", "--save", "device", "good.trace"], ["--save device", "a device"])
    check_refused(quire, folder, ["record", "-o", "device", *TRUE], ["-o device", "a device"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    usual()
    quire = os.path.abspath(args.quire)
    with disk_folder("quire-files-") as folder:
        make_files(quire, folder)
        chosen = [case for case in refused() if all(word in case[0] for word in args.words)]
        for arguments, words in chosen:
            check_refused(quire, folder, arguments, words)
        nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        copy = shutil.copy(quire, os.path.join(folder, "quire"))  # where nobody can reach it
        for arguments, words in refused_for_nobody():
            if all(word in arguments for word in args.words):
                check_refused(copy, folder, arguments, words, **nobody)
        if not args.words:
            check_dash(quire, folder)
            check_full(quire, folder)
            check_terminal(quire, folder)
            check_names(quire, folder)
            check_links(quire, folder)
    print("all passed" if not failures else f"{failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
