# Everything that one does with this repository. `make` alone lists it.

PYTHON      ?= python3
VENV        ?= .venv
CONSTRAINTS ?= constraints.txt
ARGS        ?=

BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip install --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
TO_RUN  := $(VENV)/.installed-to-run
TO_WORK := $(VENV)/.installed-to-work
CLIENTS := $(VENV)/clients/.installed
CLIENTS_PINS := $(wildcard tests/clients/*/requirements.txt tests/clients/node/package*.json)

# Tests and benchmarks start the same programs many times: they are compiled once, whatever the shell asks for.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run install fmt lint test test-fast test-clients bench migrate

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(TO_RUN)  ## Install what is needed and start everything on 127.0.0.1:8000 (ARGS="--port 9000")
	@$(BIN)/augury up $(ARGS)

install: $(TO_WORK)  ## Install what developing needs (CONSTRAINTS= lets you choose your own torch)

fmt: $(TO_WORK)  ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: $(TO_WORK)  ## Check style, types, the direction of imports, Compose files and Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose*.yml
	$(BIN)/hadolint Dockerfile

test: $(TO_WORK) $(CLIENTS)  ## Run the whole test suite; it starts the servers it needs (ARGS="-k leases", ARGS="-n0 --pdb")
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(TO_WORK)  ## Run the tests that take a quarter of a second at most, in less than a minute
	$(BIN)/python -m pytest -n auto -m "not slow" $(ARGS)

test-clients: $(TO_WORK) $(CLIENTS)  ## Run the official clients against a server (part of `make test`)
	$(BIN)/python -m pytest tests/clients $(ARGS)

bench: $(TO_WORK)  ## Measure, and print a table of ratios
	$(BIN)/python -m benchmarks $(ARGS)

migrate: $(TO_RUN)  ## Bring the database at DATABASE_URL to the newest schema
	$(BIN)/alembic upgrade head

# An installation is made again when what it was made from has changed.
$(TO_RUN): pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP) -e '.[inference,embedded]'
	@touch $@

$(TO_WORK): pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP) -e '.[inference,embedded,dev]'
	@# Alone: what ultralytics also asks for is large, needs a display's libraries, and is not used.
	$(PIP) --no-deps torchvision ultralytics
	@# A torchvision that does not fit the torch beside it breaks all of transformers: mend it when Python starts.
	@site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
		cp model_types/torchvision_ops.py "$$site" && \
		echo 'import torchvision_ops; torchvision_ops.install()' > "$$site/torchvision_ops.pth"
	@touch $(TO_RUN) $@

$(CLIENTS): $(CLIENTS_PINS) tests/clients/environments.py | $(TO_WORK)
	$(BIN)/python -m tests.clients.environments
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Augury needs Python 3.11 or newer as $(PYTHON): install it, or name one with make PYTHON=python3.12." >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: apt install python3-venv)." >&2; \
		exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
