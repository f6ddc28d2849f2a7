# Every target is a line or two; what is longer lives in a file of its own.
PYTHON ?= python3
BIN := .venv/bin
export PORT ?= 3000
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-long services monitoring monitoring-native validate loadtest dashboards lint format types requirements telemetry permissions check benchmarks clean

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

run: .venv/run ## Serve the site on http://localhost:3000 (PORT=…), with SQLite and demo content (STRIPE=standin: and a stand-in for Stripe)
	@exec $(BIN)/python manage.py start $(if $(STRIPE),--stripe=$(STRIPE))

test: .venv/dev ## Run every test that this machine can run, and say what was left out
	@$(BIN)/python -m pytest bambisleep observability accounts payments e2e $(T)

test-all: .venv/dev ## Run every test, on SQLite and on PostgreSQL, with the real servers (make services)
	@.ci/test-all

test-long: .venv/dev ## Run the tests that take longer, too
	@BAMBISLEEP_LONG=1 .ci/test-all

services: ## Install and start the real servers that the tests use, from Debian's packages (asks nothing, needs root)
	@.ci/services

monitoring: ## Start Prometheus, Grafana, Alertmanager and node exporter in containers
	@$(COMPOSE) -f docker-compose.monitoring.yml up -d && $(COMPOSE) -f docker-compose.monitoring.yml ps

monitoring-native: ## The same with Debian's binaries, but for Grafana; no root, no containers; Ctrl-C ends it
	@exec $(PYTHON) deploy/monitoring/native.py

validate: ## Check the running site and its monitoring, from scrape to alert (about five minutes)
	@exec $(PYTHON) deploy/monitoring/validate.py

loadtest: .venv/dev ## Load the running site with k6 for thirty seconds
	@exec $(BIN)/k6 run --vus 10 --duration 30s loadtest.js

dashboards: .venv/dev ## Write Grafana's dashboards anew from their source
	@$(BIN)/python deploy/grafana/build.py

lint: .venv/dev ## Check style, import arrows, and that nothing is left to format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

format: .venv/dev ## Format the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

types: .venv/dev ## Check types (mypy --strict)
	@$(BIN)/mypy && $(BIN)/mypy deploy/monitoring/native.py deploy/monitoring/validate.py deploy/grafana/build.py deploy/grafana/schema/check.py

check: .venv/dev ## Check migrations, production settings, rules, and that generated files are up to date
	@.ci/check

telemetry: .venv/dev ## Bring TELEMETRY.md's table and the recording rules up to date
	@$(BIN)/python manage.py metrics_reference

permissions: .venv/dev ## Bring SECURITY.md's table of who may do what up to date
	@$(BIN)/python manage.py security_reference

requirements: .venv/dev ## Compile the exact pins from requirements.in and requirements-dev.in
	@for name in requirements requirements-dev; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command "make requirements" $$( [ $$name = requirements-dev ] && echo "-c requirements.txt" ) $$name.in -o $$name.txt; done

benchmarks: .venv/dev ## Measure side by side; each prints ratios
	@for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean: ## Remove the environment, the database and the caches
	@find var -mindepth 1 ! -path var/shared ! -path var/shared/.gitignore -delete
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
