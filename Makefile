# What CI runs is what you run. Needs make and a Python 3.11 or newer; the rest is installed into .venv on first use.

PORT := 8000
DATA := .hub
FN := health
EVENT = events/$(FN).json

BIN := .venv/bin
INSTALLED := .venv/requirements.lock

# With it a schedule by seed is the same in every process.
test nightly: export PYTHONHASHSEED = 0

.PHONY: serve test nightly mutants audit test-cloud check bench bench-check bench-baseline bench-load bench-stream bench-cold build build-host \
	deploy invoke lock clean

serve: $(INSTALLED) ## the whole hub on this machine
	@exec $(BIN)/python -m infra.serve --port '$(PORT)' --data '$(DATA)'

test: $(INSTALLED) ## the whole suite, on every core
	@$(BIN)/python -m pytest -n auto

test-cloud: build-host ## what was built, deployed into a cloud on this machine; the first time installs one
	@$(BIN)/python -m pytest -m cloud

# Every fault is the same each night; requests and schedules are other ones every day. A failure tells its seed, and how
# to play it again. A core plays some 60 schedules a second and a thousand requests: on two cores it is a night indeed.
nightly: $(INSTALLED) ## the long proofs, for hours: every fault, a million hostile requests, a million schedules
	@day=$$(( $$(date +%s) / 86400 )); FAULTS=all HOSTILE=1000000 HOSTILE_SEED=$$(( day * 4 )) \
		SEEDS=1000000 FIRST_SEED=$$(( day * 1000000 )) GC_SCHEDULES=20000 GC_FIRST=$$(( day * 20000 )) \
		$(BIN)/python -m pytest -n auto tests/proof tests/shared/actions/test_gc.py

mutants: $(INSTALLED) ## bugs planted in a copy of the tree, and the test that catches each
	@$(BIN)/python -m tests.mutants

# Not part of the suite: it asks PyPI about each package. Strict: one that PyPI does not tell about fails.
audit: $(INSTALLED) ## whether anything that is locked has a known vulnerability
	@"$$($(BIN)/python -m infra.tools audit)/pip-audit" --strict --require-hashes --disable-pip --progress-spinner off \
		-r requirements.lock -r infra/locks/package.lock

check: $(INSTALLED) ## lint, format, types, the container and the template
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy --no-error-summary
	@"$$($(BIN)/python -m infra.tools hadolint)/hadolint" Containerfile
	@$(BIN)/python -m pytest tests/template/test_lint.py tests/template/security.py

bench: $(INSTALLED) ## what every operation costs: calls, units, dollars
	@$(BIN)/python -m bench

bench-check: $(INSTALLED) ## fails when a count has risen above bench/baseline.json
	@$(BIN)/python -m bench --check

bench-baseline: $(INSTALLED) ## accept what is counted now; renews the README's table and picture
	@$(BIN)/python -m bench --baseline

bench-load: $(INSTALLED) ## 500 clients that push at once, and 125 that read, for a minute
	@$(BIN)/python -m bench.load

bench-stream: $(INSTALLED) ## 60 MB cloned from the streaming function, and the memory that takes
	@$(BIN)/python -m bench.stream

build: $(INSTALLED) ## what Lambda runs, in build/package.zip
	@$(BIN)/python -m infra.build

build-host: build/host-python ## the same for this machine only, to try it here

build/host-python: $(INSTALLED) infra/build.py infra/locks/package.lock run.sh $(shell find functions shared -name '*.py')
	@$(BIN)/python -m infra.build --host

deploy: build ## into the account that the AWS credentials lead to; asks first, and the first time for everything
	@$(BIN)/python -m infra.deploy

invoke: build-host ## one function by AWS's runtime emulator: FN=push EVENT=events/push.json
	@$(BIN)/python -m infra.invoke '$(FN)' '$(EVENT)'

bench-cold: build-host ## how long each function takes to start, beside what is usual
	@$(BIN)/python -m bench.cold

# A name such as python3.13 may be a shim that does not run, so each is tried.
PYTHON = $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo $$python && break; done)
NEEDS_PYTHON = test -n '$(PYTHON)' || { echo 'pieria: Python 3.11 or newer with its venv module is needed\
	 (Debian, Ubuntu: apt install python3-venv)' >&2; exit 1; }

# The copy of the lock is written last: without it, or with another, the whole is made anew.
$(INSTALLED): requirements.lock
	@cmp -s $< $@ || { $(NEEDS_PYTHON); \
		echo 'Installing the dependencies into .venv'; \
		$(PYTHON) -m venv --clear .venv && \
		$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r $< && \
		cp $< $@; }
	@touch $@

lock: ## renew requirements.lock after a change of pyproject.toml, and the locks of infra/locks
	@$(NEEDS_PYTHON)
	@uv=$$(mktemp -d) && trap 'rm -rf "$$uv"' EXIT && \
		$(PYTHON) -m venv "$$uv" && \
		"$$uv/bin/python" -m pip install -qq --disable-pip-version-check uv && \
		compile() { "$$uv/bin/uv" pip compile --quiet --generate-hashes \
			--no-emit-index-url --no-emit-find-links --no-annotate --no-header "$$@"; } && \
		compile --universal --python-version 3.11 --extra dev -o requirements.lock pyproject.toml && \
		compile --python-version 3.13 --python-platform aarch64-manylinux2014 -c requirements.lock \
			-o infra/locks/package.lock pyproject.toml && \
		for tool in infra/locks/*.in; do \
			compile --universal --python-version 3.11 -o "$${tool%.in}.lock" "$$tool" || exit; \
		done
	@! command -v npm >/dev/null || npm install --prefix infra/locks/dynalite --package-lock-only --ignore-scripts \
		--omit-lockfile-registry-resolved --no-audit --no-fund --loglevel error >/dev/null

clean: ## all that was made here, but the data of `make serve`
	@rm -rf .venv .tools build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
