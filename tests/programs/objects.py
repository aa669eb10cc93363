"""500 MB of objects (argument: how many MB)."""
import sys

n = int(sys.argv[1]) if len(sys.argv) > 1 else 500
keep = [[str(i * k) for k in range(120)] for i in range(n * 130)]
print(len(keep), keep[-1][3])
