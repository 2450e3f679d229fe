# Each target sets up .venv by itself; a bare machine needs make and a Python of 3.11 or later.
#
#   make demo    orders are fulfilled and rolled back before your eyes (saga demo)
#   make test    the suite                                      make coverage    every branch of saga/core
#   make check   ruff, mypy --strict, import-linter, deptry
#   make search  the searches 20 to 40 times as long           make mutants  take each protection out, see its test fail
#   make lock    resolve the dependencies anew                  make wheel       build what would be published
#
# uv installs when it is on PATH and reaches an index; else pip does.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One more than there are cores: many tests wait for a lease, a kill or a restart.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
PYTEST := $(BIN)/pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command 'make lock' --quiet

.PHONY: help setup demo test check coverage search mutants format lock wheel clean
.DEFAULT_GOAL := help

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

setup: $(READY)

# The stamp is as old as the last install of this lock; a changed lock or pyproject installs again.
$(READY): requirements/dev.txt pyproject.toml
	@set -eu; \
	python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
	  for candidate in python3 python3.11 python3.12 python3.13 python3.14; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ]; then \
	  echo "saga needs Python 3.11 or later and found none on PATH; install one or say: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	if [ ! -x $(BIN)/python ]; then \
	  echo "creating $(VENV) with $$python ($$($$python -V))"; \
	  $$python -m venv $(VENV) || { rm -rf $(VENV); uv venv --seed --python "$$python" $(VENV); } || { \
	    rm -rf $(VENV); echo "$$python cannot make a venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	fi; \
	install() { \
	  if command -v uv >/dev/null && uv pip install --quiet --python $(BIN)/python "$$@"; then return; fi; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check "$$@"; \
	}; \
	echo "installing requirements/dev.txt"; \
	install --require-hashes -r requirements/dev.txt; \
	install --no-deps --no-build-isolation -e .; \
	touch $(READY)

demo: $(READY)
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

search: $(READY)
	SAGA_HYPOTHESIS=deep $(PYTEST) --timeout=0 tests/integration/services/test_contract.py $(ARGS)
	SAGA_HYPOTHESIS=deep $(PYTEST) --timeout=0 -k "hatever or without_faults or prefix" tests/property tests/unit/surfaces/test_audit_rollbacks.py $(ARGS)

mutants: $(READY)
	$(BIN)/python -m tests.mutants $(ARGS)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(READY)
	PATH="$(BIN):$$PATH" $(LOCK) --extra redis -o requirements/run.txt
	PATH="$(BIN):$$PATH" $(LOCK) --extra redis --group dev -o requirements/dev.txt
	@if grep -nE '(https?|file)://' requirements/*.txt; then echo "an address of an index got into the lock" >&2; exit 1; fi

wheel: $(READY)
	$(BIN)/hatchling build -t wheel

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* dist
