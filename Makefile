# SPDX-License-Identifier: MIT
# Thin: everything is in meson.build and scripts/.
BUILD ?= build
CHECK_BUILDS := build-asan build-tsan build-clang

SECONDS ?= 600
ORACLE_SECONDS ?= $(SECONDS)

.PHONY: all run test test-all oracle oracle-vm bench check-all gates fuzz clean
all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

$(BUILD)/build.ninja: meson.build meson_options.txt
	@scripts/setup
	@test -f $@ || meson setup $(BUILD) >/dev/null

# The main job: a real program on two modelled machines at once.
run: all
	$(BUILD)/cli/quire run --machine machines/small.conf --machine machines/large.conf --check -- /usr/bin/python3 examples/hello_memory.py

# Unit, property, oracle and program tests, and the gates.
test: all
	@meson test -C $(BUILD) --no-rebuild --print-errorlogs
	@scripts/gates

# Everything: the long program set too.
test-all: test
	tests/programs/run.py --quire $(BUILD)/cli/quire --full

# Random operations by real processes and by modelled ones, for ORACLE_SECONDS (docs/oracle.md).
oracle: all
	$(BUILD)/tests/oracle/oracle --seconds $(ORACLE_SECONDS) --out $(BUILD)

# The same inside Debian's kernel, in a virtual machine in software: protection keys, five-level tables, four nodes.
VM_SECONDS ?= 60
oracle-vm: all
	scripts/oracle-vm $(BUILD) $(VM_SECONDS)

bench: all
	@scripts/bench $(BUILD)

# Sanitizers and the second compiler: ASan + UBSan with all assertions, TSan, clang.
check-all: test
	@scripts/check-all

gates: all
	@scripts/gates

fuzz:
	@scripts/fuzz

clean:
	rm -rf build build-*
