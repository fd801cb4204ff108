# Every target sets up what it needs in .venv, from python3 and the package registries alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DELETE_ON_ERROR:
.PHONY: help demo test lint check format faults soak e2e lambda bench docs layer wheel clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: $(VENV)/.test  ## the main job, in half a minute, against an S3 server on this machine
	@$(BIN)/python -m examples.demo

test: $(VENV)/.test  ## all tests that need no root and no other machine
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/.check  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright

check: lint  ## format, lint, types, tests
	$(BIN)/python -m pytest -n auto --dist loadfile

format: $(VENV)/.check  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

faults: $(VENV)/.test  ## random faults, kills, damage and odd input: four minutes of it
	@rm -rf tests/faults/out
	$(BIN)/python -m pytest -m 'faults and not e2e' -n auto --dist loadfile

soak: $(VENV)/.lambda  ## the same, ten times as much and more, and work in Lambda's box (root); then what was tried, as a table
	@rm -rf tests/faults/out
	SOAK=1 $(BIN)/python -m pytest -m 'faults and not e2e' -n auto --dist loadfile
	SOAK=1 $(BIN)/python -m pytest -m 'not e2e' $(addprefix tests/lambdabox/test_,memory.py edges.py crash.py)
	$(BIN)/python -m tests.support.gateway
	SOAK=1 $(BIN)/python -m pytest -m e2e -rs tests/faults
	$(BIN)/python -m tests.faults

e2e: $(VENV)/.e2e  ## the flow tests against a real S3 gateway (Ceph; installed from Debian's packages where this is root)
	$(BIN)/python -m tests.support.gateway
	$(BIN)/python -m tests.support.valkey
	$(BIN)/python -m pytest -m e2e -rs

lambda: $(VENV)/.lambda  ## handlers in a Lambda-like box: memory cap, /tmp of 512 MB, crash, freeze (root)
	$(BIN)/python -m tests.lambdabox.install
	$(BIN)/python -m pytest -m lambda -rs

bench: $(VENV)/.bench  ## speed beside the peers'
	$(BIN)/python -m tests.support.valkey
	$(BIN)/python -m tests.bench

docs: $(VENV)/.docs  ## reference docs from the docstrings, in build/docs
	@rm -rf build/docs
	@$(BIN)/python -W error -m tests.docs build/docs

wheel: $(VENV)/.test  ## the wheel, in dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

layer: | $(BIN)/python  ## the Lambda layers, in dist/: one for each Python and architecture, without boto3
	$(BIN)/python -m examples.layer dist

clean:  ## remove what was made here
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/bench/out tests/faults/out

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Dependency groups need pip 25.1.
$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group test
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group test --group check
	@touch $@

$(VENV)/.docs: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

$(VENV)/.e2e: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group docs --group e2e
	@touch $@

$(VENV)/.lambda: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group lambda
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@
