# make run, make test, make lint, make bench. Everything happens inside .venv.
PYTHON ?= python3
BIN := .venv/bin
# Three processes on the two cores of CI: many tests wait for processes of their own.
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal

.PHONY: help run test lint format bench docs screenshots clean

help:
	@echo "make run    start a controller with a demo model on 127.0.0.1:8000"
	@echo "make test   run the tests (those of CI)"
	@echo "make lint   style, types, layers"
	@echo "make format format the code"
	@echo "make bench  measure, side by side; writes docs/benchmarks.md (fifteen minutes)"
	@echo "make docs   write the generated parts of README.md and docs/design.md"
	@echo "make screenshots  take the pictures of the dashboard (five minutes; needs Debian's chromium)"
	@echo "make clean  remove .venv and caches (not data/)"

# Made anew whenever what it is made from changes.
.venv/run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("cannot use Python %d.%d: 3.11 or newer is needed; try make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/dev: .venv/run
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: .venv/run
	$(BIN)/model-deployment demo

test: .venv/dev
	$(PYTEST) $(ARGS)

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/docs.py --check

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/dev
	$(BIN)/python benchmarks/gate.py --write --check
	$(BIN)/python benchmarks/proxy.py --write --check
	$(BIN)/python benchmarks/serving.py --write --check
	$(BIN)/python benchmarks/start.py --write --check
	$(BIN)/python benchmarks/capture.py --write
	$(BIN)/python benchmarks/slow.py --write --check
	$(BIN)/python benchmarks/registry.py --write --check
	$(BIN)/python benchmarks/verdicts.py --write --check

docs: .venv/dev
	$(BIN)/python scripts/docs.py

screenshots: .venv/dev
	$(BIN)/python -W ignore scripts/screenshots.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
