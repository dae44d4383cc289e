# Every target sets up what it needs. Only Python 3.10+ with venv, and make, have to be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help run test dev lint format lock clean grafana aws-demo aws-tools aws-package aws-deploy aws-diff aws-smoke aws-destroy \
	aws-synth

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/runtime ## Materialize every layer of both datasets and show what is there
	@$(BIN)/stock-weather run

test: $(VENV)/dev ## Run the tests
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

dev: $(VENV)/runtime ## Start the Dagster UI with its daemon
	@$(BIN)/stock-weather dev

lint: $(VENV)/infra $(VENV)/benchmarks ## Formatter check, linter, strict type checker
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/dev ## Format the code and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/dev ## Write the locks anew from setup.py
	$(BIN)/uv pip compile setup.py requirements.in --universal --python-version 3.10 --generate-hashes \
		--no-emit-index-url --no-strip-extras --custom-compile-command "make lock" -o requirements.txt
	$(BIN)/uv pip compile setup.py requirements.in --extra dev --constraint requirements.txt --universal \
		--python-version 3.10 --generate-hashes --no-emit-index-url --no-strip-extras --custom-compile-command "make lock" \
		-o requirements-dev.txt
	for extra in infra benchmarks; do \
		$(BIN)/uv pip compile setup.py requirements.in --extra dev --extra $$extra --constraint requirements-dev.txt \
			--universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-strip-extras \
			--custom-compile-command "make lock" -o requirements-$$extra.txt || exit 1; \
	done

grafana: $(VENV)/dev ## Write Grafana's dashboards anew from the panels, and verify them
	$(BIN)/python -m infra.grafana.generate
	$(BIN)/python -m infra.grafana.verify

aws-demo: $(VENV)/dev ## The AWS stack on an emulated account, on this machine
	@$(BIN)/python -m infra demo

aws-package: $(VENV)/runtime ## Build what runs on Lambda and Glue
	$(BIN)/python -m infra package

aws-deploy: $(VENV)/runtime ## Deploy the AWS stack, after showing the changes
	$(BIN)/python -m infra deploy

aws-diff: $(VENV)/runtime ## Show what deploying would change
	$(BIN)/python -m infra diff

aws-smoke: $(VENV)/runtime ## Test the deployed stack
	$(BIN)/python -m infra smoke

aws-destroy: $(VENV)/runtime ## Take the stack down; data is kept
	$(BIN)/python -m infra destroy

aws-synth: $(VENV)/infra ## Write the templates anew from infra/stack
	$(BIN)/python -m infra synth

aws-tools: $(VENV)/infra ## Install what changing the AWS stack needs (CDK and its Node)

clean: ## Remove the virtual environment and caches; data is kept
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.11") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: requirements.txt setup.py | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Not compiled ahead from here on: of hundreds of megabytes the little that is imported is.
$(VENV)/dev: requirements-dev.txt $(VENV)/runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/benchmarks: requirements-benchmarks.txt $(VENV)/dev
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-benchmarks.txt
	@touch $@

$(VENV)/infra: requirements-infra.txt $(VENV)/dev
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-infra.txt
	@touch $@
