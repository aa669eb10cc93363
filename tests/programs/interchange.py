#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`quire import` and `quire export`: golden traces of each foreign format, replayed with the counts that follow from them by hand; what is
exported, against naive computations and the saved run's own views; what is refused.

Usage: interchange.py [--quire PATH]
"""
import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

from surroundings import PATIENCE_S, usual

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SMALL = ["--machine", os.path.join(ROOT, "machines/small.conf")]
NO_FAULT_AROUND = ["--set", "fault_around_bytes=4096"]
failures = []

LACKEY = """==7== Lackey, an example Valgrind tool
I  00401000,3
 L 1ffeffe7e8,8
I  00401003,5
 S 1ffeffe7e0,8
 M 00602ffc,8
I  00402000,2
==7== Exit code: 0
"""
DRTEXT = "Format: <data address>: <data size>, <(r)ead/(w)rite/opcode>\n0x401000:  3, mov\n0x7ffe10: 8, r\n0x7ffe18: 4, w\n0x801000: 4, w\n"
CSV = "addr,size,kind,tid\n" + "".join("0x%x,8,%s,%d\n" % (0x10000000 + p * 4096, k, t) for p, k, t in
                                        [(0, "w", 1), (1, "r", 1), (1, "w", 1), (2, "r", 2), (0, "r", 2), (700, "w", 3), (1, "r", 1)])


def expect(what, got, wanted):
    if got != wanted:
        failures.append("%s: %r, expected %r" % (what, got, wanted))


def drmemtrace():
    r = lambda t, size, addr: struct.pack("<HHQ", t, size, addr)
    out = r(25, 0, 3)
    for tid, page in ((41, 0x1000), (42, 0x2000), (41, 0x1000)):
        out += r(22, 4, tid) + r(10, 3, 0x401000) + r(0, 8, 0x10000000 + page) + r(1, 8, 0x10004000 + page)
    return out + r(23, 4, 42) + r(22, 4, 41) + r(23, 4, 41) + r(26, 0, 0)


def champsim():
    one = lambda ip, dst, src: struct.pack("<QBB2B4B2Q4Q", ip, 0, 0, 0, 0, 0, 0, 0, 0, dst, 0, src, 0, 0, 0)
    return one(0x401000, 0, 0x10000000) + one(0x401004, 0x10001000, 0) + one(0x402000, 0x10000008, 0x10001ffe)


# format, input, what replay counts: data accesses, blocks, faults by kind, threads beside the first
GOLDEN = [
    ("lackey", LACKEY.encode(), {"accesses": 4, "blocks": 3, "anon": 0, "zero": 3, "cow": 3, "text": 2, "threads": 0}),
    ("drtext", DRTEXT.encode(), {"accesses": 3, "blocks": 1, "anon": 1, "zero": 1, "cow": 1, "text": 1, "threads": 0}),
    ("csv", CSV.encode(), {"accesses": 7, "blocks": 0, "anon": 2, "zero": 2, "cow": 1, "text": 0, "threads": 2}),
    ("drmemtrace", drmemtrace(), {"accesses": 6, "blocks": 3, "anon": 2, "zero": 2, "cow": 0, "text": 1, "threads": 1}),
    ("champsim", champsim(), {"accesses": 4, "blocks": 3, "anon": 1, "zero": 1, "cow": 1, "text": 2, "threads": 0}),
]


class Tool:
    def __init__(self, path, folder):
        self.path, self.folder = path, folder

    def __call__(self, *arguments, status=0, data=None):
        r = subprocess.run([self.path, *arguments], input=data, capture_output=True, timeout=PATIENCE_S, cwd=self.folder)
        expect("%s: status (%s)" % (" ".join(arguments), r.stderr.decode()[:200]), r.returncode, status)
        return r.stdout if status == 0 else r.stderr.decode()

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as f:
            return f.read()

    def write(self, name, data):
        with open(os.path.join(self.folder, name), "wb") as f:
            f.write(data)
        return name


def golden(quire):
    for form, data, wanted in GOLDEN:
        quire.write("in." + form, data)
        quire("import", form, "in." + form, "-o", "t")
        quire("replay", *SMALL, *NO_FAULT_AROUND, "--check", "--quiet", "--json", "j", "t")
        j = json.loads(quire.read("j"))
        events = j["machines"][0]["vmstat"]
        got = {"accesses": j["accesses"], "blocks": j["blocks"], "threads": j["events"]}
        expect(form + ": notices", j["notices"], [])
        for key, counter in (("anon", "quire_fault_anon"), ("zero", "quire_fault_zero_page"), ("cow", "quire_fault_wp_copy"),
                             ("text", "quire_fault_file_read")):
            got[key] = events.get(counter)
        expect(form, got, wanted)
        expect(form + ": from standard input", quire("import", form, "-", "-o", "-", data=data)[:8], b"\x89QTRACE\n")


def naive_oracle(rows):
    following, out = {}, []
    for number in range(len(rows), 0, -1):
        page = int(rows[number - 1][0], 16) >> 12 | int(rows[number - 1][3]) << 45
        out.append(struct.pack("<IQIq", (number - 1) // 1000000, page, 4096, following.get(page, -1)))
        following[page] = number
    return b"".join(reversed(out))


def references(quire, trace):
    rows = [line.split(",") for line in quire("export", "csv", trace).decode().splitlines()]
    expect("heading", rows.pop(0), ["addr", "kind", "tid", "space"])
    quire("export", "oracle", "-o", "o", trace)
    expect("oracle of " + trace, quire.read("o"), naive_oracle(rows))
    expect("oracle through a pipe", quire("export", "oracle", trace), quire.read("o"))
    return rows


def round_trip(quire):
    rnd = random.Random(7)
    lines, page = ["addr,kind,tid,space"], 0
    for _ in range(50000):
        page = (page + 1 + rnd.randrange(3000)) % 5000
        lines.append("0x%x,%s,1,0" % (0x400000 + page * 4096, rnd.choice("rw")))
    text = ("\n".join(lines) + "\n").encode()
    quire.write("in.csv", text)
    quire("import", "csv", "in.csv")
    expect("csv, a trace, csv", quire("export", "csv", "in.csv.quire"), text)
    references(quire, "in.csv.quire")


def maps_of(quire, saved):
    out = []
    for line in quire("cat", saved, "self/maps").decode().splitlines():
        f = line.split(None, 5)
        start, end = (int(x, 16) for x in f[0].split("-"))
        out.append({"start": start, "end": end, "perms": f[1], "pgoff": int(f[2], 16) >> 12, "dev": f[3], "ino": int(f[4]),
                    "name": f[5] if len(f) > 5 else ""})
    return out


def check_v2p(what, text, maps, pagemap):
    words = struct.unpack("<%dQ" % (len(pagemap) // 8), pagemap)
    wanted, at = {}, 0
    for m in maps:
        for va in range(m["start"], m["end"], 4096):
            if words[at] >> 63:
                wanted[va] = (words[at] & (1 << 55) - 1) << 12
            at += 1
    head = ["page_size: 0x1000", "page_count: 0x%x" % len(wanted), "bytes_mapped: 0x%x" % (4096 * len(wanted))]
    body = [line for va in sorted(wanted) for line in ("address_mapping {", "  key: 0x%x" % va, "  value: 0x%x" % wanted[va], "}")]
    expect(what, text.splitlines(), head + body)
    expect(what + ": pages", bool(wanted), True)


def spaces(quire, recorded):
    """Of a saved run, and the same program's trace at its end."""
    python = ["/usr/bin/python3", "-c", "x = bytearray(1 << 20)"]
    quire("run", *SMALL, "--quiet", "--save", "s", "--", *python)
    maps = maps_of(quire, "s")
    expect("vma.json", json.loads(quire("export", "vma.json", "s")), maps)
    lines = ["0x%x 0x%x %s 0x%x %s %d%s" % (m["start"], m["end"], m["perms"], m["pgoff"], m["dev"], m["ino"], m["name"] and " " + m["name"])
             for m in maps]
    expect("vma", quire("export", "vma", "s").decode().splitlines(), lines)
    check_v2p("v2p", quire("export", "v2p", "-p", "python3", "s").decode(), maps, quire("cat", "--raw", "s", "self/pagemap"))
    if not recorded:
        return
    quire("record", *SMALL, "--quiet", "-o", "t", "--save", "s", "--", *python)
    quire("replay", *SMALL, "--quiet", "--save", "again", "t")
    maps = maps_of(quire, "s")
    expect("maps of a replayed trace", maps_of(quire, "again"), maps)
    expect("vma.json of a trace", json.loads(quire("export", "vma.json", "t")), maps)
    expect("v2p of a replayed trace", quire("export", "v2p", "again"), quire("export", "v2p", "s"))
    quire("record", "-o", "t", "--", "/bin/true") # the naive computation needs few
    maps = json.loads(quire("export", "vma.json", "t"))
    rows = references(quire, "t")
    inside = [any(m["start"] <= int(r[0], 16) < m["end"] for m in maps) for r in rows if r[3] == "0"]
    expect("most references lie in the last mappings", sum(inside) > 0.9 * len(inside), True)


