# Every target sets up what it needs. VENV may point elsewhere: make test VENV=/tmp/fresh
VENV ?= .venv
MINIMUM ?= .venv-minimum
PYTHON ?= python3
# What `make test-all` tries, each version once; what is not installed is left out.
PYTHONS ?= python3.11 python3.12 python3.13 python3.14 $(wildcard $(HOME)/.pyenv/versions/3.1[1-9]*/bin/python)
BIN := $(VENV)/bin
JOBS ?= auto
UPSTREAM ?=
LISTEN ?= 127.0.0.1:8000

.PHONY: help install run test test-minimum test-all mutants autobahn compare localstack format lint dist docs bench clean

help:
	@echo "make install | run [UPSTREAM=URL] [LISTEN=HOST:PORT] | test | test-minimum | test-all | mutants | autobahn | compare | localstack | format | lint | dist | docs | bench | clean"

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

# The same with the oldest version of everything that pyproject.toml allows, all at once.
test-minimum:
	test -x $(MINIMUM)/bin/python || $(PYTHON) -m venv $(MINIMUM)
	$(PYTHON) tests/minimum.py > $(MINIMUM)/constraints.txt
	$(MINIMUM)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' -c $(MINIMUM)/constraints.txt
	$(MINIMUM)/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

# Which wrong changes does no test notice? make mutants ARGS="--sample 50 --seed 1 rolo/wire"
mutants: install
	$(BIN)/python tests/mutants.py $(ARGS)

# The same on each Python of the list, in an environment of its own.
test-all:
	@tried= failed=; for python in $(PYTHONS); do \
		version=$$($$python -c 'import platform; print(platform.python_version())' 2>/dev/null) || continue; \
		case " $$tried " in *" $$version "*) continue;; esac; \
		tried="$$tried $$version"; \
		echo "Python $$version"; \
		$(MAKE) --no-print-directory test PYTHON=$$python VENV=.venvs/$$version || failed="$$failed $$version"; \
	done; \
	echo "tried:$$tried"; test -n "$$tried" && { test -z "$$failed" || { echo "failed:$$failed"; exit 1; }; }

# Needs a Python 2.7 for the suite; says so and succeeds where there is none.
autobahn: install
	$(BIN)/python tests/autobahn.py $(ARGS)

# Which answers differ from those of 0.8.9, and does docs/compatibility.md say so?
compare: install
	$(BIN)/python tests/compare.py $(ARGS)

# LocalStack with this rolo in it, on each server: make localstack ARGS="hypercorn --rolo 0.8.9"
localstack:
	$(PYTHON) tests/localstack.py $(ARGS)

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
	rm -rf $(VENV) $(MINIMUM) .venvs .autobahn .compare .localstack build dist site benchmarks/.env benchmarks/results
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
