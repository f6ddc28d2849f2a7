# Every target is a line or two; what is longer lives in a file of its own.
PYTHON ?= python3
BIN := .venv/bin
export PORT ?= 3000
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-long test-install services monitoring monitoring-native validate loadtest dashboards lint format types requirements telemetry permissions security soak check benchmarks clean

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

test: .venv/dev ## Run every test that this machine can run, and say what was left out (T='-k name': some)
	@$(BIN)/python -m pytest bambisleep observability accounts payments content realtime e2e $(T)

test-all: .venv/dev ## Run every test with the real servers (make services): on PostgreSQL, on SQLite, or on both
	@.ci/test-all

test-long: .venv/dev ## Run the tests that take longer, too, and all of them on both databases
	@BAMBISLEEP_LONG=1 .ci/test-all

test-install: .venv/dev ## Follow DEPLOYMENT.md on a fresh Debian, to the site on TLS and its alerts (ten minutes, root, debootstrap)
	@$(BIN)/python -m e2e.install.fresh_debian

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
	@$(BIN)/mypy && $(BIN)/mypy deploy/monitoring/native.py deploy/monitoring/validate.py deploy/grafana/build.py deploy/grafana/schema/check.py && $(BIN)/mypy --follow-imports=silent -p deploy.security -p e2e.soak

check: .venv/dev ## Check migrations, production settings, rules, and that generated files are up to date (make services)
	@.ci/check

telemetry: .venv/dev ## Bring TELEMETRY.md's table and the recording rules up to date
	@$(BIN)/python manage.py metrics_reference

permissions: .venv/dev ## Bring SECURITY.md's table of who may do what up to date
	@$(BIN)/python manage.py security_reference

.venv-security/made: requirements-security.txt
	@test -x .venv-security/bin/python || $(PYTHON) -m venv .venv-security
	@echo "Installing the scanners …" && .venv-security/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-security.txt
	@touch $@

security: .venv/dev .venv-security/made ## Look for holes: code, packages, secrets, settings, the running site (about ten minutes; ARGUMENTS=--help)
	@exec $(BIN)/python deploy/security/check.py $(ARGUMENTS)

soak: .venv/dev ## Load the site steadily for an hour (MINUTES=…), and say whether memory, descriptors, series or tables grow
	@exec $(BIN)/python e2e/soak/run.py --minutes $(or $(MINUTES),60)

requirements: .venv/dev ## Compile the exact pins from requirements.in and its kin
	@for name in requirements requirements-dev requirements-security; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command "make requirements" $$( [ $$name = requirements-dev ] && echo "-c requirements.txt" ) $$name.in -o $$name.txt; done

benchmarks: .venv/dev ## Measure side by side; each prints ratios
	@for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean: ## Remove the environment, the caches, and all of var/: database, uploads, backups, the monitoring's history
	@find var -mindepth 1 ! -path var/shared ! -path var/shared/.gitignore -delete
	@rm -rf .venv .venv-security .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
