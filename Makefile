# Every target is a line or two; what is longer lives in a file of its own.
PYTHON ?= python3
BIN := .venv/bin
export PORT ?= 3000

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-long services lint format types requirements telemetry security check benchmarks clean

help: ## List what a person may want to do
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

.venv/run: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || (echo "Making .venv …" && $(PYTHON) -m venv .venv)
	@echo "Installing packages …" && $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/dev: .venv/run requirements-dev.txt
	@echo "Installing packages for development …" && $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: .venv/run ## Serve the site on http://localhost:3000 (PORT=…), with SQLite and demo content
	@exec $(BIN)/python manage.py start

test: .venv/dev ## Run every test that this machine can run, and say what was left out
	@$(BIN)/python -m pytest bambisleep observability accounts e2e $(T)

test-all: .venv/dev ## Run every test, on SQLite and on PostgreSQL, with the real servers (make services)
	@.ci/test-all

test-long: .venv/dev ## Run the tests that take longer, too
	@BAMBISLEEP_LONG=1 .ci/test-all

services: ## Install and start the real servers that the tests use, from Debian's packages (asks nothing, needs root)
	@.ci/services

lint: .venv/dev ## Check style, import arrows, and that nothing is left to format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

format: .venv/dev ## Format the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

types: .venv/dev ## Check types (mypy --strict)
	@$(BIN)/mypy

check: .venv/dev ## Check migrations and production settings
	@.ci/check

telemetry: .venv/dev ## Bring TELEMETRY.md's table and the recording rules up to date
	@$(BIN)/python manage.py metrics_reference

security: .venv/dev ## Bring SECURITY.md's table of who may do what up to date
	@$(BIN)/python manage.py security_reference

requirements: .venv/dev ## Compile the exact pins from requirements.in and requirements-dev.in
	@for name in requirements requirements-dev; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command "make requirements" $$( [ $$name = requirements-dev ] && echo "-c requirements.txt" ) $$name.in -o $$name.txt; done

benchmarks: .venv/dev ## Measure side by side; each prints ratios
	@for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean: ## Remove the environment, the database and the caches
	@rm -rf .venv var .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
