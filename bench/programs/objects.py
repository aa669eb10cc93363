# SPDX-License-Identifier: MIT
"""The benchmark program "python": objects, dictionaries, strings and a sort. Usage: objects.py [n]"""
import sys


def main(n):
    words = ["w%d" % (i * 2654435761 % 1000003) for i in range(n)]
    index = {}
    for position, word in enumerate(words):
        index.setdefault(word, []).append(position)
    longest = max(index.values(), key=len)
    ordered = sorted(index)
    total = 0
    for word in ordered:
        total = (total * 31 + len(index[word]) + ord(word[-1])) % 1000000007
    print(len(index), len(longest), total)


main(int(sys.argv[1]) if len(sys.argv) > 1 else 200000)
