# Two commands are all a newcomer needs: `make run` and `make test`. `make` alone lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-slow check format bench golden charts images lock clean

help:  ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; $(PYTHON) is older. Run: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "Setting up $(VENV) from requirements.lock (a few minutes, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-dev.lock
	@touch $@

run: $(VENV)/.runtime  ## The whole loop on this machine; ARGS="--data FILE --spec SPEC" for your own sessions
	@$(BIN)/trimtab run $(ARGS)

test: $(VENV)/.dev  ## Tests but the slow ones
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

test-slow: $(VENV)/.dev  ## All tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

check: $(VENV)/.dev  ## Lint, formatting, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## Every benchmark, side by side with what a user would pick instead
	$(BIN)/python -m benchmarks $(ARGS)

golden: $(VENV)/.dev  ## Regenerate golden files; read the diff before you commit it
	TRIMTAB_UPDATE_GOLDEN=1 $(BIN)/python -m pytest tests/golden

images:  ## Container images; IMAGES="serving controller", and what images/build.sh reads
	@images/build.sh $(IMAGES)

charts: $(VENV)/.dev  ## Render, validate and test the Helm charts
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/charts tests/golden/test_charts.py $(ARGS)

lock:  ## Resolve the dependencies anew and write the lock files
	rm -rf .lock && $(PYTHON) -m venv .lock
	.lock/bin/pip install --quiet torch==2.13.0 setuptools wheel
	.lock/bin/pip install --quiet '.[all]'
	.lock/bin/pip freeze --all --exclude trimtab --exclude pip | sed 's/+cpu//' > requirements.lock
	.lock/bin/pip install --quiet '.[all,dev]'
	.lock/bin/pip freeze --all --exclude trimtab --exclude pip | sed 's/+cpu//' > requirements-dev.lock
	rm -rf .lock

clean:  ## Remove state and reports, keep the environment
	rm -rf .trimtab reports
