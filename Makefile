# A fresh Debian machine needs only Python 3.10 or newer, git and make. The targets install the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
TESTS := $(VENV)/test.group
PICTURES := $(TESTS) $(VENV)/pictures.group
MERMAID := tests/pictures/mermaid
PEERS := tests/tools/peers
RUNS ?= 15
DEBIAN ?= trixie
HISTORIES ?= 100000

.PHONY: help demo test proofs lint types verify simulate chaos early engine bench versus docs pictures daemons mermaid \
	peers interpreters fresh dist sbom lock reproduce wheel bundle clean
.NOTPARALLEL: # pip cannot run twice at a time in one environment

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 15

demo: $(READY) ## run muinit on two real programs, and explain what it did
	@$(BIN)/python -m tests.tools.demo

# Two cores have work for more: some tests only wait. Byte code that is not kept would be compiled at each start.
test: $(PICTURES) daemons mermaid ## run the tests
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -m 'not engine' --ignore tests/proofs -n 4 --dist loadgroup --cov --cov-report=term-missing:skip-covered $(ARGS)

proofs: $(TESTS) ## run each proof for a short time, and check that it finds mistakes
	$(BIN)/python -m pytest tests/proofs -n 2 --dist loadgroup $(ARGS)

lint: $(VENV)/lint.group ## check style and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos

types: $(VENV)/types.group ## check types
	$(BIN)/mypy

verify: $(TESTS) ## check every state of the lifecycle
	$(BIN)/python -m tests.proofs.verify

simulate: $(TESTS) ## run the real loop on a simulated kernel; HISTORIES=n
	$(BIN)/python -m tests.proofs.simulate --runs $(HISTORIES) --jobs 2

chaos: $(TESTS) ## run random trees of real processes, as PID 1 and not; RUNS=n
	$(BIN)/python -m tests.proofs.chaos --runs $(if $(filter file,$(origin RUNS)),1000,$(RUNS)) --jobs 3

early: $(TESTS) ## send signals while muinit starts; WRITE=--write updates the docs
	$(BIN)/python -m tests.tools.early $(WRITE)

engine: $(TESTS) $(VENV)/manifests.group ## build images (DEBIAN=trixie) and run them in a container engine; needs root on Debian
	@tests/tools/engine $(DEBIAN)
	DEBIAN=$(DEBIAN) $(BIN)/python -m pytest tests/engine -m engine -n 2 --dist loadfile $(ARGS)

bench: .venv-bench/ready peers $(VENV)/plot.group ## measure what muinit costs; RUNS=n, WRITE=--write updates the docs
	$(BIN)/python -m tests.tools.bench --runs $(RUNS) $(WRITE)

versus: .venv-versus/ready $(PICTURES) ## run the same stories under other inits; RUNS=n
	@tests/tools/install tini:tini dumb-init:dumb-init catatonit:catatonit supervisord:supervisor s6-svscan:s6 || [ $$? = 2 ]
	@tests/tools/daemons
	$(BIN)/python -m tests.tools.versus $(if $(filter file,$(origin RUNS)),,--runs $(RUNS))

docs: $(READY) ## rewrite the man page and the generated blocks of README.md and docs/
	$(BIN)/python -m tests.tools.docs

pictures: $(PICTURES) daemons ## draw the pictures of the docs again, from a real run
	$(BIN)/python -m tests.tools.pictures

interpreters: $(READY) ## run the most important tests on every other Python that is found
	PYTHON=$(BIN)/python tests/tools/interpreters

dist: .venv-dist/ready ## build muinit.pyz, the wheel and the sdist
	PYTHON="$(PYTHON)" .venv-dist/bin/python -m tests.release.build

sbom: .venv-dist/ready ## write docs/muinit.cdx.json, the software bill of materials
	.venv-dist/bin/python -m tests.release.build --sbom

reproduce: dist ## build the last commit in another folder, and compare it with dist/
	PYTHON="$(PYTHON)" tests/release/reproduce

