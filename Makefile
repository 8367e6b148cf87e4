# The gate (.ci/run) runs these targets too. A machine needs git, make and Python 3.11 or newer with venv.
# infra/tools.py installs the rest on first use: .venv for the commands, .tools for programs of other projects.

.DEFAULT_GOAL := help

PORT := 8000
DATA := .hub
FN := health
EVENT = events/$(FN).json
MODULES :=

BIN := .venv/bin

# With it a schedule by seed is the same in every process.
test nightly: export PYTHONHASHSEED = 0

.PHONY: help packages dev-packages serve test nightly mutants mutation audit test-cloud check bench bench-check bench-baseline \
	bench-bill bench-load bench-stream bench-cold build build-host deploy invoke lock clean

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# By the environment: no character of DATA means anything to the shell.
serve: export PORT := $(value PORT)
serve: export DATA := $(value DATA)
serve: packages ## the whole hub on this machine: PORT=8000 DATA=.hub
	@exec $(BIN)/python -m infra.serve --port="$$PORT" --data="$$DATA"

test: dev-packages ## the whole suite, on every core
	@$(BIN)/python -m pytest -n auto

test-cloud: dev-packages build-host ## what was built, deployed into a cloud on this machine; the first time installs one
	@$(BIN)/python -m pytest -m cloud

# Every fault is the same each night; requests and schedules are other ones every day. A failure tells its seed, and how
# to play it again. A core plays some 60 schedules a second and a thousand requests: on two cores it is a night indeed.
nightly: dev-packages ## the long proofs, for hours: every fault, a million hostile requests, a million schedules
	@day=$$(( $$(date +%s) / 86400 )); FAULTS=all HOSTILE=1000000 HOSTILE_SEED=$$(( day * 4 )) \
		SEEDS=1000000 FIRST_SEED=$$(( day * 1000000 )) GC_SCHEDULES=20000 GC_FIRST=$$(( day * 20000 )) \
		$(BIN)/python -m pytest -n auto tests/proof tests/shared/actions/test_gc.py

mutants: dev-packages ## bugs planted in a copy of the tree, and the test that catches each
	@$(BIN)/python -m tests.mutants

# A change takes as long as the tests of its module, some seconds: all of them are a night on one core.
mutation: dev-packages ## each condition of the core changed, and whether a test fails: MODULES="auth content"
	@"$$($(BIN)/python -m infra.tools mutation)/python" -m tests.mutation $(MODULES)

# Not part of the suite: it asks PyPI about each package. Strict: one that PyPI does not tell about fails.
audit: dev-packages ## whether anything that is locked has a known vulnerability
	@"$$($(BIN)/python -m infra.tools audit)/pip-audit" --strict --require-hashes --disable-pip --progress-spinner off \
		-r requirements.lock -r infra/locks/package.lock

check: dev-packages ## lint, format, types, the container and the template
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy --no-error-summary
	@"$$($(BIN)/python -m infra.tools hadolint)/hadolint" Containerfile
	@$(BIN)/python -m pytest tests/template/test_lint.py tests/template/security.py

bench: dev-packages ## what every operation costs: calls, units, dollars
	@$(BIN)/python -m bench

bench-check: dev-packages ## fails when a count has risen above bench/baseline.json
	@$(BIN)/python -m bench --check

bench-baseline: dev-packages ## accept what is counted now; renews docs/costs.md and its picture
	@$(BIN)/python -m bench --baseline

bench-bill: dev-packages ## the most expensive requests, and what a user can spend by them in a day
	@$(BIN)/python -m bench.bill

bench-load: dev-packages ## 500 clients that push at once, and 125 that read, for a minute
	@$(BIN)/python -m bench.load

bench-stream: dev-packages ## 60 MB cloned from the streaming function, and the memory that takes
	@$(BIN)/python -m bench.stream

# What build/package and build/host are made from.
SOURCES := infra/build.py infra/locks/package.lock run.sh $(shell find functions shared -name '*.py')

build: ## what Lambda runs, in build/package.zip
	@$(FIND_PYTHON) && $(PYTHON) -m infra.build

build/package.zip: $(SOURCES)
	@$(FIND_PYTHON) && $(PYTHON) -m infra.build

build-host: build/host-python ## the same for this machine only, to try it here

build/host-python: $(SOURCES)
	@$(FIND_PYTHON) && $(PYTHON) -m infra.build --host

deploy: packages ## into the account of the AWS credentials: checks them, builds, asks before it changes anything
	@$(BIN)/python -m infra.deploy

invoke: packages build-host ## one function by AWS's runtime emulator: FN=push EVENT=events/push.json
	@$(BIN)/python -m infra.invoke '$(FN)' '$(EVENT)'

bench-cold: dev-packages build-host ## how long each function takes to start, beside what is usual
	@$(BIN)/python -m bench.cold

# A name such as python3.13 may be a shim that does not run, so each is tried.
PYTHON = $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo $$python && break; done)
FIND_PYTHON = { test -n '$(PYTHON)' || { echo 'pieria: Python 3.11 or newer with its venv module is needed\
 (Debian, Ubuntu: apt install python3-venv)' >&2; exit 2; }; }

packages: # what a hub and its command line need
	@$(FIND_PYTHON) && $(PYTHON) -m infra.tools --venv infra/locks/serve.lock

dev-packages: # what the suite needs, besides
	@$(FIND_PYTHON) && $(PYTHON) -m infra.tools --venv requirements.lock

lock: ## renew all locks after a change of pyproject.toml or infra/locks/*.in
	@$(FIND_PYTHON) && uv="$$($(PYTHON) -m infra.tools uv)/uv" && \
		compile() { "$$uv" pip compile --quiet --generate-hashes \
			--no-emit-index-url --no-emit-find-links --no-annotate --no-header "$$@"; } && \
		compile --universal --python-version 3.11 --extra dev -o requirements.lock pyproject.toml && \
		compile --universal --python-version 3.11 --extra local -c requirements.lock \
			-o infra/locks/serve.lock pyproject.toml && \
		compile --python-version 3.13 --python-platform aarch64-manylinux2014 --extra aws \
			-c requirements.lock -o infra/locks/package.lock pyproject.toml && \
		for tool in infra/locks/*.in; do \
			compile --universal --python-version 3.11 -o "$${tool%.in}.lock" "$$tool" || exit; \
		done
	@! command -v npm >/dev/null || npm install --prefix infra/locks/dynalite --package-lock-only --ignore-scripts \
		--omit-lockfile-registry-resolved --no-audit --no-fund --loglevel error >/dev/null

clean: ## all that was made here, but the data of `make serve`
	@rm -rf .venv .tools build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
