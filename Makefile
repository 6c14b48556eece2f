# make demo and make test need nothing but Python 3.10-3.13 and a network; see README.md.
#   PYTHON=python3.12  interpreter to build the environment with
#   VENV=/tmp/x        folder of the environment
#   ARGS="..."         passed on: make demo ARGS="--help", make test ARGS="-k surface"
VENV ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10; do \
	$$p -c "" 2>/dev/null && { echo $$p; exit; }; done; echo python3)
ARGS ?=
BIN = $(VENV)/bin
SOURCES = densepose tests tools setup.py $(wildcard datasets/*.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format install-dev clean python

help:  ## this list
	@echo "make TARGET [PYTHON=python3.12] [VENV=folder] [ARGS=...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

# A version that cannot run setup_env.py at all must still be answered with a sentence.
python:
	@$(PYTHON) -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))" 2>/dev/null || { \
		echo "PYTHON=$(PYTHON) is not Python 3.10, 3.11, 3.12 or 3.13 (`$(PYTHON) --version 2>&1 | head -n 1`);" \
		"name one that is: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; exit 2; }

setup: python  ## make the environment (done by itself before demo and test)
	@$(PYTHON) tools/setup_env.py --venv "$(VENV)"

install-dev: python  ## setup, plus what baking the body again needs
	@$(PYTHON) tools/setup_env.py --venv "$(VENV)" --bake

demo: setup  ## people in pictures with their maps, then a training with before and after
	@DENSEPOSE=$(BIN)/densepose $(ARGS) tools/demo.sh

# Models of the tests are tiny: several threads would wait for one another, processes do not.
test: setup lint  ## style, import directions and all tests; warnings are errors
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} \
		$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: setup  ## ruff check and ruff format --check
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

format: setup  ## let ruff rewrite the code
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

clean:  ## remove caches and build folders; keeps the environment, data and output
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find densepose tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
