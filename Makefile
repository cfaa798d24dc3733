# Targets for users and developers; `make` lists them. `make run` is a demonstration.
# Everything is installed into .venv; `make clean` removes it.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
HTTPBIN := httpbin==0.10.4
XMPP_TESTS := tests/core/test_xml_tokens.py tests/xmpp $(wildcard tests/*/test_xmpp*.py)
RELEASED := setup.py pyproject.toml deploy/release.py deploy/launch.py \
    $(wildcard $(shell git rev-parse --git-path logs/HEAD 2>/dev/null)) \
    $(shell find amoc_gevent scenarios -type f -not -name '*.pyc')
HOSTS ?= hosts.ini
RELEASE ?= dist/amoc
LIMIT ?=
LINES ?= 20
CHECK ?=
FORCE ?=
ON_HOSTS = $(BIN)/amoc hosts
CHOSEN = --inventory '$(HOSTS)' --limit '$(LIMIT)'
CHECKED = $(if $(CHECK),--check)
HAS_SBIN := PATH="$$PATH:/usr/sbin" command -v

.DEFAULT_GOAL := help
.PHONY: help run run-xmpp release prepare unprepare deploy status attach logs stop test quick \
    test-xmpp check bench clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1         \2/p' $(MAKEFILE_LIST) \
	    | sed 's/^\(.\{10\}\) */  make \1/'

# $(call demo,KIND,SCENARIO,OPTIONS): start `amoc demo KIND` and run SCENARIO. OPTIONS can use
# $$where, the address that the server listens on.
define demo
	@said=$$(mktemp); \
	setsid $(BIN)/amoc demo $(1) --port 0 >$$said & server=$$!; \
	trap 'kill $$server 2>/dev/null; wait $$server 2>/dev/null; rm -f $$said' EXIT; \
	trap : INT; trap 'exit 143' TERM; \
	tries=0; until where=$$(sed -n 's/^listening on //p' $$said); [ -n "$$where" ]; do \
	    tries=$$((tries + 1)); \
	    kill -0 $$server 2>/dev/null && [ $$tries -lt 100 ] \
	        || { echo "the demo server did not start" >&2; exit 1; }; \
	    sleep 0.1; \
	done; \
	echo "Demo server on $$where: 200 users load it for 15 s (scenarios/$(2).py)"; \
	$(BIN)/amoc run $(2) 1 200 --duration 15s --user-rate 100/s $(3) $(ARGS)
endef

# $(call tests,FILES): run the tests in FILES, all if empty.
define tests
	@missing=; for pair in nginx:nginx-light prosody:prosody ejabberdctl:ejabberd ip:iproute2 \
	        iptables:iptables carbon-cache:graphite-carbon graphite-manage:graphite-web \
	        sshd:openssh-server; do \
	    $(HAS_SBIN) $${pair%:*} >/dev/null || missing="$$missing $${pair#*:}"; \
	done; \
	[ -z "$$missing" ] || bash .ci/packages $$missing || true
	@$(BIN)/python -m pytest --numprocesses 3 --dist worksteal $(1) $(ARGS)
endef

run: $(VENV)/.installed ## Load the demo HTTP server with 200 users for 15 s
	$(call demo,http,http_hello,--set url=$$where)

run-xmpp: $(VENV)/.installed ## Have 200 users chat through the demo XMPP server for 15 s
	$(call demo,xmpp,xmpp_chat,--set tls=none --set port=$${where##*:})

release: dist/amoc ## Build dist/amoc, one executable file that needs only Python

prepare: $(RELEASE) ## Prepare the machines of HOSTS=hosts.ini; LIMIT=a,b selects some; CHECK=1 changes nothing
	@$(ON_HOSTS) prepare --release '$(RELEASE)' $(CHOSEN) $(CHECKED)

unprepare: $(VENV)/.installed ## Undo what prepare did
	@$(ON_HOSTS) unprepare $(CHOSEN) $(CHECKED)

deploy: $(RELEASE) ## Copy the release to them, and start master and nodes
	@$(ON_HOSTS) deploy --release '$(RELEASE)' $(CHOSEN) $(CHECKED)

status: $(VENV)/.installed ## Show what runs on them
	@$(ON_HOSTS) status $(CHOSEN)

attach: $(VENV)/.installed ## Open a prompt on the master to control the run
	@$(ON_HOSTS) attach --inventory '$(HOSTS)'

logs: $(VENV)/.installed ## Show the last LINES=20 of their logs
	@$(ON_HOSTS) logs $(CHOSEN) --lines $(LINES)

stop: $(VENV)/.installed ## End master and nodes; FORCE=1 stops an active run too
	@$(ON_HOSTS) stop $(CHOSEN) $(CHECKED) $(if $(FORCE),--force)

test: $(VENV)/.test ## Run the tests; ARGS="-k name" goes to pytest
	$(call tests,)

quick: $(VENV)/.test ## Run the tests that start no process and no server
	@$(BIN)/python -m pytest --numprocesses 3 --dist worksteal -m 'not processes' $(ARGS)

test-xmpp: $(VENV)/.test ## Run only the XMPP tests
	$(call tests,$(XMPP_TESTS))

check: $(VENV)/.check ## Check style, types, imports between modules, and sizes
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@told=$$($(BIN)/lint-imports 2>&1) || { echo "$$told"; exit 1; }
	@$(BIN)/python -m checks
	@echo "style, types, imports and sizes are fine"

bench: $(VENV)/.bench ## Benchmark against Locust, slixmpp and Tsung; ARGS="http --quick" selects
	@$(HAS_SBIN) nginx >/dev/null || bash .ci/packages nginx-light
	@command -v tsung >/dev/null || bash .ci/packages tsung
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove everything that was generated, including .venv
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	    .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "amoc needs Python 3.11 or newer; choose one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || bash .ci/packages python3-venv
	@echo "Creating a virtual environment in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.installed: setup.py | $(BIN)/python
	@echo "Installing amoc and its dependencies"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.installed
	@echo "Installing what the tests need"
	@$(PIP) --editable '.[test,release]'
	@# --no-deps, because httpbin requires greenlet<3, which is too old for the current gevent.
	@$(PIP) --no-deps $(HTTPBIN)
	@touch $@

$(VENV)/.release: $(VENV)/.installed
	@echo "Installing the release tools"
	@$(PIP) --editable '.[release]'
	@touch $@

dist/amoc: $(VENV)/.release $(RELEASED)
	@$(BIN)/python deploy/release.py

$(VENV)/.check: $(VENV)/.installed
	@echo "Installing the checkers"
	@$(PIP) --editable '.[check]'
	@touch $@

$(VENV)/.bench: $(VENV)/.installed
	@echo "Installing the tools to compare with"
	@$(PIP) --editable '.[bench]'
	@touch $@
