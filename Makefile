# `make` alone lists the targets. Works with GNU make 3.81 or later; nothing is installed outside .venv.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DEFAULT_GOAL := help

PYTHON ?= python3
CONFIG ?= configs/local.yaml
PYTEST_ARGS ?= -n auto --dist worksteal

VENV_PYTHON := .venv/bin/python
NATIVE := hatch_build.py $(wildcard native/*.c native/*.h)
PIP_INSTALL := $(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: compact
compact: .venv/.runtime ## load all pending objects into the tables (CONFIG=configs/local.yaml, on sample data)
	@if [ '$(CONFIG)' = configs/local.yaml ] && [ ! -e data/source/exports ]; then \
		echo 'writing a sample export to data/source'; \
		$(VENV_PYTHON) scripts/make_sample.py data/source > /dev/null; \
	fi
	@code=0; \
	$(VENV_PYTHON) -m compactor -c '$(CONFIG)' compact || code=$$?; \
	if [ $$code -eq 3 ]; then \
		echo 'Some lines were quarantined, all others are loaded. For schedulers, the command itself ends with exit code 3.'; \
		code=0; \
	fi; \
	exit $$code

.PHONY: test
test: .venv/.dev ## run the tests (PYTEST_ARGS='-k merge' for some)
	$(VENV_PYTHON) -m pytest $(PYTEST_ARGS)

.PHONY: soak
soak: .venv/.dev ## run the long proofs: histories, a kill at each write, faults, shortages (PYTEST_ARGS as for test)
	$(VENV_PYTHON) -m pytest -m 'soak and not engines' --log-cli-level=INFO $(PYTEST_ARGS)

.PHONY: engines
engines: .venv/.dev ## fetch Trino, Spark and other engines for the next target (2.5 GB, once, outside the checkout)
	$(VENV_PYTHON) scripts/fetch_engines.py

# Not in parallel: the engines are large, and each is started once.
.PHONY: test-engines
test-engines: engines ## read the tables with all engines and print what each can do (PYTEST_ARGS='-k spark' for some)
	$(VENV_PYTHON) -m pytest -m 'engines and not soak' $(filter-out -n auto --dist worksteal,$(PYTEST_ARGS))

.PHONY: soak-engines
soak-engines: engines ## load three large nights by the local engine, by Spark, and by both in turn (about 40 minutes)
	$(VENV_PYTHON) -m pytest -m 'engines and soak' --log-cli-level=INFO $(filter-out -n auto --dist worksteal,$(PYTEST_ARGS))

.PHONY: bench-spark
bench-spark: engines ## compare the local engine with Spark on this machine (ARGS='--quick' for a tenth)
	$(VENV_PYTHON) scripts/bench_spark.py $(ARGS)

.PHONY: fuzz
fuzz: .venv/.dev ## test odd input for half an hour (ARGS='--minutes 5 --seed 2 --only lines --jobs 2')
	$(VENV_PYTHON) -m tests.fuzz $(ARGS)

.PHONY: lint
lint: .venv/.dev ## check style, spelling, types, import contracts and the CloudFormation template
	$(VENV_PYTHON) -m ruff check
	$(VENV_PYTHON) -m ruff format --check
	$(VENV_PYTHON) -m codespell_lib
	$(VENV_PYTHON) -m mypy
	.venv/bin/lint-imports
	.venv/bin/cfn-lint deploy/cloudformation.yaml

.PHONY: check
check: lint test ## lint and test

.PHONY: bench
bench: .venv/.dev ## measure speed and memory on generated data, in a quarter of an hour (ARGS='--only loads', '--full')
	$(VENV_PYTHON) scripts/bench.py $(ARGS)

# Other tools have an environment of their own, so that ours stays free of them.
.PHONY: bench-peers
bench-peers: .venv/.dev build/peers/.made ## compare with other tools, on the same two nights (ARGS='--quick')
	$(VENV_PYTHON) scripts/bench_peers.py $(ARGS)

.PHONY: profile
profile: .venv/.dev build/peers/.made ## record what the time of a run goes into (ARGS='--docs' writes it into the docs)
	$(VENV_PYTHON) scripts/bench_profile.py $(ARGS)

build/peers/.made: scripts/peers/requirements.txt
	$(PYTHON) -m venv --clear build/peers
	build/peers/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# The next two need the network, and tools that the project itself does not: these have an environment of their own.
.PHONY: pins
pins: build/tools/.made ## write deploy/requirements*.txt, the versions of constraints.txt with hashes (needs the network)
	printf '%s\n' hatchling ziglang | $(PINS) -o deploy/requirements-build.txt -
	$(PINS) -o deploy/requirements.txt pyproject.toml

.PHONY: audit
audit: build/tools/.made ## look up known vulnerabilities of the packages of the image (needs the network)
	build/tools/bin/pip-audit --strict --disable-pip --require-hashes -r deploy/requirements.txt

build/tools/.made:
	$(PYTHON) -m venv --clear build/tools
	build/tools/bin/pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3' 'uv>=0.9,<1'
	@touch $@

PINS = build/tools/bin/uv pip compile --quiet --generate-hashes --no-annotate --no-emit-index-url --only-binary :all: \
	--python-version 3.12 --python-platform linux --constraint constraints.txt --custom-compile-command 'make pins'

.PHONY: clean
clean: ## remove .venv and caches; data/ stays
	rm -rf compactor/_native.so .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find compactor scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps, so that the first run does not wait for the development tools. The packages are installed again when a
# stamp is missing, or older than the files it depends on.
.venv/.runtime: pyproject.toml constraints.txt $(NATIVE)
	$(call venv)
	$(call install,.)
	@touch $@

.venv/.dev: pyproject.toml constraints.txt $(NATIVE)
	$(call venv)
	$(call install,.[dev])
	@touch .venv/.runtime $@

# An environment without a working pip was interrupted, or its Python was removed. It is made again.
define venv
	@if ! $(VENV_PYTHON) -m pip --version > /dev/null 2>&1; then \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
			|| { echo 'error: Python 3.11 or later is required; choose one: make PYTHON=/path/to/python3' >&2; exit 1; }; \
		$(PYTHON) -c 'import ensurepip, venv' \
			|| { echo 'error: this Python lacks venv; on Debian or Ubuntu: apt install python3-venv' >&2; exit 1; }; \
		$(PYTHON) -m venv --clear .venv; \
	fi
endef

# Where there is neither a compiler nor a download of one, the package is installed without its native scanner.
define install
	@echo 'installing the packages into .venv'
	@$(PIP_INSTALL) -e '$(1)' || { \
		echo 'trying again without the native scanner' >&2; \
		COMPACTOR_NATIVE=0 $(PIP_INSTALL) -e '$(1)'; \
	}
endef
