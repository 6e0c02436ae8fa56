# make run, make test, make lint, make bench. Everything happens inside .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The environment of the flows: Prefect needs other versions of some libraries.
FLOWS ?= .venv-flows
# The environment with the library of each MLflow flavor.
FLAVOURS ?= .venv-flavours
# Four processes on the two cores of CI: many tests wait for processes of their own.
PYTEST := $(BIN)/python -m pytest -n 4 --dist worksteal
# In CI, what failed beside all others is run once more, alone, and named: a failure that needs their load
# is to be mended too, but says nothing of the change. A real one fails again.
ALONE := --last-failed --last-failed-no-failures none --maxfail 3 -p no:xdist -rA
once_more = $(if $(CI),{ echo "failed beside the others; once more and alone:"; $(1)/python -m pytest $(ALONE) $(2); },false)
# What shows in large what quicker tests show in small: make long. What comes later in ARGS counts instead.
NOT_LONG := -m "not long"
# A Prefect server for each process, so few of them.
PYTEST_FLOWS := $(FLOWS)/bin/python -m pytest -n 2 --dist loadfile flows/tests
# Users need not have it; CI does.
FLOWS_DEV := $(if $(CI),$(FLOWS)/dev,$(wildcard $(FLOWS)/dev))
SKIPPED := echo "skipped: the tests of flows; make flows-dev installs what they need into $(FLOWS)"
# pip names each package; the moving bar is left out where the output is no terminal.
PIP := $(BIN)/pip install --disable-pip-version-check --progress-bar $$(test -t 1 && echo on || echo off)
PIP_FLAVOURS := $(subst $(BIN),$(FLAVOURS)/bin,$(PIP)) -c tests/flavors/constraints.txt
PIP_FLOWS := $(subst $(BIN),$(FLOWS)/bin,$(PIP)) -c flows/constraints.txt
# Images for containers often forbid it, and each process of the tests would compile all of them anew.
unit test long: export PYTHONDONTWRITEBYTECODE :=

.PHONY: help run flows flows-dev flavours flavours-dev environments unit unit-newest test long coverage lint format bench docs screenshots clean

help:
	@echo "make run    start a controller with a demo model on 127.0.0.1:8000 (the first time: installs 1.3 GB)"
	@echo "make flows  install what retraining needs into $(FLOWS): Prefect, Optuna, Keras (1.9 GB); start it if a project is set"
	@echo "make unit   run the quick tests (a minute); make unit-newest: with the newest Python that is here"
	@echo "make test   run the tests (those of CI); make coverage: which lines they run"
	@echo "make long   run the long tests, which make test leaves out (ten minutes)"
	@echo "make flavours  ask a model of each MLflow flavor in every form; writes docs/reference/flavors.md (the first time: installs 11 GB)"
	@echo "make environments  what models pin: several versions of Python and MLflow; writes a table (twenty minutes)"
	@echo "make lint   style, types, layers"
	@echo "make format format the code"
	@echo "make bench  measure, side by side; writes docs/benchmarks.md (fifteen minutes)"
	@echo "make docs   write docs/reference/, the generated parts of docs/ and of the client"
	@echo "make screenshots  take the pictures of the dashboard (ten minutes; needs Debian's chromium)"
	@echo "make clean  remove .venv and caches (not data/)"

