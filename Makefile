# Needs Python 3.11 to 3.13 and make; `make test` and `make package` need Node.js 20.19 or newer as well.
PYTHON ?= python3

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip --disable-pip-version-check
JS   := tests/e2e/js
AWS  := infra/deploy/aws
PEER := tests/benchmark/peers/node

.DEFAULT_GOAL := help
.PHONY: help run install test attack faults fuzz check tables audit package bench shape lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.runtime ## Start the whole stack on http://localhost:3000 (or on PORT, with the data in BBGRAM_DATA_DIR)
	@exec $(BIN)/bbgram dev

install: $(VENV)/.dev ## Build .venv with everything that tests and checks need

# Tests also wait, so three workers more than there are processors are quickest. JOBS=0 runs them in one process, for a debugger.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 3)

# Hundreds of processes would compile our modules again and again.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.dev $(JS)/node_modules/.stamp ## Run all tests and print the coverage
	@$(BIN)/coverage erase
	@status=0; $(BIN)/coverage run -m pytest -n $(JOBS) $(ARGS) || status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report; exit $$status

attack: $(VENV)/.dev ## Attack an edge in every known way, print what it did, write the table of docs/guarantees.md
	@$(BIN)/python -m tests.security $(ARGS)

FUZZ_S ?= 60

fuzz: $(VENV)/.dev ## Send broken input to an edge and a worker for FUZZ_S seconds (ARGS="--seed N" repeats a run)
	@$(BIN)/python -m tests.security.fuzz --seconds $(FUZZ_S) $(ARGS)

audit: $(VENV)/.audit ## Look for known vulnerabilities in the pinned dependencies; needs the network
	@for file in requirements.txt requirements-dev.txt requirements-functions.txt; do \
		$(VENV)/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$file || \
		{ echo "audit: $$file has known holes, or could not be looked up (see above)" >&2; exit 1; }; \
	done

check: $(VENV)/.dev ## Lint, check formatting, types and import rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

tables: $(VENV)/.dev ## Write the tables of settings and events in the docs
	@$(BIN)/python -m infra.settings
	@$(BIN)/python -m tests.contract.event_tables

package: $(VENV)/.dev $(AWS)/node_modules/.stamp ## Build functions.zip for AWS Lambda, package serverless.yml with it, lint the result
	@$(BIN)/python $(AWS)/build.py
	@$(OSLS) package --package build/package
	@$(BIN)/cfn-lint build/package/cloudformation-template-update-stack.json

bench: $(VENV)/.dev $(PEER)/node_modules/.stamp ## Measure against the peers and write docs/benchmarks.md (about 25 minutes)
	@$(BIN)/python -m tests.benchmark $(ARGS)

shape: $(VENV)/.dev ## Print how much work messages share under load
	@$(BIN)/python -m tests.benchmark.batch_shape

faults: $(VENV)/.dev ## Break one thing after another under load, count what was lost, write docs/guarantees.md (12 minutes; root, faketime)
	@$(BIN)/python -m tests.faults --write $(ARGS)

lock: $(VENV)/.uv ## Pin what pyproject.toml asks for, with hashes, for every platform (UPGRADE=-U for the newest)
	@$(LOCK) --extra local -o requirements.txt
	@$(LOCK) --extra dev -c requirements.txt -o requirements-dev.txt
	@$(LOCK_AWS) -c requirements-dev.txt -o requirements-functions.txt

clean: ## Remove everything built; the data of the local stack stays
	@rm -rf $(VENV) $(JS)/node_modules $(AWS)/node_modules $(PEER)/node_modules build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +

UV   := $(VENV)/uv/bin/uv
LOCK  = $(UV) pip compile pyproject.toml $(UPGRADE) --quiet --universal --generate-hashes \
	--no-emit-index-url --no-header --python-version 3.11
LOCK_AWS = $(UV) pip compile pyproject.toml --quiet --extra lambda --generate-hashes --no-emit-index-url \
	--no-header --python-version 3.13 --python-platform aarch64-manylinux_2_28

OSLS = $(AWS)/node_modules/.bin/osls

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null 2>&1 || \
		{ echo "$(PYTHON) was not found: install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "$$($(PYTHON) -V 2>&1) does not fit: Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || \
		{ echo "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.runtime: $(VENV)/.made requirements.txt pyproject.toml
	@$(PIP) install --quiet --require-hashes -r requirements.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	@$(PIP) install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/.uv: $(VENV)/.made
	@$(PYTHON) -m venv $(VENV)/uv
	@$(VENV)/uv/bin/python -m pip --disable-pip-version-check install --quiet uv
	@touch $@

$(VENV)/.audit: $(VENV)/.made
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --disable-pip-version-check install --quiet pip-audit
	@touch $@

$(JS)/node_modules/.stamp: $(JS)/package.json $(JS)/package-lock.json
	@command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || \
		{ echo "node and npm were not found: install Node.js 20.19 or newer to run the end-to-end tests" >&2; exit 1; }
	@cd $(JS) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(PEER)/node_modules/.stamp: $(PEER)/package.json $(PEER)/package-lock.json
	@command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || \
		{ echo "node and npm were not found: install Node.js 20.19 or newer to run the benchmark" >&2; exit 1; }
	@cd $(PEER) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(AWS)/node_modules/.stamp: $(AWS)/package.json $(AWS)/package-lock.json
	@command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || \
		{ echo "node and npm were not found: install Node.js 20.19 or newer to package the functions for AWS" >&2; exit 1; }
	@cd $(AWS) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
