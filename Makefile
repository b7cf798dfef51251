.DEFAULT_GOAL := help
PYTHON_BIN := .venv/bin/python
PYTEST_ARGS ?=
WORKERS ?= 2

.PHONY: help setup demo test cover soak lint bench docs golden lock clean

help:  ## List these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

setup:  ## Make .venv with everything, from locked versions
	@scripts/setup.sh

demo: setup  ## Train, log, ask, register, score: the main job on real sentences, into ./demo-warehouse
	@$(PYTHON_BIN) -m mlwarehouse demo --warehouse ./demo-warehouse

test: setup lint  ## Run every test: real Delta tables, Spark, HTTP and Chromium
	@scripts/browser.sh
	@scripts/postgres.sh || true
	@scripts/minio.sh >/dev/null || true
	@$(PYTHON_BIN) -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

cover: PYTEST_ARGS += --cov --cov-report=term:skip-covered
cover: test  ## The same, and say which lines no test has run; takes longer

soak: setup  ## Run the tests of faults for hours: hundreds of kills and power cuts, an hour of training and reading
	@MLWAREHOUSE_SOAK=1 $(PYTHON_BIN) -m pytest tests/faults tests/maintenance tests/s3 tests/contracts tests/registry tests/ingest/test_drain.py -s

lint: setup  ## Check style, types and the direction of imports
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache

bench: setup  ## Run every benchmark beside its peer, and write what they print to benchmarks/results.md
	@scripts/setup.sh lock/bench.txt
	@$(PYTHON_BIN) -m benchmarks

docs: setup  ## Generate the docs' pages from the code and build the HTML
	@$(PYTHON_BIN) -m docs.generate
	@.venv/bin/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

golden: setup  ## Write the rendered SQL of each view anew; look at the difference before committing it
	@$(PYTHON_BIN) -m tests.views.golden

lock: setup  ## Resolve the locked versions anew, after a change of pyproject.toml
	@.uv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --group dev --group bench --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file lock/bench.txt
	@.uv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --group dev --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --constraint lock/bench.txt --output-file lock/dev.txt

clean:  ## Remove what was built, the environment and the demo's warehouse
	rm -rf .venv .uv demo-warehouse docs/_build build dist .mypy_cache .ruff_cache .pytest_cache .coverage
