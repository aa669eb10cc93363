#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `quire record --native` refuses: the message names the program, the reason and what helps; exit status 2, one line on stderr,
nothing on stdout, no trace, no process left. As root, those that root may record are asked for as nobody.

Usage: refused.py [--quire PATH] [NAME]...
"""
import argparse
import os
import shutil
import struct
import subprocess
import sys

from surroundings import PATIENCE_S, disk_folder, usual

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
NOBODY = 65534
ELF_FOREIGN = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x15\x00" + bytes(44)  # ELF64, machine 21: PowerPC 64
ELF_32 = b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x03\x00" + bytes(44)  # 32 bit, machine 3: i386
CAP_NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)  # what `setcap cap_net_raw+ep` writes (capabilities(7))


class Bench:
    def __init__(self, quire, folder):
        self.folder, self.trace = folder, os.path.join(folder, "t")
        os.chmod(folder, 0o777)
        self.quire = shutil.copy(quire, os.path.join(folder, "quire"))  # where nobody can reach it
        self.confine = os.path.join(folder, "confine")
        subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-o", self.confine, os.path.join(HERE, "confine.c")], check=True)
        self.as_root = os.geteuid() == 0

    def make(self, name, content=None, mode=0o755):
        """A file with this content, or a copy of `true`."""
        path = os.path.join(self.folder, name)
        if content is None:
            shutil.copyfile(shutil.which("true"), path)
        else:
            with open(path, "wb") as f:
                f.write(content)
        os.chmod(path, mode)
        return path

    def with_capability(self):
        """None: not as this user, or not on this file system."""
        path = self.make("capable")
        try:
            os.setxattr(path, "security.capability", CAP_NET_RAW)
        except OSError:
            return None
        return path


def cases(b):
    """(name, program, words that the message must have; before `quire`; as nobody)"""
    confine = lambda *how: [b.confine, *how]
    return [
        ("missing", "/no/such/program", ["not found", "PATH"], [], False),
        ("missing-in-path", "no-such-program", ["not found", "PATH"], [], False),
        ("directory", b.folder, ["not executable"], [], False),
        ("not-executable", b.make("data", b"hello", 0o644), ["not executable", "chmod +x"], [], False),
        ("fifo", make_fifo(b), ["not executable"], [], False),
        ("text", b.make("text", b"echo hello\n"), ["neither an ELF program nor a script", "record --native -o FILE -- sh "], [], False),
        ("no-interpreter", b.make("orphan", b"#!/no/such/interpreter\n"), ["/no/such/interpreter", "missing", "first line"], [], False),
        ("interpreter-is-text", b.make("indirect", b"#!" + os.fsencode(b.make("plain", b"x\n")) + b"\n"), ["its interpreter", "neither"], [], False),
        ("foreign", b.make("ppc", ELF_FOREIGN), ["another kind of machine"], [], False),
        ("32-bit", b.make("i386", ELF_32), ["another kind of machine", "64 bit"], [], False),
        ("damaged", b.make("cut", ELF_FOREIGN[:18] + b"\x3e\x00" + bytes(10)), ["damaged"], [], False),
        ("set-user-ID", b.make("suid", mode=0o4755), ["set-user-ID", "copy of the program without that bit"], [], False),
        ("set-group-ID", b.make("sgid", mode=0o2755), ["set-group-ID", "copy of the program without that bit"], [], False),
        ("interpreter-set-user-ID", b.make("viasuid", b"#!" + os.fsencode(os.path.join(b.folder, "suid")) + b"\n"), ["/suid is a set-user-ID"], [], False),
        ("capabilities", b.with_capability(), ["file capabilities", "copy of the program without"], [], False),
        ("unreadable", b.make("secret", mode=0o711) if b.as_root else b.make("secret", mode=0o311), ["not readable", "chmod +r"], [], True),
        ("traced", b.make("ok"), ["already traced, by process", "without it"], confine("traced"), False),
        ("traced-nobody", b.make("ok"), ["already traced, by process"], confine("traced"), True),
        ("no-ptrace", b.make("ok"), ["ptrace: Operation not permitted", "SYS_PTRACE"], confine("without", "ptrace"), False),
        ("no-ptrace-nobody", b.make("ok"), ["ptrace: Operation not permitted", "SYS_PTRACE"], confine("without", "ptrace"), True),
        ("no-readv", b.make("ok"), ["process_vm_readv: Operation not permitted", "SYS_PTRACE"], confine("without", "process_vm_readv"), False),
        ("no-filter", b.make("ok"), ["seccomp filter: Operation not permitted", "allow"], confine("without", "seccomp"), False),
    ]


def make_fifo(b):
    path = os.path.join(b.folder, "fifo")
    os.mkfifo(path, 0o777)
    return path


def record(b, program, before, nobody):
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if nobody and b.as_root else {}
    return subprocess.run([*before, b.quire, "record", "--native", "-o", b.trace, "--", program], capture_output=True, text=True,
                          timeout=PATIENCE_S, cwd=b.folder, **who)


def processes(b):
    """Pids of those that run something of the folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/exe").startswith(b.folder):
                found.append(int(pid))
        except OSError:
            pass
    return found


def unreadable_child(b):
    """A program that starts one which may not be read is recorded; of that one nothing is."""
    b.make("secret", mode=0o711)
    shell = b.make("starts", b"#!/bin/sh\n%s; %s; exit 5\n" % ((os.fsencode(os.path.join(b.folder, "secret")),) * 2))
    recorded = record(b, shell, [], True)
    p = subprocess.run([b.quire, "verify", b.trace], capture_output=True, text=True, timeout=PATIENCE_S)
    unseen = "2 of the programs may not be read" in p.stdout or not b.as_root
    ok = recorded.returncode == 5 and not recorded.stderr and p.returncode == 0 and not p.stderr and unseen
    print(f"{'ok  ' if ok else 'FAIL'} records what starts an unreadable program")
    if not ok:
        print(f"     record {recorded.returncode} {recorded.stderr!r}, verify {p.returncode} {p.stdout!r} {p.stderr!r}")
    return not ok


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    usual()
    bad = 0
    with disk_folder("quire-refused-") as folder:
        b = Bench(os.path.abspath(args.quire), folder)
        for name, program, words, before, nobody in cases(b):
            if args.names and name not in args.names:
                continue
            if program is None:
                print(f"skip {name}: it cannot be made here")
                continue
            p = record(b, program, before, nobody)
            problems = [f"{w!r} is missing" for w in words + [program] if w not in p.stderr]
            if p.returncode != 2 or p.stdout or p.stderr.count("\n") != 1:
                problems.append(f"status {p.returncode}, stdout {p.stdout!r}")
            if os.path.exists(b.trace):
                problems.append("a trace is left")
                os.unlink(b.trace)
            if processes(b):
                problems.append(f"processes are left: {processes(b)}")
            print(f"{'FAIL' if problems else 'ok  '} refuses {name}")
            for problem in problems:
                print(f"     {problem}; stderr {p.stderr!r}")
            bad += bool(problems)
        if not args.names:  # nothing stands in the way of this one
            p = record(b, b.make("ok"), [], True)
            print(f"{'FAIL' if p.returncode else 'ok  '} records as nobody  {p.stderr}")
            bad += p.returncode != 0
            bad += unreadable_child(b)
    print("all passed" if not bad else f"{bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
