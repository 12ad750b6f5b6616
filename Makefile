# `make demo` and `make test` set up all that they need: a virtual environment beside this file, and, where they
# may (root on Debian or Ubuntu), the system's packages; elsewhere they say which are missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' wire/podmirror_wire/version.py)
SOURCES := wire http agent layer sandbox
TESTED := $(SOURCES) tests e2e benchmarks

.PHONY: install demo test coverage check format lint types imports e2e bench fuzz compiled test-compiled image clean

install: $(VENV)/.ready  ## podmirror into .venv, for real clusters: Linux or macOS

demo: $(VENV)/.ready
	@sh scripts/system-packages demo $(PYTHON)
	@$(BIN)/podmirror demo $(ARGS)

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest $(ARGS)

coverage: $(VENV)/.ready-dev  ## of the tests, those in processes of their own aside
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(VENV)/.ready-dev lint types imports test

lint: $(VENV)/.ready-dev
	$(BIN)/ruff format --check $(TESTED)
	$(BIN)/ruff check $(TESTED)

format: $(VENV)/.ready-dev
	$(BIN)/ruff format $(TESTED)
	$(BIN)/ruff check --fix $(TESTED)

types: $(VENV)/.ready-dev
	$(BIN)/mypy

imports: $(VENV)/.ready-dev
	$(BIN)/lint-imports

e2e: $(VENV)/.ready-dev  ## against the sandbox, or the cluster that KUBECONFIG names
	$(BIN)/python -m pytest e2e $(if $(KUBECONFIG),,--numprocesses 2 --dist loadfile) $(ARGS)

bench: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks $(ARGS)

fuzz: $(VENV)/.ready-dev  ## N examples for each property, from SEED
	$(BIN)/python -m pytest -m hypothesis --hypothesis-seed=$(or $(SEED),0) --timeout=0 $(ARGS)

fuzz: export PODMIRROR_FUZZ_EXAMPLES = $(or $(N),10000)
fuzz: export PODMIRROR_FUZZ_SEED = $(or $(SEED),0)

compiled: build/compiled/.made  ## the agent with its cores compiled, for PYTHONPATH=build/compiled

test-compiled: build/compiled/.made  ## the agent's tests, of that
	PYTHONPATH=build/compiled $(BIN)/python -m pytest tests/agent tests/test_pipeline_namespaces.py $(ARGS)

build/compiled/.made: $(VENV)/.ready-dev scripts/compile-agent $(wildcard agent/podmirror_agent/*.py http/podmirror_http/*.py wire/podmirror_wire/*.py)
	sh scripts/compile-agent build/compiled $(BIN)/python
	@touch $@

image:  ## the agent's image, with docker, podman or buildah
	$(or $(BUILDER),docker) build -t podmirror-agent:$(VERSION) -f agent.Dockerfile .

$(VENV)/.ready: pyproject.toml wire/podmirror_wire/version.py
	@sh scripts/system-packages install $(PYTHON)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "podmirror needs Python 3.11 or newer; name one with PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@sh scripts/system-packages test $(PYTHON)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
