# make demo   a thousand orders through coordinator, outbox and three participants; needs Python and make, no servers
# make test   the tests, against a real PostgreSQL and a real RabbitMQ
# make test-lowest   the tests of the SDK on the lowest versions of its dependencies that pyproject.toml allows
# make examples   every integration and pattern, against a real PostgreSQL and a real RabbitMQ; each checks itself
# make check  lint, format, types, import rules, the site's links
# make docs   the documentation as a site, in build/site
# make bench  amends beside a bare loop, DBOS and Celery, with real servers; under 15 minutes on two cores
# make bench-quick   the same in short, under 3 minutes
# make simulate   20,000 towns in which everything goes wrong; under 15 minutes on two cores
# make clean  back to the fresh clone
#
# PYTHON=python3.12 chooses the Python; ARGS="..." goes to the demo, to pytest, to the examples, to the benchmark or to
# the simulator.

.POSIX:
.PHONY: help demo test test-lowest examples docs types check bench bench-quick simulate clean

BIN = .venv/bin

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p; s/^#$$//p' Makefile

demo: .venv/embedded
	@$(BIN)/amends demo $(ARGS)

# Two processes for each core (tests/spreading.py); each brings servers of its own: more than a few are slower.
test: .venv/dev
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

# Celery wants a newer kombu than the SDK does, so it has an environment of its own.
test-lowest: .venv-lowest/done .venv-lowest-celery/done
	@.venv-lowest/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(LOWEST) $(ARGS)
	@.venv-lowest-celery/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal tests/celery $(ARGS)

LOWEST = tests/db tests/outbox tests/participants tests/django
LOWEST_EXTRAS = embedded django asyncio http mysql opentelemetry

# ARGS="shop events" runs only these.
examples: .venv/dev
	@$(BIN)/python -m examples $(ARGS)

# The namespace as the type checker and the reference pages see it.
types:
	@mkdir -p build/typing/amends
	@for package in coordinator participants outbox db demo dev testing; do \
	    ln -sfn ../../../$$package build/typing/amends/$$package; done

docs: .venv/dev types
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: .venv/dev types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=build/typing $(BIN)/mypy -p amends.coordinator -p amends.participants -p amends.outbox -p amends.db -p amends.demo -p amends.dev -p amends.testing
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The others it is measured beside are installed with it.
bench: .venv/bench
	@$(BIN)/python -m bench $(ARGS)

bench-quick: .venv/bench
	@$(BIN)/python -m bench --quick $(ARGS)

# Other seeds than the 2,000 of `make test`. A failing run prints its seed and the invariant that it breaks.
simulate: .venv/dev
	@$(BIN)/amends simulate --seed 100000 --runs 20000 $(ARGS)

clean:
	rm -rf .venv .venv-lowest .venv-lowest-celery build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: installed again only when the project file changed. `bench` holds all that `dev` does, and `dev` all that
# `embedded` does.
.venv/embedded: pyproject.toml tools/install
	@tools/install .venv embedded

.venv/dev: pyproject.toml tools/install
	@tools/install .venv dev

.venv/bench: pyproject.toml tools/install
	@tools/install .venv bench

.venv-lowest/done: .venv/dev tools/lowest tools/install-lowest
	@tools/install-lowest .venv-lowest $(LOWEST_EXTRAS)

.venv-lowest-celery/done: .venv/dev tools/lowest tools/install-lowest
	@tools/install-lowest .venv-lowest-celery $(LOWEST_EXTRAS) celery
