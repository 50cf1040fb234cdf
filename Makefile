# Every target sets up what it needs. VENV may point elsewhere: make test VENV=/tmp/fresh
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
JOBS ?= auto
UPSTREAM ?=
LISTEN ?= 127.0.0.1:8000

.PHONY: help install run test autobahn format lint dist docs bench clean

help:
	@echo "make install | run [UPSTREAM=URL] [LISTEN=HOST:PORT] | test | autobahn | format | lint | dist | docs | bench | clean"

$(VENV)/.installed: pyproject.toml rolo/_version.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

install: $(VENV)/.installed

run: install
ifeq ($(strip $(UPSTREAM)),)
	$(BIN)/python -m rolo demo --listen $(LISTEN)
else
	$(BIN)/python -m rolo proxy $(UPSTREAM) --listen $(LISTEN)
endif

test: install
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

# Needs a Python 2.7 for the suite; says so and succeeds where there is none.
autobahn: install
	$(BIN)/python tests/autobahn.py $(ARGS)

format: install
	$(BIN)/ruff check --fix-only --quiet rolo tests examples benchmarks
	$(BIN)/ruff format --quiet rolo tests examples benchmarks

lint: install
	$(BIN)/ruff check rolo tests examples benchmarks
	$(BIN)/ruff format --check rolo tests examples benchmarks
	$(BIN)/mypy

dist: install
	$(BIN)/python -m build --no-isolation

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict --quiet

bench: install
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .autobahn build dist site benchmarks/.env benchmarks/results
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