def lackey(quire):
    """A real program's trace, if valgrind is there."""
    if not shutil.which("valgrind"):
        return
    r = subprocess.run(["valgrind", "--tool=lackey", "--trace-mem=yes", "--log-file=in.valgrind", "/bin/true"], cwd=quire.folder)
    expect("valgrind: status", r.returncode, 0)
    kinds = [line[:2] for line in quire.read("in.valgrind").decode().splitlines()]
    quire("import", "lackey", "in.valgrind", "-o", "t")
    quire("replay", *SMALL, "--check", "--quiet", "--json", "j", "t")
    j = json.loads(quire.read("j"))
    expect("lackey: accesses", j["accesses"], kinds.count(" L") + kinds.count(" S") + 2 * kinds.count(" M"))
    expect("lackey: fetches", j["blocks"], kinds.count("I "))
    references(quire, "t")


def refused(quire):
    quire.write("bad.csv", b"addr\n0x1000\nzz\n")
    quire("import", "csv", "in.csv", "-o", "t")
    trace = quire.read("t")
    quire.write("cut", trace[:-1])
    for arguments, words in (
            (["import", "csv", "bad.csv", "-o", "new"], "bad.csv:3: 'zz' is not a number"),
            (["import", "champsim", "in.csv", "-o", "new"], "offset"),
            (["import", "foo", "in.csv"], "foo: no such format; `quire import --help`"),
            (["import", "csv", "nothing", "-o", "new"], "nothing: No such file"),
            (["import", "csv", ".", "-o", "new"], "Is a directory"),
            (["import", "csv", "in.csv", "-o", "no/new"], "-o no/new: No such file"),
            (["import", "csv", "-"], "name the trace with -o"),
            (["import", "csv", "in.csv", "x", "y"], "x: not understood"),
            (["import", "csv"], "needs a format and a file"),
            (["import", "lackey", "/dev/null", "-o", "new"], "no access is in it"),
            (["export", "foo", "t"], "foo: no such format; `quire export --help`"),
            (["export", "csv", "in.csv", "-o", "new"], "in.csv: offset 0: not a Quire trace"),
            (["export", "csv", "s"], "a saved run holds no accesses"),
            (["export", "vma", "-p", "nobody", "s"], "-p nobody: no such process"),
            (["export", "vma", "-m", "nothing", "s"], "no such machine"),
            (["export", "vma", "-m", "small", "t"], "is no saved run"),
            (["export", "csv", "-p", "1", "t"], "holds all processes"),
            (["export", "v2p", "-p", "9", "t", "-o", "new"], "does not end in this trace"),
            (["export", "csv", "cut"], "cut: offset"),
            (["export", "v2p", "cut"], "truncated")):
        text = quire(*arguments, status=2)
        expect(" ".join(arguments) + ": message", words if words in text else text, words)
        expect(" ".join(arguments) + ": leaves nothing", os.path.exists(os.path.join(quire.folder, "new")), False)
    for verb in ("import", "export"):
        expect(verb + " --help", quire(verb, "--help")[:13 + len(verb)], b"Usage: quire " + verb.encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire", default=os.path.join(ROOT, "build/cli/quire"))
    o = parser.parse_args()
    usual()
    with tempfile.TemporaryDirectory() as folder:
        quire = Tool(os.path.abspath(o.quire), folder)
        golden(quire)
        round_trip(quire)
        spaces(quire, True)
        lackey(quire)
        refused(quire)
    print("\n".join(failures) or "ok")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
