# SPDX-License-Identifier: MIT
"""Allocates, computes and forks: a small tour of what a memory manager does for a program."""
import os
import sys


def allocate(megabytes):
    """A table of that many 1 MiB blocks, each page written."""
    blocks = []
    for n in range(megabytes):
        block = bytearray(1 << 20)
        for offset in range(0, len(block), 4096):
            block[offset] = n & 0xFF
        blocks.append(block)
    return blocks


def compute(limit):
    """The primes below limit, by Eratosthenes' sieve."""
    sieve = bytearray([1]) * limit
    sieve[0:2] = b"\0\0"
    for n in range(2, int(limit**0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, limit, n)))
    return sum(sieve)


def in_child(work):
    """Run work() in a forked child and give its exit status."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def rewrite(blocks):
    """Write one page of each block: in a child, each write breaks one shared page away."""
    for block in blocks:
        block[0] ^= 0xFF
    return len(blocks) % 256


if __name__ == "__main__":
    table = allocate(24)
    print("allocated", len(table), "MiB")
    print("primes below 1000000:", compute(1_000_000))
    print("child rewrote", in_child(lambda: rewrite(table)), "pages of its copy")
    print("parent still sees", table[5][0])
    del table
    print("done")
