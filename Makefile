# SPDX-License-Identifier: LGPL-2.1-or-later
# A thin layer over meson and pytest. `make` builds, `make demo` shows the main job, `make test` runs every test.
BUILD ?= build
BUILD_ASAN ?= build-asan
BUILD_FUZZ ?= build-fuzz
MESON_FLAGS ?=
PYTEST_FLAGS ?=
FUZZ_SECONDS ?= 60
PYTHON ?= /usr/bin/python3

.PHONY: all build-deps test-deps bench-deps demo test unit integration zoo long matrix bench fuzz install format clean
.NOTPARALLEL:

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD) $(MESON_FLAGS)

$(BUILD_ASAN)/build.ninja:
	meson setup $(BUILD_ASAN) -Db_sanitize=address,undefined -Db_lundef=false $(MESON_FLAGS)

$(BUILD_FUZZ)/build.ninja:
	CC=clang meson setup $(BUILD_FUZZ) -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false $(MESON_FLAGS)

build-deps:
	scripts/install-deps.sh build
test-deps:
	scripts/install-deps.sh build test
	scripts/install-peer.sh || echo "no peer: the tests that need it are skipped"
bench-deps:
	scripts/install-deps.sh build bench
	scripts/install-peer.sh

# A Python program with threads, a pipe and a growing file is dumped, killed and restored.
demo: build-deps
	$(MAKE) all
	demo/demo.sh $(BUILD)/firn

# The integration tests come last: the last line is pytest's summary.
test: test-deps
	$(MAKE) all
	$(MAKE) unit
	$(MAKE) integration

unit: $(BUILD_ASAN)/build.ninja
	ninja -C $(BUILD_ASAN)
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 meson test -C $(BUILD_ASAN) --suite unit --no-rebuild --print-errorlogs

integration:
	FIRN_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -p no:cacheprovider -q tests/integration tests/zoo $(PYTEST_FLAGS)

# Every known way of getting stuck, one after the other; the table goes into docs/hangs.md.
zoo: all
	FIRN_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -p no:cacheprovider -q tests/zoo --zoo-table docs/hangs.md $(PYTEST_FLAGS)

# What takes too long for every run: FIRN_KILLS (1,000) kills, every call made to fail.
long: all
	FIRN_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -p no:cacheprovider -q tests/integration tests/zoo -m long $(PYTEST_FLAGS)

# Which programs go from firn to CRIU and back, into docs/images.md.
matrix: test-deps
	$(MAKE) all
	FIRN_BUILD=$(abspath $(BUILD)) $(PYTHON) scripts/matrix.py

bench: bench-deps
	$(MAKE) all
	FIRN_BUILD=$(abspath $(BUILD)) $(PYTHON) bench/bench.py --write docs/benchmarks.md $(BENCH_FLAGS)

fuzz: $(BUILD_FUZZ)/build.ninja
	ninja -C $(BUILD_FUZZ)
	scripts/run-fuzz.sh $(BUILD_FUZZ) $(FUZZ_SECONDS)

install: all
	meson install -C $(BUILD)

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf $(BUILD) $(BUILD_ASAN) $(BUILD_FUZZ)
