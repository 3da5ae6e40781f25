# Every target does its own set-up in $(VENV); a stamp file keeps it from being done twice.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
RUN    := PYTHONSAFEPATH=1 $(BIN)/python -m

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all kernels lint format check bench bench-gfx942 bench-sm90 clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(f"lower needs Python 3.11 or newer, and $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/created pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/installed $@

setup: $(VENV)/installed-dev  ## a virtual environment with everything, and the links the type checker follows
	@mkdir -p .typecheck/lowering
	@find .typecheck/lowering -type l -delete
	@for file in lowering/*.py; do ln -s ../../$$file .typecheck/lowering/; done
	@for part in passes agent targets; do ln -s ../../$$part .typecheck/lowering/$$part; done

demo: $(VENV)/installed  ## install, and lower the built-in problem to a gfx942 binary
	$(BIN)/lower --target gfx942

test: setup  ## the tests of every day: unit, errors, passes (lit), property; about seven minutes on two cores
	$(RUN) pytest $(ARGS)

test-all: setup  ## every test, the slow and the GPU ones too
	$(RUN) pytest -m '' $(ARGS)

kernels:  ## build tests/kernels again with Triton and IREE, and hold the decoder against tinygrad's (in .kernels/)
	$(PYTHON) -m venv .kernels
	.kernels/bin/pip install --quiet --disable-pip-version-check --editable '.[dev,kernels]'
	PYTHONSAFEPATH=1 .kernels/bin/python scripts/build_test_kernels.py
	PYTHONSAFEPATH=1 .kernels/bin/python -m pytest tests/unit/test_gfx942_tinygrad.py tests/unit/test_gfx942_kernels.py

lint: setup  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: setup  ## put the formatting right, and what lint can mend by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: lint test  ## what a change must pass

bench: setup  ## the figures: speed of builds and of what was built, each beside its peer or its limit
	@set -e; for bench in $(filter-out scripts/bench_gfx942.py scripts/bench_sm90.py,$(wildcard scripts/bench_*.py)); do echo "== $$bench"; PYTHONSAFEPATH=1 $(BIN)/python $$bench; done

bench-gfx942: setup  ## the default schedules for gfx942: built, counted, verified in the emulator; goes on where it was
	OPENBLAS_NUM_THREADS=1 PYTHONSAFEPATH=1 $(BIN)/python scripts/bench_gfx942.py
	PYTHONSAFEPATH=1 $(BIN)/python scripts/rivals_gfx942.py show

bench-sm90: setup  ## the default schedules for sm_90 beside cuBLASLt and Triton, on this machine's GPU (needs torch)
	OPENBLAS_NUM_THREADS=2 PYTHONSAFEPATH=1 $(BIN)/python scripts/bench_sm90.py

clean:  ## remove the environment and the caches; runs/ stays
	rm -rf $(VENV) .typecheck .pytest_cache .ruff_cache .hypothesis *.egg-info build dist