wheel: dist ## install the wheel into a fresh environment, and run it
	rm -rf .venv-wheel
	PYTHON="$(PYTHON)" tests/tools/venv .venv-wheel dist/muinit-*.whl
	cd / && "$(CURDIR)/.venv-wheel/bin/muinit" --version && "$(CURDIR)/.venv-wheel/bin/python" -m statechart > /dev/null
	PYTHON="$(PYTHON)" tests/tools/venv .venv-wheel "$$(echo dist/muinit-*.whl)[timeline]"
	cd dist && ../.venv-wheel/bin/python -I -m statechart timeline ../docs/pictures/run.jsonl -o ../.venv-wheel/run.html
	test -s .venv-wheel/run.html
	cd dist && ../.venv-wheel/bin/python -I -m statechart play -o ../.venv-wheel/play.html
	test -s .venv-wheel/play.html

bundle: .venv-bundle/ready $(TESTS) ## build a folder with muinit for images without Python, and test it
	.venv-bundle/bin/python -m tests.release.bundle
	$(BIN)/python -m pytest -q tests/process/test_bundle.py

lock: $(VENV)/lock.group ## choose the newest versions of all that is needed to build
	tests/release/lock

fresh: ## run the README's commands on fresh Debian 12 and 13, as root and as a user; needs root
	tests/tools/fresh

# Root on Debian installs the daemons but does not start them. Otherwise their tests are skipped and say so.
daemons: ## install the daemons that the tests run, and a browser
	@tests/tools/daemons

# Only a test of the diagrams needs it, and npm is 300 MB on Debian. Without npm that test is skipped and says so.
mermaid: $(READY) ## install Mermaid, if npm is there
	@! command -v npm >/dev/null || $(MAKE) -s $(VENV)/mermaid/ready

# Root on Debian installs them; npm is not asked for, as it is 300 MB there. The tables say what is missing.
peers: .venv-bench/ready ## install what make bench measures beside muinit, as far as it can
	@tests/tools/install tini:tini dumb-init:dumb-init catatonit:catatonit s6-svscan:s6 supervisord:supervisor || [ $$? = 2 ]
	@! command -v npm >/dev/null || $(MAKE) -s .venv-bench/peers

clean: ## remove everything that was built
	rm -rf .venv .venv-* build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

# The demo needs muinit and nothing else.
$(READY): pyproject.toml
	@PYTHON="$(PYTHON)" tests/tools/venv $(VENV) -e .
	@touch $@

# Dependency groups need pip 25.1. A pip older than 24 writes console scripts that start more slowly, so the new pip
# installs muinit again.
$(VENV)/pip: $(READY)
	@test -x $(BIN)/pip || PYTHON="$(PYTHON)" tests/tools/venv $(VENV) 'pip>=25.1' --ignore-installed
	@$(BIN)/pip install -q --force-reinstall --no-deps -e .
	@touch $@

# Whatever else a target needs is a dependency group in pyproject.toml.
$(VENV)/%.group: $(VENV)/pip
	@$(BIN)/pip install -q --group $*
	@touch $@

# Only what is pinned by hash, and only wheels: a source would be built with whatever versions are newest.
PINNED := --only-binary :all: --require-hashes

.venv-dist/ready: tests/release/build.txt tests/release/runtime.txt
	@rm -rf .venv-dist
	@PYTHON="$(PYTHON)" tests/tools/venv .venv-dist $(PINNED) -r tests/release/build.txt
	@PYTHON="$(PYTHON)" tests/tools/venv .venv-dist/runtime $(PINNED) -r tests/release/runtime.txt
	@touch $@

.venv-bundle/ready: tests/release/freeze.txt tests/release/runtime.txt
	@rm -rf .venv-bundle
	@PYTHON="$(PYTHON)" tests/tools/venv .venv-bundle $(PINNED) -r tests/release/freeze.txt -r tests/release/runtime.txt
	@touch $@

.venv-versus/ready: Makefile
	@PYTHON="$(PYTHON)" tests/tools/venv .venv-versus circus==0.19.0 honcho==2.0.0
	@touch $@

$(VENV)/mermaid/ready: $(MERMAID)/package.json $(MERMAID)/package-lock.json
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.venv-bench/ready: pyproject.toml muinit/*.py statechart/*.py statechart/*/*.py
	@rm -rf .venv-bench
	@PYTHON="$(PYTHON)" tests/tools/venv .venv-bench 'pip>=25.1' --ignore-installed
	@.venv-bench/bin/pip install -q . --group bench
	@touch $@

.venv-bench/peers: .venv-bench/ready $(PEERS)/package.json $(PEERS)/package-lock.json
	@cp $(filter %.json,$^) $(@D)
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
