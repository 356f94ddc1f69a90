# The commands of this repository. Each sets up what is missing first, and nothing twice.
#
#   make demo    a conversation that survives a killed worker, is rewound, and is billed once
#   make dev     the whole stack on this machine, until Ctrl-C
#   make test    all tests           make test ARGS="tests/domain -k rewind" for some
#   make test-fast  all tests but the slow ones, in under three minutes on two quiet cores: everything that needs
#                no Temporal server, on SQLite only; a sample of workflows and API; one whole stack
#   make test-clients  conversations with clients that take minutes to install: promptfoo, pipecat and others
#   make fuzz    random agents, suites, exports and webhooks for a minute each, in parallel; FUZZ_SECONDS=600 for longer
#   make check   format, lint, types, layers, generated code
#   make fmt     generate the blocking client, format, and repair what can be repaired
#   make web     check, test and build the page (needs Node 20.19 or newer, with npm); demo, dev and test build it too
#   make openapi regenerate web/openapi.json and the page's types from the API (types only where npm is there)
#   make screenshots  retake the pictures of the page in README and docs/page.md (needs Chromium)
#   make bench   latency and throughput, compared with bare Temporal
#   make bench-peers  the same conversation in other frameworks; installs 500 MB into build/peers-venv
#   make lock    regenerate the lock files from pyproject.toml (LOCK_FLAGS=--upgrade to take newer releases)
#   make clean   remove what these commands made, except conversations (.playhead/)
#
# Needs Python 3.11 or newer; PYTHON=/path/to/python chooses one.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo dev test test-fast test-clients fuzz check fmt web page screenshots openapi bench bench-peers lock lock-peers clean