# Installed again whenever one of these files changes.
$(VENV)/run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("cannot use Python %d.%d: 3.11 or newer is needed; try make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Installing MLflow, scikit-learn and the rest into $(VENV): about 1.3 GB on disk, 2 to 5 minutes, the last of them without a word. Only the first run does this."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -c constraints.txt -e .
	@touch $@
	@echo "Installed."

$(VENV)/dev: $(VENV)/run agent/pyproject.toml
	@echo "Installing the tools for tests and checks into $(VENV): some minutes more. Only the first run does this."
	@$(PIP) -c constraints.txt -e '.[dev]' -e './agent[onnx]'
	@touch $@

$(FLOWS)/run: pyproject.toml flows/pyproject.toml flows/constraints.txt
	@echo "Installing Prefect, Optuna, Keras and MLflow into $(FLOWS): about 1.9 GB on disk, 3 to 6 minutes."
	@$(PYTHON) -m venv $(FLOWS)
	@$(PIP_FLOWS) -e . -e './flows[series]'
	@touch $@
	@echo "Installed."

$(FLOWS)/dev: $(FLOWS)/run
	@$(PIP_FLOWS) -e . -e './flows[series,postgresql,dev]'
	@touch $@

flows: $(VENV)/run $(FLOWS)/run
	@if [ -n "$$MODEL_DEPLOYMENT_FLOWS_PROJECT" ]; then exec $(BIN)/model-deployment flows serve; fi; \
	echo "Next: model-deployment flows init FOLDER. With MODEL_DEPLOYMENT_FLOWS_PROJECT=FOLDER a controller starts flows when they are needed, and make flows starts their service at once."

flows-dev: $(FLOWS)/dev

run: $(VENV)/run
	@$(BIN)/model-deployment demo

# Fewer made-up examples, and none of the tests that take seconds.
unit: $(VENV)/dev $(FLOWS_DEV)
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not long" tests/unit $(ARGS)
	@$(if $(ARGS),:,$(if $(FLOWS_DEV),$(PYTEST_FLOWS) -m "not slow and not long",$(SKIPPED)))

unit-newest:
	@for minor in 15 14 13 12; do \
		for python in python3.$$minor $(HOME)/.pyenv/versions/3.$$minor.*/bin/python; do \
			if $$python -c 'import ensurepip' 2>/dev/null; then \
				exec $(MAKE) unit PYTHON=$$python VENV=.venv-newest FLOWS_DEV= SKIPPED=:; \
			fi; \
		done; \
	done; \
	echo "skipped: no Python newer than 3.11 is here"

test: $(VENV)/dev $(FLOWS_DEV)
	$(PYTEST) $(NOT_LONG) $(ARGS) || $(call once_more,$(BIN))
	@$(if $(ARGS),:,$(if $(FLOWS_DEV),$(PYTEST_FLOWS) $(NOT_LONG) || $(call once_more,$(FLOWS)/bin,flows/tests),$(SKIPPED)))

# pytest answers 5 where it finds none.
long: $(VENV)/dev $(FLOWS_DEV)
	$(PYTEST) -m long $(ARGS) || [ $$? = 5 ]
	@$(if $(ARGS),:,$(if $(FLOWS_DEV),$(PYTEST_FLOWS) -m long || [ $$? = 5 ],$(SKIPPED)))

$(FLAVOURS)/dev: pyproject.toml tests/flavors/requirements.txt tests/flavors/constraints.txt
	@echo "Installing the libraries of MLflow's flavors into $(FLAVOURS): about 11 GB on disk, 10 to 20 minutes."
	@$(PYTHON) -m venv $(FLAVOURS)
	@$(PIP_FLAVOURS) -r tests/flavors/requirements.txt -e .
	@touch $@

flavours-dev: $(FLAVOURS)/dev

# Not among the tests: the libraries take gigabytes, and the models minutes. ARGS='--env-manager uv -k onnx' as well.
flavours: $(FLAVOURS)/dev
	$(FLAVOURS)/bin/python -m pytest tests/flavors/check_flavors.py $(if $(ARGS),$(ARGS),--write)

# Each Python that is here with several versions of MLflow, in environments of their own.
environments: $(VENV)/dev
	ENVIRONMENTS=all $(BIN)/python -m pytest tests/e2e/test_environments.py $(ARGS)
	$(BIN)/python benchmarks/environments.py --write

# Apart from the tests: Python that is traced takes twice as long.
coverage: $(VENV)/dev
	$(PYTEST) $(NOT_LONG) --cov

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/docs.py --check

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev
	$(BIN)/python benchmarks/gate.py --write --check
	$(BIN)/python benchmarks/proxy.py --write --check
	$(BIN)/python benchmarks/serving.py --write --check
	$(BIN)/python benchmarks/tensors.py --write --check
	$(BIN)/python benchmarks/peers.py --write --check
	$(BIN)/python benchmarks/start.py --write --check
	$(BIN)/python benchmarks/replicas.py --write --check
	$(BIN)/python benchmarks/idle.py --write --check
	$(BIN)/python benchmarks/capture.py --write
	$(BIN)/python benchmarks/slow.py --write --check
	$(BIN)/python benchmarks/held_bodies.py --write --check
	$(BIN)/python benchmarks/registry.py --write --check
	$(BIN)/python benchmarks/verdicts.py --write --check
	$(BIN)/python benchmarks/rollouts.py --write --check
	$(BIN)/python benchmarks/devices.py --write --check
	$(if $(wildcard $(FLOWS)/run),$(BIN)/python benchmarks/training.py --write --check,@$(SKIPPED))

docs: $(VENV)/dev
	$(BIN)/python scripts/docs.py

screenshots: $(VENV)/dev
	$(BIN)/python -W ignore scripts/screenshots.py
	$(BIN)/python -W ignore scripts/flow_pictures.py

clean:
	rm -rf .venv .venv-newest $(FLOWS) $(FLAVOURS) .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
