# Each target sets up what it needs: a virtual environment in .venv with the pinned packages and this one.
.PHONY: help setup demo notebooks test slow lint coverage docs bench report clean
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
# A process a core, each with one thread, and the tests of a file in one process, as they share what they make.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile
STAMP := .venv/.installed

help:  ## list these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(STAMP): req.txt setup.py pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "seqclass needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' req.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r req.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

setup: $(STAMP)  ## make .venv and install everything

demo: $(STAMP)  ## simulate, train, evaluate and explain; a few minutes on two cores
	$(BIN)/python experiments/demo.py

notebooks: $(STAMP)  ## run the notebooks, and keep their outputs
	OMP_NUM_THREADS=1 $(BIN)/python notebooks/execute.py

test: $(STAMP)  ## the test suite
	$(PYTEST) -m "not slow and not gpu"

slow: $(STAMP)  ## the tests that take long
	$(PYTEST) -m "slow and not gpu"

lint: $(STAMP)  ## style, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(STAMP)  ## the share of lines of seqclass/ that all tests reach: at least 90 %
	$(PYTEST) -m "not gpu" --cov=seqclass --cov-report=term:skip-covered --cov-fail-under=90

docs: $(STAMP)  ## the documentation, in docs/_build/html; a warning is an error
	$(BIN)/python docs/model_zoo.py
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

bench: $(STAMP)  ## the benchmarks, as ratios to references
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/models.py
	$(BIN)/python benchmarks/monitoring.py
	$(BIN)/python benchmarks/mutagenesis.py
	$(BIN)/python benchmarks/service.py
	$(BIN)/python benchmarks/variants.py

report: $(STAMP)  ## the tables of experiments/README.md and project_report.pdf, from experiments/results/
	$(BIN)/python report/tables.py
	$(BIN)/python report/paper.py

clean:  ## remove the environment, and what tools left; runs/ stays
	rm -rf .venv docs/_build docs/_api .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build *.egg-info
