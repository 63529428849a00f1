# `make up` runs Kilroy, `make test` checks it; everything else is listed by `make help`.
SHELL := /bin/sh
.DEFAULT_GOAL := help
BIN := .venv/bin
PORT ?= 8000
export PORT

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

up: ## run everything; PORT= chooses the port
	@requirements/install.sh train
	@exec $(BIN)/python manage.py up

test: ## set up and run every test; ARGS= goes to pytest
	@requirements/install.sh dev
	@requirements/chromium.sh
	@requirements/recordings.sh
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-servers: ## try faces against the platforms' own servers; ARGS= goes to pytest
	@requirements/install.sh dev
	@tests/servers/bluesky/install.sh "$(CURDIR)/var/servers/bluesky"
	@$(BIN)/pytest -m servers tests/servers $(ARGS)

lint: ## style, types, import contracts, migrations, bandit
	@requirements/install.sh dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	@$(BIN)/bandit -q -c pyproject.toml -r accounts bots faces kilroy_site training 2>/dev/null

audit: ## look everything that is installed up among known vulnerabilities (asks PyPI, or ARGS="-s osv")
	@requirements/install.sh dev
	@$(BIN)/python -m pip freeze | $(BIN)/pip-audit -r /dev/stdin --no-deps --disable-pip --strict $(ARGS)

format: ## put the code into shape
	@requirements/install.sh dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: ## measure; ONLY= runs one benchmark, whose last line is JSON
	@requirements/install.sh dev
	@exec $(BIN)/python -m tests.bench $(ONLY)

chaos: ## publish while everything fails, for minutes; ARGS="--posts 100" is a short campaign
	@requirements/install.sh dev
	@exec $(BIN)/python -m tests.chaos $(ARGS)

fuzz: ## send some 13,000 requests that schemathesis makes of the OpenAPI document; ARGS="--seed 2" makes others
	@requirements/install.sh dev
	@exec $(BIN)/python -m tests.fuzz $(ARGS)

screenshots: ## take pictures of every page into docs/screenshots
	@requirements/install.sh dev
	@requirements/chromium.sh
	@$(BIN)/pytest -q -p no:cacheprovider tests/browser/shots.py

starter: ## train the starter model anew from CORPUS=; ARGS= goes to the trainer
	@requirements/install.sh train
	@exec $(BIN)/python -m training.engine.starter --corpus "$(CORPUS)" --work var/starter --out training/starter $(ARGS)

clean: ## remove the virtual environment and caches; data in var/ stays
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis var/test
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help up test test-servers lint audit format bench chaos fuzz screenshots starter clean