READY := .venv/.ready
SETUP_INPUTS := requirements.lock requirements-dev.lock pyproject.toml clients/python/pyproject.toml
PEERS := build/peers-venv/.ready
PACKAGES := web/node_modules/.package-lock.json
PAGE := api/page/built/index.html
PAGE_INPUTS := $(wildcard web/index.html web/*.ts web/*.json) $(shell find web/src web/public web/scripts -type f)

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)
	@echo "setup: .venv is ready"

demo: $(READY) page
	@.venv/bin/python -m playhead.demo $(ARGS)

dev: $(READY) page
	@.venv/bin/playhead dev $(ARGS)

# Tests wait more than they compute: four processes keep two cores busy. PROCESSES=0 runs them in one, to debug.
PROCESSES ?= 4

# Hundreds of processes of the tests import the same modules, which are compiled once, also where Python is told not to.
test test-fast test-clients fuzz: export PYTHONDONTWRITEBYTECODE :=

test: $(READY) page
	@.venv/bin/python -m pytest -q -n $(PROCESSES) --dist worksteal $(ARGS)

test-fast: $(READY)
	@.venv/bin/python -m pytest -q -n $(PROCESSES) --dist worksteal -m "not slow" $(ARGS)

# Every fuzzer has a process of its own, so that all of them together take little more than one.
FUZZ_SECONDS ?= 60

test-clients: $(READY)
	@.venv/bin/python -m pytest -q tests/clients/heavy_clients.py $(ARGS)

fuzz: $(READY)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) .venv/bin/python -m pytest -q -n 5 --timeout 0 \
	  tests/hostile/test_fuzz.py -k test_broken_input_is_parsed_or_refused $(ARGS)

check: $(READY)
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/python scripts/generate_sync_client.py --check

fmt: $(READY)
	@.venv/bin/python scripts/generate_sync_client.py
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

web:
	@command -v npm >/dev/null || { \
	  echo "web: npm was not found. Install Node 20.19 or newer (nodejs and npm of your system, or nodejs.org)." >&2; exit 1; }
	@$(MAKE) --silent $(PACKAGES)
	@cd web && npm run --silent check && npm test --silent
	@$(MAKE) --silent $(PAGE)

# The page, if npm can build it; nothing else waits for it or fails with it.
page: $(READY)
	@if command -v npm >/dev/null; then \
	  .venv/bin/python -c '$(WITH_LOCK)' $(MAKE) --silent --no-print-directory $(PAGE) \
	    || echo "page: it could not be built (see above); the API goes without it. \`make web\` tries again." >&2; \
	elif [ ! -f $(PAGE) ]; then \
	  echo "page: npm was not found, so the page at / is missing. Install Node 20.19 or newer (nodejs and npm of your" \
	    "system, or nodejs.org)." >&2; \
	fi

$(PACKAGES): web/package.json web/package-lock.json
	@echo "page: installing its locked packages (half a minute the first time)"
	@cd web && npm ci --silent --fetch-retries=1
	@touch $@

$(PAGE): $(PACKAGES) $(PAGE_INPUTS)
	@echo "page: building"
	@cd web && npm run --silent build -- --logLevel warn
	@touch $@

openapi: $(READY)
	@.venv/bin/python scripts/write_openapi.py web/openapi.json
	@if command -v npm >/dev/null; then $(MAKE) --silent $(PACKAGES) && cd web && npm run --silent types; fi

screenshots: $(READY) page
	@.venv/bin/python -m scripts.screenshots $(ARGS)

bench: $(READY)
	@.venv/bin/python -m benchmarks $(ARGS)

bench-peers: $(READY) $(PEERS)
	@.venv/bin/python -m benchmarks.peers $(ARGS)

$(PEERS): benchmarks/peers/requirements.lock | $(READY)
	@echo "bench-peers: installing the peers into build/peers-venv (a minute the first time)"
	@.venv/bin/python -m venv --clear build/peers-venv
	@build/peers-venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

lock: $(READY)
	@.venv/bin/python -m pip install -qq --disable-pip-version-check uv
	@$(COMPILE) --output-file requirements.lock
	@$(COMPILE) --group dev --constraint requirements.lock --output-file requirements-dev.lock
	@if grep -nE '[a-z]+://' requirements.lock requirements-dev.lock; then \
	  echo "lock: the lock files name a host; remove the index settings of this machine and lock again" >&2; exit 1; \
	fi

COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-package playhead-client $(LOCK_FLAGS) pyproject.toml

lock-peers: $(READY)
	@.venv/bin/python -m pip install -qq --disable-pip-version-check uv
	@UV_CUSTOM_COMPILE_COMMAND="make lock-peers" .venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes $(LOCK_FLAGS) benchmarks/peers/requirements.in --output-file benchmarks/peers/requirements.lock
	@if grep -nE '[a-z]+://' benchmarks/peers/requirements.lock; then \
	  echo "lock-peers: the lock file names a host; remove the index settings of this machine and lock again" >&2; exit 1; \
	fi

clean:
	@rm -rf .clients web/node_modules api/page/built .venv .setup.lock build dist clients/python/build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info clients/python/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- setting up -------------------------------------------------------------------------------------------------
#
# Two commands at once must not install into one environment: the outer make takes a file lock and calls itself; the
# inner one, alone, installs, or finds that the other has just done it. The lock goes with its process, so a setup
# that was killed leaves nothing to clear.

FIND_PYTHON = python=; \
	for candidate in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "setup: no Python 3.11 or newer was found, and Playhead cannot run without it." >&2; \
	  echo "setup: install one (for example the python3.13 package of your system), or name it: make PYTHON=/path/to/python" >&2; \
	  exit 1; \
	fi

WITH_LOCK := import fcntl, subprocess, sys; lock = open(".setup.lock", "w"); fcntl.flock(lock, fcntl.LOCK_EX); \
	sys.exit(subprocess.call(sys.argv[1:], close_fds=False))

ifndef PLAYHEAD_SETUP_LOCKED

$(READY): $(SETUP_INPUTS)
	@$(FIND_PYTHON); "$$python" -c '$(WITH_LOCK)' $(MAKE) --silent --no-print-directory PLAYHEAD_SETUP_LOCKED=1 $(READY)

else

$(READY): $(SETUP_INPUTS)
	@$(FIND_PYTHON); started=$$(date +%s); \
	if .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  echo "setup: the lock files changed; bringing .venv up to date"; \
	else \
	  echo "setup: making .venv with $$("$$python" --version)"; \
	  "$$python" -m venv --clear .venv || { \
	    echo "setup: this Python cannot make virtual environments. On Debian and Ubuntu its python3-venv package is" \
	      "missing; install it, or name another Python: make PYTHON=/path/to/python" >&2; rm -rf .venv; exit 1; }; \
	fi; \
	echo "setup: installing $$(grep -c '^[a-zA-Z].*==' requirements-dev.lock) locked packages (about a minute the first time)"; \
	.venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.lock || { \
	  echo "setup: a package could not be installed (see above). Is the package index within reach? Nothing is lost:" \
	    "the same command goes on from here." >&2; exit 1; }; \
	.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation \
	  --editable clients/python --editable . || { \
	  echo "setup: playhead itself could not be installed from this folder (see above)." >&2; exit 1; }; \
	touch $(READY); \
	echo "setup: ready after $$(($$(date +%s) - started)) s"

endif
