# What CI runs is what you run. Needs make and a Python 3.11 or newer; the rest is installed into .venv on first use.

PORT := 8000
DATA := .hub

BIN := .venv/bin
INSTALLED := .venv/requirements.lock

.PHONY: serve test nightly check bench lock clean

serve: $(INSTALLED) ## the whole hub on this machine
	@exec $(BIN)/python -m infra.serve --port '$(PORT)' --data '$(DATA)'

test: $(INSTALLED) ## the whole suite, on every core
	@$(BIN)/python -m pytest -n auto

# Other schedules every day; a failure tells the number of its schedule, which GC_FIRST plays again.
nightly: $(INSTALLED) ## gc beside pushes: many more schedules than the suite plays
	@GC_SCHEDULES=20000 GC_FIRST=$$(( $$(date +%s) / 86400 * 20000 )) \
		$(BIN)/python -m pytest -n auto tests/shared/actions/test_gc.py

check: $(INSTALLED) ## lint, format, types, and the template
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest tests/test_template.py

bench: $(INSTALLED) ## a large repository pushed and cloned back
	@$(BIN)/python -m bench.clone

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

lock: ## renew requirements.lock after a change of pyproject.toml
	@$(NEEDS_PYTHON)
	@uv=$$(mktemp -d) && trap 'rm -rf "$$uv"' EXIT && \
		$(PYTHON) -m venv "$$uv" && \
		"$$uv/bin/python" -m pip install -qq --disable-pip-version-check uv && \
		"$$uv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-emit-find-links --no-annotate --no-header \
			--extra dev -o requirements.lock pyproject.toml

clean: ## all that was made here, but the data of `make serve`
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
