# make setup   install what is missing (idempotent)
# make lock    new requirements/*.lock after a change of pyproject.toml's; ARGS=--upgrade takes the newest versions
# make run     watch this machine with the default rules; ARGS="…" are handed to `tiercel detect`
# make demo    as root: an API server, the operator and an agent on this machine, and what to try there
# make test    linters and all tests; the first time an API server is built for them, which takes some minutes
# make docs    the site, with its links checked, into build/site
# make reference   makes docs/reference anew from the code
# make test-kernels   as root: all of Debian's kernels, x86-64 and arm64, in virtual machines, with the live tests in each; it takes
#              hours, and writes docs/kernels.md. KERNELS="6.1 arm64-6.12" tries some of them
# make test-evasions   as root: what programs do to hide, tried on the same kernels, some minutes each; it writes docs/evasions.md.
#              KERNELS="6.1 6.12" tries some of them
# make bench   what the engine costs
# make bench-containers   as root: how soon containers are known
# make bench-events   as root: how soon an alert is a Kubernetes Event
# make bench-delivery   as root: how soon alerts reach sinks, what that costs, an hour without the destination, kill -9
# make bench-operator   what the operator's planning costs for a thousand rules and five thousand nodes
# make bench-hostile   as root: whether tenants can blind a node with their rules; ARGS="--only clauses" chooses a tenant
# make bench-instructions   as root: what watching costs in instructions, exactly, on kernels in virtual machines; ARGS="6.1" chooses
# make bench-live   as root: what watching costs, beside Falco where it is installed; ARGS="--help" shows the choices
SHELL := /bin/bash
BIN := .venv/bin
ARGS ?=
KERNELS ?= all

.PHONY: setup lock run demo docs reference test test-kernels test-evasions lint bench bench-live bench-instructions bench-containers bench-events bench-delivery bench-operator bench-hostile clean

setup:
	@scripts/setup

lock:
	@scripts/lock $(ARGS)

run: setup
	@exec $(BIN)/tiercel detect $(ARGS)

demo: setup
	@scripts/setup-control-plane >/dev/null
	@exec $(BIN)/python scripts/demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What the tests of containers, of the cluster and of other kernels need, kept outside of the checkout. Without it they are skipped.
test: lint
	@scripts/setup-containers >/dev/null || true
	@scripts/setup-control-plane >/dev/null || true
	@scripts/setup-kernels || true
	$(BIN)/pytest

# mkdocs with --quiet would keep warnings from --strict.
docs: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html; with its search: $(BIN)/python -m http.server --directory build/site 8000"

reference: setup
	@PYTHONPATH=scripts $(BIN)/python -m reference_pages

test-evasions: setup
	@scripts/setup-kernels amd64 arm64
	@PYTHONPATH=tests/support $(BIN)/python -m guest_support.try_evasions $(KERNELS)

test-kernels: setup
	@scripts/setup-kernels amd64 arm64
	TIERCEL_KERNELS="$(KERNELS)" $(BIN)/pytest tests/kernels $(ARGS)

bench: setup
	@$(BIN)/python bench/bench_engine.py

bench-containers: setup
	@scripts/setup-containers >/dev/null && scripts/setup-control-plane >/dev/null
	@$(BIN)/python bench/containers.py

bench-events: setup
	@scripts/setup-control-plane >/dev/null
	@$(BIN)/python bench/events.py

bench-delivery: setup
	@$(BIN)/python bench/latency.py
	@$(BIN)/python bench/delivery.py
	@$(BIN)/python bench/spool.py

bench-operator: setup
	@$(BIN)/python bench/operator.py

bench-hostile: setup
	@scripts/setup-control-plane >/dev/null
	@exec $(BIN)/python -m bench.hostile $(ARGS)

bench-live: setup
	@exec $(BIN)/python -m bench.live $(ARGS)

bench-instructions: setup
	@scripts/setup-kernels
	@PYTHONPATH=tests/support $(BIN)/python -m bench.instructions $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
