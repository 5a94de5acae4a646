# Two commands do all set-up themselves: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test check docs docs-check clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## audit the sandbox and print the success-rate table
	$(BIN)/auditor run sandbox

test: check  ## every check and every test
	$(BIN)/pytest --numprocesses 2 --durations 10

check: $(STAMP)  ## style, types, law of imports, sizes, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest tests/house
	$(BIN)/python docs/generate.py --check

docs: $(STAMP)  ## regenerate the pages that are made from code
	$(BIN)/python docs/generate.py

docs-check: $(STAMP)  ## run the commands that the first pages show
	$(BIN)/python docs/check.py

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
