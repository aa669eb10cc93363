# SPDX-License-Identifier: MIT
"""Fills memory with small objects, says so, and waits for its input to end."""
import sys

keep = [str(n) * 3 for n in range(int(sys.argv[1]))]
print("ready", flush=True)
sys.stdin.read()
