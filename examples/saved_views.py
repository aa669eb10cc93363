# SPDX-License-Identifier: MIT
"""The library from Python: a process on a modelled machine, its views, the machine in a file and back.

    python3 examples/saved_views.py [build/lib/libquire.so]
"""
import ctypes
import os
import sys
import tempfile

PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 2, 0x20
QUIRE_WRITE = 1


def open_library(path):
    lib = ctypes.CDLL(path)
    pointer, text, u64 = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64
    for name, result, arguments in [
            ("quire_machine_create", pointer, [text]), ("quire_machine_load", pointer, [text, text]),
            ("quire_machine_save", ctypes.c_int, [pointer, text]), ("quire_machine_destroy", None, [pointer]),
            ("quire_process_create", pointer, [pointer, ctypes.c_int]), ("quire_process_fork", pointer, [pointer, ctypes.c_int]),
            ("quire_mmap", ctypes.c_int64, [pointer, u64, u64, ctypes.c_int, ctypes.c_int]),
            ("quire_access", ctypes.c_int, [pointer, u64, ctypes.c_uint32, ctypes.c_int, pointer]),
            ("quire_proc_read", ctypes.c_int64, [pointer, text, text, ctypes.c_size_t]), ("quire_last_error", text, [])]:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def view(lib, machine, name):
    length = lib.quire_proc_read(machine, name.encode(), None, 0)
    if length < 0:
        raise KeyError(lib.quire_last_error().decode())
    buffer = ctypes.create_string_buffer(length + 1)
    lib.quire_proc_read(machine, name.encode(), buffer, length + 1)
    return buffer.value.decode()


def rollup(lib, machine, pid):
    lines = view(lib, machine, f"{pid}/smaps_rollup").splitlines()[1:]
    return {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}


if __name__ == "__main__":
    lib = open_library(sys.argv[1] if len(sys.argv) > 1 else "build/lib/libquire.so")
    machine = lib.quire_machine_create(b"mem = 256M\n")
    parent = lib.quire_process_create(machine, 100)
    at = lib.quire_mmap(parent, 0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)
    for page in range(16):
        lib.quire_access(parent, at + page * 4096, 8, QUIRE_WRITE, None)
    child = lib.quire_process_fork(parent, 101)
    lib.quire_access(child, at, 8, QUIRE_WRITE, None)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "machine.quire").encode()
        lib.quire_machine_save(machine, path)
        lib.quire_machine_destroy(machine)
        machine = lib.quire_machine_load(path, None)
    for pid in (100, 101):
        sums = rollup(lib, machine, pid)
        print(pid, {name: sums[name] for name in ("Rss", "Pss", "Shared_Dirty", "Private_Dirty")})
    lib.quire_machine_destroy(machine)
