# Each target sets up .venv by itself; a bare machine needs make and a Python of 3.11 or later.
#
#   make demo    orders are fulfilled and rolled back before your eyes (saga demo)
#   make test    the suite                                      make coverage    every branch of saga/core
#   make check   ruff, mypy --strict, import-linter, deptry
#   make search  the searches 20 to 40 times as long           make mutants  take each protection out, see its test fail
#   make matrix  the suite's core on the oldest dependencies    make wheel       build what would be published
#   make lock    resolve the dependencies anew
#
# What is locked is installed as it stands (requirements/install): by uv, else by pip.

VENV := .venv
BIN := $(VENV)/bin
# What saga needs to run, and besides what tests and checks need.
RUNS := $(VENV)/.runs
READY := $(VENV)/.ready
# The oldest releases that pyproject.toml allows, and what of the suite meets them most.
LOWEST := .venv-lowest
MATRIX := tests/conformance tests/migrations tests/unit/surfaces/test_cli_help.py tests/unit/surfaces/test_cli_restoring.py \
          tests/integration/api/test_accepting.py tests/integration/celery \
          tests/unit/runtime/test_demands.py tests/unit/runtime/test_receiving.py \
          tests/integration/network/test_silent_database.py
# Two more than there are cores: many tests wait for a lease, a kill or a restart.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 2)))
IN_PARALLEL := -n $(WORKERS) --maxprocesses 4 --dist worksteal
PYTEST := $(BIN)/pytest $(IN_PARALLEL)
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command 'make lock' --quiet

# The suite starts a thousand processes: each would compile every module that it imports, three seconds of processor time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test check coverage matrix search mutants format lock wheel clean
.DEFAULT_GOAL := help

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

setup: $(READY)

# A stamp is as old as the last installation of its locks; a lock or pyproject that changed is installed again.
$(RUNS): requirements/install requirements/build.txt requirements/run.txt pyproject.toml
	@PYTHON="$(PYTHON)" requirements/install $(VENV) requirements/build.txt requirements/run.txt .
	@touch $@

$(READY): $(RUNS) requirements/dev.txt
	@requirements/install $(VENV) requirements/dev.txt
	@touch $@

$(LOWEST)/.ready: $(RUNS) requirements/lowest.txt
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	@PATH="$(abspath $(BIN)):$$PATH" requirements/install $(LOWEST) requirements/lowest.txt .
	@touch $@

demo: $(RUNS)
	$(BIN)/saga demo

test: $(READY)
	$(PYTEST) $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

coverage: $(READY)
	$(BIN)/coverage erase
	$(PYTEST) --cov --cov-report= $(wildcard tests/unit tests/property) $(ARGS)
	$(BIN)/coverage report --include='saga/core/*' --fail-under=100

# Old releases warn of what newer ones of their own dependencies have deprecated, which is nobody's fault here.
matrix: $(LOWEST)/.ready
	$(LOWEST)/bin/pytest $(IN_PARALLEL) -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning $(or $(ARGS),$(MATRIX))

search: $(READY)
	SAGA_HYPOTHESIS=deep $(PYTEST) --timeout=0 tests/integration/services/test_contract.py $(ARGS)
	SAGA_HYPOTHESIS=deep $(PYTEST) --timeout=0 -k "hatever or without_faults or prefix" tests/property tests/unit/surfaces/test_audit_rollbacks.py $(ARGS)

mutants: $(READY)
	$(BIN)/python -m tests.mutants $(ARGS)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One resolution, dev.txt: run.txt and build.txt are parts of it. What is locked stays while it fits; ARGS=--upgrade moves it.
lock: $(RUNS)
	$(LOCK) $(ARGS) pyproject.toml --extra redis --group dev -o requirements/dev.txt
	$(LOCK) $(ARGS) pyproject.toml --extra redis -c requirements/dev.txt -o requirements/run.txt
	$(LOCK) $(ARGS) --group build -c requirements/dev.txt -o requirements/build.txt
	$(LOCK) --upgrade --resolution lowest-direct pyproject.toml --extra redis --group build --group test -o requirements/lowest.txt
	@if grep -nE '(https?|file)://' requirements/*.txt; then echo "an address of an index got into the lock" >&2; exit 1; fi

wheel: $(RUNS)
	$(BIN)/hatchling build -t wheel

clean:
	rm -rf $(VENV) $(LOWEST) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* dist
