# The gate (.ci/run) runs these targets too. A machine needs git, make and Python 3.11 or newer with venv.
# infra/tools.py installs everything else on first use: .venv for the commands, .tools for other programs.

.DEFAULT_GOAL := help

PORT := 8000
DATA := .hub
ENGINE := sqlite
FN := health
EVENT = sample_events/$(FN).json
MODULES :=
HUBS :=
FOLDER = $(shell mktemp -u)

BIN := .venv/bin

# With a fixed hash seed, a schedule by seed is the same in every process.
test test-fast test-sqlite nightly: export PYTHONHASHSEED = 0

.PHONY: help packages aws-packages dev-packages serve test test-fast test-sqlite nightly mutants mutation audit test-browser test-identity test-cloud check generate bench bench-check bench-baseline \
	bench-bill bench-bytes bench-compare bench-large bench-load bench-stream bench-cold build build-host artefact chromium deploy invoke lock clean

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Passed by the environment, so that the shell does not interpret any character of DATA.
serve: export PORT := $(value PORT)
serve: export DATA := $(value DATA)
serve: export ENGINE := $(value ENGINE)
serve: $(if $(filter moto,$(value ENGINE)),aws-packages,packages) ## run the whole hub on this machine: PORT=8000 DATA=.hub
	@exec $(BIN)/python -m infra.serve --port="$$PORT" --data="$$DATA" \
		--engine="$$ENGINE"

test: dev-packages ## run all tests, on every core
	@$(BIN)/python -m pytest -n auto --dist worksteal

test-fast: dev-packages ## run the tests that take 30 seconds together, after every change
	@$(BIN)/python -m pytest --fast -n auto

test-sqlite: dev-packages ## run the tests that apply on the engine of `make serve`, SQLite and files
	@ENGINE=sqlite $(BIN)/python -m pytest -n auto \
		$$($(BIN)/python -c 'from tests.sqlite_engine import SUITES; print(*SUITES)')

# A machine without a network, or a user without the right to install, cannot get Chromium. The tests that need it are skipped then.
chromium: dev-packages # the browser of the tests, if there is none
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		timeout 600 $(BIN)/playwright install --with-deps chromium </dev/null || \
		echo 'pieria: Chromium could not be installed, so the tests in a browser are skipped' >&2

test-browser: chromium ## the pages in Chromium, which it installs; SCREENSHOTS=FOLDER saves them
	@$(BIN)/python -m pytest -rs tests/browser tests/infra/test_browser.py

