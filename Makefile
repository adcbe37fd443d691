# The targets, and what they need, for a fresh Debian machine: Python 3.10 or newer, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
RUNS ?= 15
HISTORIES ?= 100000
export DEBIAN_FRONTEND := noninteractive

.PHONY: help demo test lint types verify simulate chaos early bench docs pictures daemons interpreters wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 15

demo: $(READY) ## run muinit on two real programs, and explain what was seen
	@$(BIN)/python -m tests.demo

test: $(READY) daemons ## run the tests
	$(BIN)/coverage run -m pytest -m 'not proof' $(ARGS)
	$(BIN)/coverage report
	$(BIN)/python -m pytest -m proof -n 2 $(ARGS)

lint: $(READY) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types
	$(BIN)/mypy

verify: $(READY) ## check every state of the lifecycle
	$(BIN)/python -m tests.verify

simulate: $(READY) ## the real loop on a simulated kernel; HISTORIES=n
	$(BIN)/python -m tests.simulate --runs $(HISTORIES) --jobs 2

chaos: $(READY) ## random trees of real processes, as PID 1 and not; RUNS=n
	$(BIN)/python -m tests.chaos --runs $(if $(filter file,$(origin RUNS)),1000,$(RUNS)) --jobs 3

early: $(READY) ## what becomes of signals that come while muinit starts; WRITE=--write for the README
	$(BIN)/python -m tests.early $(WRITE)

bench: .venv-bench/ready $(READY) ## measure what muinit costs; RUNS=n, WRITE=--write for the README
	$(BIN)/python -m tests.bench --runs $(RUNS) $(WRITE)

docs: $(READY) ## rewrite the README's generated blocks
	$(BIN)/python -m tests.readme

pictures: $(READY) daemons ## make the README's pictures anew, of a real run
	$(BIN)/python -m tests.pictures

interpreters: $(READY) ## a short end-to-end run on every other supported Python that is found
	PYTHON=$(BIN)/python tests/interpreters

wheel: $(READY) ## build the wheel and install it into a fresh environment
	rm -rf dist .venv-wheel
	$(BIN)/pip wheel -q --no-deps -w dist .
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/pip install -q dist/muinit-*.whl
	cd / && $(CURDIR)/.venv-wheel/bin/muinit --version && $(CURDIR)/.venv-wheel/bin/python -m statechart > /dev/null
	.venv-wheel/bin/pip install -q "$$(echo dist/muinit-*.whl)[timeline]"
	cd dist && ../.venv-wheel/bin/python -I -m statechart timeline ../tests/pictures/run.jsonl -o run.html && test -s run.html

# As root on Debian the daemons are installed (and not started); elsewhere their tests are skipped and say so.
daemons: ## install the daemons that the tests run, and a browser
	@tests/daemons

clean: ## remove everything that was built
	rm -rf .venv .venv-* dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

# A fresh Debian has no ensurepip; pip before 25.1 knows no dependency groups.
$(READY): pyproject.toml
	@$(PYTHON) -m venv $(VENV) || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -yqq python3-venv \
	  && $(PYTHON) -m venv --clear $(VENV); } || { echo "needed: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install -q --upgrade 'pip>=25.1'
	@$(BIN)/pip install -q -e . --group dev
	@touch $@

.venv-bench/ready: pyproject.toml muinit/*.py statechart/*.py
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/pip install -q --upgrade 'pip>=25.1'
	@.venv-bench/bin/pip install -q .
	@touch $@
