# One-word commands. Every recipe works on a fresh checkout: .venv is made when it is missing.
PYTHON ?= python3
BIN := .venv/bin
DATABASE ?= sqlite
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -q -p no:cacheprovider

# Every test process compiles two thousand files anew where this is set: half of a quick check.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo serve test check lint quick unit test-slow soak migrations messages locks \
	bench-planning bench-growth bench-replan bench-branches bench-travel bench-evidence bench-cash clean

help:
	@echo "make demo [DATABASE=postgresql]   one whole working day through HTTP, proven offline; results in var/demo/"
	@echo "make serve                        the demo's data with console and API on http://127.0.0.1:8000"
	@echo "make test                         everything that runs here within 15 minutes, on both database engines"
	@echo "make check                        lint, types, import contracts, unit tests"
	@echo "make test-slow                    the longer suites"
	@echo "make soak                         the long forms of property and race runs; not in CI"
	@echo "make migrations                   migrations: empty difference, up, down, up"
	@echo "make bench-<area>                 planning [PART=telling], growth, replan, branches, travel, evidence (needs node and npm), cash"

# The tools that a fresh machine may lack are named instead of failing oddly.
.venv/.tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (found $$($(PYTHON) --version 2>&1))"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@touch $@

.venv/.run: .venv/.tools .ci/requirements.lock pyproject.toml
	@echo "Installing the pinned dependencies …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/build.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m routing warm
	@touch $@

.venv/.dev: .venv/.run .ci/requirements-dev.lock
	@echo "Installing the pinned tools for tests …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/requirements-dev.lock
	@touch $@

demo: .venv/.run
	@$(BIN)/fieldvisit demo --database $(DATABASE)

serve: .venv/.run
	@test -f var/demo/demo.json || $(BIN)/fieldvisit demo --database sqlite
	@$(BIN)/fieldvisit serve --demo

# Types and tests side by side: with cold caches the types take as long as the tests.
check: .venv/.dev
	@$(MAKE) --no-print-directory --output-sync=target -j2 lint quick

lint: .venv/.dev
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >/tmp/lint-imports.$$$$ 2>&1 || { cat /tmp/lint-imports.$$$$; rm -f /tmp/lint-imports.$$$$; exit 1; }; rm -f /tmp/lint-imports.$$$$

quick: .venv/.dev
	@$(PYTEST) -n $(JOBS) -m "not slow and not soak and not long" tests/unit tests/architecture

unit: .venv/.dev
	@$(PYTEST) -n $(JOBS) -m "not slow and not soak" tests/unit

test: .venv/.dev
	@$(PYTEST) -n $(JOBS) -m "not slow and not soak" tests

test-slow: .venv/.dev
	@$(PYTEST) -n $(JOBS) -m slow tests

soak: .venv/.dev
	@$(PYTEST) -m soak --timeout=7200 tests

migrations: .venv/.dev
	@$(PYTEST) tests/migrations

# Measurements: alone on the machine; each prints its table and keeps it as JSON with commit and machine.
BRANCHES ?= 300

# PART="telling" first, then the others by name, each at most half an hour; without PART all that is not measured yet.
bench-planning: .venv/.dev
	@$(BIN)/python -m tests.benchmarks.planning.run $(if $(PART),--part $(PART)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES)) \
	  --out docs/bench/planning.json

bench-growth: .venv/.dev
	@$(BIN)/python -m tests.benchmarks.planning.growth --out docs/bench/growth.json

bench-replan: .venv/.dev
	@$(BIN)/python -m tests.benchmarks.planning.replan --out docs/bench/replan.json

bench-branches: .venv/.dev
	@BRANCHES=$(BRANCHES) $(BIN)/python -m tests.benchmarks.branches

bench-travel: .venv/.dev
	@$(BIN)/python -m tests.benchmarks.travel

bench-evidence: .venv/.dev
	@$(BIN)/python -m tests.benchmarks.evidence.run --out docs/bench/evidence.json

bench-cash: .venv/.dev
	@$(BIN)/python -m tests.benchmarks.cash.run

messages: .venv/.dev
	@$(BIN)/python -m tests.support.messages

# Pins every dependency with its hashes; neither file names an index. What runs is pinned as what was tested.
locks: .venv/.dev
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --all-extras --group dev pyproject.toml -o .ci/requirements-dev.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --all-extras -c .ci/requirements-dev.lock pyproject.toml -o .ci/requirements.lock
	@echo 'hatchling' | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -c .ci/requirements-dev.lock - -o .ci/build.lock

clean:
	@rm -rf .venv var build dist