test-identity: dev-packages ## sign in at another implementation of OpenID Connect, which it installs; needs node and npm
	@mkdir -p .tools/oidc-provider && cp infra/locks/oidc-provider/*.json .tools/oidc-provider
	@npm ci --prefix .tools/oidc-provider --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null
	@$(BIN)/python -m pytest -rs tests/identity

test-cloud: dev-packages build-host ## deploy the built artefact into a cloud on this machine; installs it on first use
	@$(BIN)/python -m pytest -m cloud

# Faults are the same each night; requests and schedules change every day. A failure prints its seed, and the command that
# repeats it. A core runs about 60 schedules and a thousand requests a second, so two cores need a night.
nightly: dev-packages ## the long proofs, for hours: every fault, a million hostile requests, a million schedules
	@day=$$(( $$(date +%s) / 86400 )); FAULTS=all HOSTILE=1000000 HOSTILE_SEED=$$(( day * 4 )) \
		SEEDS=1000000 FIRST_SEED=$$(( day * 1000000 )) GC_SCHEDULES=20000 GC_FIRST=$$(( day * 20000 )) \
		$(BIN)/python -m pytest -n auto tests/proof tests/shared/maintenance/test_gc.py

mutants: dev-packages ## plant bugs in a copy of the tree, and run the test that catches each
	@$(BIN)/python -m tests.mutants

# A change takes as long as the tests of its module, some seconds: all of them take a night on one core.
mutation: dev-packages ## change each condition of the core, and check that a test fails: MODULES="auth content"
	@"$$($(BIN)/python -m infra.tools mutation)/python" -m tests.mutation $(MODULES)

# Not part of the suite: it sends the names of packages to PyPI. Strict: a package that PyPI does not know fails.
audit: dev-packages ## check the locked packages for known vulnerabilities
	@"$$($(BIN)/python -m infra.tools audit)/pip-audit" --strict --require-hashes --disable-pip --progress-spinner off \
		-r requirements.lock -r infra/locks/identity.lock

check: dev-packages ## check lint, format, types, the container and the template
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/vulture
	@"$$($(BIN)/python -m infra.tools hadolint)/hadolint" Containerfile hub.Containerfile
	@"$$($(BIN)/python -m infra.tools compose)/python" -c \
		"import compose_spec as c; c.PyCompose.from_yaml(open('compose.yaml').read()).validate()"
	@$(BIN)/python -m pytest tests/template/test_lint.py tests/template/security.py

generate: dev-packages ## write template.yaml, sample_events/, openapi.json and the tables of docs/
	@$(BIN)/python -m infra.generate

bench: dev-packages ## measure the cost of every operation: calls, units, dollars
	@$(BIN)/python -m bench

bench-check: dev-packages ## fail if a count is higher than in bench/baseline.json
	@$(BIN)/python -m bench --check

bench-baseline: dev-packages ## accept the current counts; updates docs/costs.md and its picture
	@$(BIN)/python -m bench --baseline

bench-bill: dev-packages ## the most expensive requests, and the most that a user can spend in a day
	@$(BIN)/python -m bench.bill

bench-load: dev-packages ## 500 clients push at once, and 125 read, for a minute
	@$(BIN)/python -m bench.load

bench-bytes: dev-packages ## the bytes, CPU and dollars of clones and pulls, compared with git's
	@$(BIN)/python -m bench.replies

bench-stream: dev-packages ## clone 60 MB from the streaming function, and measure its memory
	@$(BIN)/python -m bench.stream

bench-compare: dev-packages ## the same work on several hubs in turn: HUBS='ours=URL,TOKEN other=URL,TOKEN'
	@$(BIN)/python -m bench.compare $(HUBS)

bench-large: dev-packages ## a hub on this machine with 10 GB: start, memory, fetch, push; in FOLDER, which it deletes
	@$(BIN)/python -m bench.large --folder "$(FOLDER)"

# The sources of build/package and build/host.
SOURCES := infra/build.py infra/locks/package.lock infra/locks/pages.lock infra/locks/identity.lock run.sh \
	$(shell find functions shared -type f -not -name '*.pyc')

build: ## the packages of the Lambda functions, build/package.zip, build/pages.zip and build/identity.zip
	@$(FIND_PYTHON) && $(PYTHON) -m infra.build

build/package.zip: $(SOURCES)
	@$(FIND_PYTHON) && $(PYTHON) -m infra.build

artefact: build/package.zip # the files of one function, for `sam build`: FUNCTION=PagesFunction FOLDER=...
	@$(FIND_PYTHON) && $(PYTHON) -m infra.artefact '$(FUNCTION)' '$(FOLDER)'

build-host: build/host-python ## the same package for this machine

build/host-python: $(SOURCES)
	@$(FIND_PYTHON) && $(PYTHON) -m infra.build --host

deploy: aws-packages ## deploy into the account of the AWS credentials; asks before it changes anything
	@$(BIN)/python -m infra.deploy

invoke: aws-packages build-host ## run one function in AWS's runtime emulator: FN=push EVENT=sample_events/push.json
	@$(BIN)/python -m infra.invoke '$(FN)' '$(EVENT)'

bench-cold: dev-packages build-host ## measure the start of each function, compared with a baseline
	@$(BIN)/python -m bench.cold
	@$(BIN)/python -m bench.idle_night 2>/dev/null

# A name such as python3.13 may be a shim that does not run, so each is tried.
PYTHON = $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo $$python && break; done)
FIND_PYTHON = { test -n '$(PYTHON)' || { echo 'pieria: Python 3.11 or newer with its venv module is needed\
 (Debian, Ubuntu: apt install python3-venv)' >&2; exit 2; }; }

packages: # the packages of a hub on this machine and its command line
	@$(FIND_PYTHON) && $(PYTHON) -m infra.tools --venv infra/locks/serve.lock

aws-packages: # also those of the commands for a hub in an AWS account, and the emulated AWS
	@$(FIND_PYTHON) && $(PYTHON) -m infra.tools --venv infra/locks/aws.lock

dev-packages: # the packages of the tests as well
	@$(FIND_PYTHON) && $(PYTHON) -m infra.tools --venv requirements.lock

lock: ## update all locks after a change of pyproject.toml or infra/locks/*.in
	@$(FIND_PYTHON) && uv="$$($(PYTHON) -m infra.tools uv)/uv" && \
		compile() { "$$uv" pip compile --quiet --generate-hashes \
			--no-emit-index-url --no-emit-find-links --no-annotate --no-header "$$@"; } && \
		compile --universal --python-version 3.11 --extra dev -o requirements.lock pyproject.toml && \
		compile --universal --python-version 3.11 -c requirements.lock \
			-o infra/locks/serve.lock pyproject.toml && \
		compile --universal --python-version 3.11 --extra aws -c requirements.lock \
			-o infra/locks/aws.lock pyproject.toml && \
		compile --python-version 3.13 --python-platform aarch64-manylinux2014 --group function \
			-c requirements.lock -o infra/locks/package.lock && \
		compile --python-version 3.13 --python-platform aarch64-manylinux2014 --group pages \
			-c requirements.lock -o infra/locks/pages.lock && \
		compile --python-version 3.13 --python-platform aarch64-manylinux2014 --group identity \
			-c requirements.lock -o infra/locks/identity.lock && \
		for tool in infra/locks/*.in; do \
			compile --universal --python-version 3.11 -o "$${tool%.in}.lock" "$$tool" || exit; \
		done
	@! command -v npm >/dev/null || for name in dynalite oidc-provider; do \
		npm install --prefix "infra/locks/$$name" --package-lock-only --ignore-scripts \
		--omit-lockfile-registry-resolved --no-audit --no-fund --loglevel error >/dev/null || exit; done

clean: ## delete everything that was made here, except the data of `make serve`
	@rm -rf .venv .tools build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
