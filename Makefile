# One command each, the same in CI. `make` alone lists them; CONTRIBUTING.md explains.
#
# Needs Python >= 3.11, a C compiler and make. Everything else, Go included, is
# pinned by hash in requirements/ and installed into .venv. A Go on PATH is used
# where it is recent enough.

SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

ifeq ($(strip $(HOME)),)
export HOME := $(CURDIR)/build/home
endif
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export GOTOOLCHAIN := local
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
UV := .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python
LOCK := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

GO_AT_LEAST := $(shell sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' engine/go.mod)
GO_ON_PATH := $(shell { echo '$(GO_AT_LEAST)'; go env GOVERSION 2>/dev/null | sed 's/^go//'; } \
	| sort -CV && command -v go)
GO := $(or $(GO_ON_PATH),$(CURDIR)/.venv/bin/go)
GO_LOCK := $(if $(filter-out $(CURDIR)/.venv/bin/go,$(GO_ON_PATH)),,requirements/go.txt)

ENGINE := src/fedanomaly/_native/libfedanomaly.so
ENGINE_SOURCES := $(shell find engine -name '*.go' ! -name '*_test.go' -o -name '*.[chS]' -o -name 'go.*') scripts/build_engine.py
CHECKS := check-format check-lint check-types check-imports check-dead-code check-dependencies check-docs check-go

SANITIZERS := -fsanitize=undefined -fno-sanitize-recover=undefined

PYTEST_ARGS ?= -q -n auto
BENCH ?=
FUZZ_S ?= 10
ROWS ?= 10000000
ARGS ?=

.PHONY: help setup demo test fuzz sanitize large faults kill9 chaos soak three-hosts check-install coverage mutants-security check $(CHECKS) bench docs fmt lock wheel clean

help:
	@sed -n 's/^#: //p' Makefile

#: make demo      three organisations train one detector, in four processes (ARGS="--json" and so on)
demo: setup
	@.venv/bin/fedanomaly demo $(ARGS)

#: make test      all tests, Python and Go (PYTEST_ARGS="tests/unit -k name" for some)
test: setup
	@.venv/bin/python -m pytest $(PYTEST_ARGS)
	@cd engine && $(GO) vet ./... && $(GO) test ./...

#: make kill9     kill -9 of real processes at every state, and around everything durable or sent
kill9: setup
	@FEDANOMALY_KILL9=1 .venv/bin/python -m pytest -q tests/e2e/test_kill_nine.py tests/e2e/test_kill_nine_scoring.py

#: make chaos     ten minutes of kills, cuts, slow networks and full disks; 20 rounds and all ledgers hold (MINUTES ROUNDS SEED)
chaos: setup
	@.venv/bin/python -m tests.e2e.chaos --minutes $(or $(MINUTES),10) --rounds $(or $(ROUNDS),20) --seed $(or $(SEED),1)

#: make soak      a scoring service and a client at work for MINUTES, with kill -9 and model swaps; neither may grow
soak: setup
	@.venv/bin/python -m tests.e2e.soak --minutes $(or $(MINUTES),10)

#: make faults    federations under faults that seeds draw (SEEDS=2000 FIRST=1 RING=fast; RING=real for the engine)
faults: setup
	@.venv/bin/python -m tests.faults --seeds $(or $(SEEDS),2000) --first $(or $(FIRST),1) --ring $(or $(RING),fast)

#: make fuzz      every Go fuzz target for FUZZ_S seconds, and the Python parsers with as many more examples
fuzz: setup
	@GO='$(GO)' .venv/bin/python scripts/fuzz.py $(FUZZ_S)

#: make sanitize  the C kernels' tests under AddressSanitizer and UndefinedBehaviorSanitizer
sanitize: setup
	@echo 'int main(void) { return 0; }' | $$($(GO) env CC) -fsanitize=address $(SANITIZERS) -x c -o build/sanitized - 2>build/sanitize.log \
		|| { cat build/sanitize.log; echo "sanitize: NOT RUN: this C compiler has no sanitizers"; test -n "$$CI"; exit; }; \
	cd engine && CGO_CFLAGS='-g -O1 $(SANITIZERS)' CGO_LDFLAGS='$(SANITIZERS)' $(GO) test -asan ./kernel

#: make large     a data set of ROWS rows is added in bounded memory
large: setup
	@FEDANOMALY_LARGE_ROWS=$(ROWS) .venv/bin/python -m pytest -q tests/bad_input/test_large.py

#: make three-hosts  coordinator, three nodes and a scoring service on hosts of their own (network namespaces), by the how-to as written
three-hosts: setup
	@.venv/bin/python -m scripts.three_hosts

#: make check-install  the steps of deploy/Containerfile without a container engine; all services as another user
check-install: setup
	@.venv/bin/python scripts/check_install.py

#: make check     formatting, lint, types, import contracts, dead code, dependencies, Go
check: $(CHECKS)
	@echo "check: clean"

#: make bench     all benchmarks (BENCH=secure_sum for one); results in build/bench
bench: setup .venv/bench.stamp
	@GO='$(GO)' .venv/bin/python -m benchmarks $(BENCH)

#: make mutants-security  takes each defence out in turn and sees a test turn red (ARGS=name for one)
mutants-security: setup
	@.venv/bin/python scripts/mutants_security.py $(ARGS)

#: make docs      runs every example of README and docs; rewrites the generated pages
docs: setup
	@.venv/bin/python scripts/write_reference.py
	@.venv/bin/python scripts/run_examples.py README.md CONTRIBUTING.md SECURITY.md docs

#: make fmt       formats Python and Go
fmt: setup
	@.venv/bin/ruff check --quiet --fix-only
	@.venv/bin/ruff format
	@"$$($(GO) env GOROOT)/bin/gofmt" -w engine

#: make coverage  branch coverage of the rooms that must not have gaps
coverage: setup
	@.venv/bin/python -m pytest -q -n auto --cov=fedanomaly.protocol --cov=fedanomaly.fhe --cov=fedanomaly.detectors \
		--cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=95

#: make wheel     the wheel, in dist/
wheel: setup
	@rm -rf dist && .venv/bin/uv build --quiet --wheel --no-build-isolation --python .venv/bin/python --out-dir dist && ls -l dist

#: make lock      the locked requirements, made again from pyproject.toml
lock: .venv/bootstrap.stamp
	@$(LOCK) requirements/bootstrap.in -o requirements/bootstrap.txt
	@$(LOCK) requirements/go.in -o requirements/go.txt
	@$(LOCK) pyproject.toml --extra dev -o requirements/dev.txt
	@$(LOCK) requirements/bench.in --constraint requirements/dev.txt -o requirements/bench.txt

#: make clean     removes what was built; .venv stays
clean:
	@rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* $(ENGINE)
	@find src tests benchmarks scripts -name __pycache__ -prune -exec rm -rf {} +

check-format: setup
	@.venv/bin/ruff format --check --quiet || { .venv/bin/ruff format --check; echo "format: run make fmt"; exit 1; }
	@files=$$("$$($(GO) env GOROOT)/bin/gofmt" -l engine) && test -z "$$files" || { echo "gofmt: $$files"; exit 1; }

check-lint: setup
	@.venv/bin/ruff check --quiet

check-types: setup
	@.venv/bin/basedpyright --level warning

check-imports: setup
	@.venv/bin/lint-imports --no-logo >build/lint-imports.log 2>&1 || { cat build/lint-imports.log; exit 1; }

check-dead-code: setup
	@.venv/bin/vulture

check-dependencies: setup
	@.venv/bin/deptry --no-ansi src >build/deptry.log 2>&1 || { cat build/deptry.log; exit 1; }

check-docs: setup
	@.venv/bin/python scripts/write_reference.py --check

check-go: setup
	@cd engine && $(GO) vet ./... && $(GO) tool -modfile=../requirements/go-tools.mod staticcheck ./...

# --- the environment ---------------------------------------------------------

setup: $(ENGINE) .venv/project.stamp

.venv/bootstrap.stamp: requirements/bootstrap.txt
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or later is needed: put it on PATH or say make PYTHON=/path/to/python3"; exit 1; }
	@echo "setup: .venv from $(PYTHON)"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "make: $(PYTHON) cannot make a virtual environment (on Debian: apt-get install python3-venv)"; exit 1; }
	@.venv/bin/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	@mkdir -p build && touch $@

.venv/requirements.stamp: .venv/bootstrap.stamp requirements/dev.txt $(GO_LOCK)
	@echo "setup: locked requirements"
	@$(UV) --require-hashes -r requirements/dev.txt $(addprefix -r ,$(GO_LOCK))
	@mkdir -p build && touch $@

.venv/bench.stamp: .venv/requirements.stamp requirements/bench.txt
	@$(UV) --require-hashes -r requirements/bench.txt
	@touch $@

# The build hook of pyproject.toml compiles the engine in place, so this builds both.
.venv/project.stamp: .venv/requirements.stamp pyproject.toml $(ENGINE_SOURCES)
	@echo "setup: engine and package"
	@$(UV) --no-deps --no-build-isolation --reinstall-package fedanomaly -e .
	@mkdir -p build && touch $@

$(ENGINE): .venv/project.stamp
	@test -f $@ || { rm -f .venv/project.stamp; $(MAKE) .venv/project.stamp; }
