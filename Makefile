# Two commands do everything on a fresh machine: `make demo` and `make test`.
# `make test-more` takes what is heavy besides, and sets itself up too.
# Debian's python3 (3.11+), git and make are all that must be there.
PYTHON ?= python3
VENV := .venv
ROUNDS ?= 1
CHAOS_STORIES ?= 1
# Kinds of state, and the steps of one story over each: some 15 s.
CHAOS := local git s3 postgres pgbouncer
local_STEPS := 50
git_STEPS := 10
s3_STEPS := 14
postgres_STEPS := 14
pgbouncer_STEPS := 14
PYTHONS ?= newest
# Where the versions of Python differ most: loops and streams, files, models.
ROOMS ?= $(if $(filter all,$(PYTHONS)),,tests/applying tests/state/local tests/stores/layout)
BIN := $(VENV)/bin
DEBIAN_PACKAGES := python3-venv docker-registry skopeo umoci time bash zsh fish
MORE_PACKAGES := postgresql pgbouncer

QUICK := not integration and not slow and not heavy
MORE := heavy and not azure or hypothesis and not integration

.PHONY: demo test test-more quick check setup lock packages more-packages bench bench-memory bench-faults bench-postgres bench-shared clean

demo: setup
	examples/quickstart/run.sh $(BIN)

test: packages setup
	$(BIN)/python -m pytest -n auto -m "not heavy" --cov --cov-report=
	$(BIN)/python -m tests.support.covered

# Servers that take a while to install, twice as many examples of every property, stories that
# the suite does not tell (CHAOS_STORIES over each kind of state), another Python (PYTHONS=all: every
# one that is found).
test-more: more-packages setup
	$(BIN)/python -m pytest -n auto -m "$(MORE)" --hypothesis-profile=more
	@if command -v npm >/dev/null && $(MAKE) --no-print-directory azurite; \
		then $(BIN)/python -m pytest -n auto -m azure; \
		else echo "Azurite cannot be had: states in Azure's Blob Storage were not tried"; fi
	$(MAKE) --no-print-directory --jobs=2 --output-sync $(CHAOS:%=chaos-%)
	PYTHONS=$(PYTHONS) .ci/pythons $(ROOMS)

# Whoever waits for a lease leaves a core idle: two kinds are told at once.
chaos-%:
	$(BIN)/python -m tests.integration.chaos --stories $(CHAOS_STORIES) --seed 1000 \
		--state $* --steps $($*_STEPS)

# The inner loop: no real registry, no other tool, nothing that takes long.
quick: setup
	$(BIN)/python -m pytest -n auto -m "$(QUICK)"

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: packages setup
	$(BIN)/python -m tests.benchmarks.run --rounds $(ROUNDS)

bench-memory: packages setup
	$(BIN)/python -m tests.benchmarks.memory

bench-faults: packages setup
	$(BIN)/python -m tests.benchmarks.faults

bench-postgres: more-packages setup
	$(BIN)/python -m tests.benchmarks.postgres

bench-shared: more-packages setup
	$(BIN)/python -m tests.benchmarks.shared_state

# One stamp file, so that a second `make` starts at once.
setup: $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "imgmigrate needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory venv-package
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable . --group dev
	@touch $@

# The newest versions that pyproject.toml allows, for every Python and system at once.
lock:
	@[ -x .venvs/lock/bin/uv ] || { $(PYTHON) -m venv .venvs/lock && \
		.venvs/lock/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"; }
	.venvs/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
		--all-extras --group dev --no-annotate --custom-compile-command "make lock" \
		--output-file constraints.txt pyproject.toml

# Microsoft's imitation of Azure's Blob Storage, for the tests that are marked heavy.
azurite: .venvs/azurite/node_modules/.bin/azurite-blob

.venvs/azurite/node_modules/.bin/azurite-blob:
	@mkdir -p .venvs/azurite
	npm install --silent --no-audit --no-fund --prefix .venvs/azurite azurite@3

.PHONY: azurite venv-package
venv-package:
	@if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq python3-venv; \
	else echo "python3-venv is missing; run: sudo apt-get install -y python3-venv" >&2; exit 1; fi

# The tests use real registries and tools; none of them is ever skipped. Two targets, as `make test
# test-more` makes each of them once.
more-packages: DEBIAN_PACKAGES += $(MORE_PACKAGES)
packages more-packages:
	@missing=; for package in $(DEBIAN_PACKAGES); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q "install ok installed" \
			|| missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
			--no-install-recommends $$missing; \
	else \
		echo "the tests need Debian packages; run: sudo apt-get install -y$$missing" >&2; exit 1; \
	fi

clean:
	rm -rf $(VENV) .venvs .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
