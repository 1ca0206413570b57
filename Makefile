# Everything a newcomer types. Nothing but Python 3.11+, make and a C compiler is needed beforehand.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
STAMP  := $(VENV)/.installed
EXTRAS := server,cluster,train
MINUTES ?= 5
JOBS   ?= 3

# Without bytecode each process that a test starts would compile its imports again: 3.3 instead of 1.3 s for Ray's.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo train test test-all docker-test lint format hooks fuzz man lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(STAMP) ## make .venv and install client, server, training and test tools into it

# uv is several times faster than pip, so it goes first; pip alone does the same. uv does not read pip's
# find-links (where an offline machine keeps its wheels), so they are passed on.
FIND_LINKS = links=$${PIP_FIND_LINKS:-$$($(PY) -m pip config get global.find-links 2>/dev/null || true)}; \
	if [ -n "$$links" ] && [ -z "$${UV_FIND_LINKS:-}" ]; then \
	  UV_FIND_LINKS=$$(echo $$links | tr ' ' ','); export UV_FIND_LINKS; fi

# pip knows dependency groups from 25.1 on only, so it gets the lines of a group as a requirements file.
GROUP_LINES = import sys, tomllib; \
	groups = tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]; \
	print(*(line for name in sys.argv[1:] for line in groups[name]), sep="\n")

# $(call install,GROUPS,MORE): install dependency groups, and what MORE says, within the locked versions.
define install
$(FIND_LINKS); \
	{ $(PY) -m pip install -q 'uv>=0.8,<1' && \
	  $(BIN)/uv pip install -q --python $(PY) -c requirements.lock $(2) $(addprefix --group ,$(1)); } \
	|| { echo "setup: uv could not do it, trying pip"; \
	     $(PY) -c '$(GROUP_LINES)' $(1) >$(VENV)/groups.txt && \
	     $(PY) -m pip install -q -c requirements.lock $(2) -r $(VENV)/groups.txt; }
endef

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "setup: Python 3.11 or newer is needed; name one with 'make PYTHON=...'" >&2; exit 1; }
	@test -x $(PY) || { echo "setup: making $(VENV)"; $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; }
	@echo "setup: installing the project with its extras $(EXTRAS) and the test tools into $(VENV)"
	@$(call install,test bench,-e '.[$(EXTRAS)]')
	@touch $@
	@echo "setup: done; $(BIN)/bbmr-client and $(BIN)/bbmr-server are ready"

demo: $(STAMP) ## encode the sample photo, reconstruct it over HTTP, measure it (writes demo-output/)
	$(BIN)/bbmr-client demo

# On CPUs: threads that wait give way to other work instead of spinning, and glibc keeps the memory of one step for the next.
TRAIN_ENVIRONMENT := OMP_WAIT_POLICY=passive MALLOC_MMAP_THRESHOLD_=2000000000 MALLOC_TRIM_THRESHOLD_=8000000000
MODEL ?= light
RUN ?= runs/$(MODEL)
train: MINUTES = 60
train: $(STAMP) ## MODEL=light PHOTOS=folder [MINUTES=60] [RUN=runs/light]: train, or go on, and export
	@test -n "$(PHOTOS)" || { echo "train: name a folder of photographs with PHOTOS=..." >&2; exit 2; }
	$(TRAIN_ENVIRONMENT) $(BIN)/bbmr-train "$(PHOTOS)" --config "$(MODEL)" --run "$(RUN)" --minutes $(MINUTES)

# JOBS workers share the tests. A test that starts processes may lose a race on a busy machine: it is run once more and
# listed ("R"). tests/conftest.py has the markers.
PYTEST := $(PY) -m pytest --numprocesses $(JOBS) --dist worksteal --reruns 1 -r fER --durations 20

test: lint ## set up, lint, and run the tests but for cluster, soak and benchmarks (JOBS=3 at a time)
	$(PYTEST) -m "not cluster and not benchmark" --ignore tests/cluster --ignore tests/benchmarks

test-all: lint ## set up, lint, and run every test with coverage and more random examples
	$(PYTEST) --hypothesis-profile ci --cov --cov-report=term

docker-test: $(STAMP) ## build the images without an engine, run them, look into them (root on Debian; minutes)
	$(PY) -m pytest -v -o python_files='check_*.py' --timeout 3600 tests/docker

lint: $(STAMP) ## ruff, mypy, import-linter, hadolint, compose schema
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml docker/public.yml

format: $(STAMP) ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: $(STAMP) ## let git run the checks of `make lint` before each commit
	@$(call install,dev,)
	$(BIN)/pre-commit install

fuzz: $(STAMP) ## MINUTES=5 of coverage-guided fuzzing: the container reader, and decoding to the preview
	@$(PY) -c 'import atheris' 2>/dev/null || { $(call install,fuzz,); }
	$(PY) -m tests.fuzz.run --minutes $(MINUTES)

man: $(STAMP) ## write docs/man/bbmr-client.1 from the parser
	$(PY) docs/man/make_man_page.py

lock: $(STAMP) ## write what is installed in .venv to requirements.lock
	@{ echo "# The versions that the tests were run with; 'make setup' uses them as constraints."; \
	   echo "# torch is left to the range in pyproject.toml: its builds carry local version labels."; \
	   $(PY) -m pip freeze --exclude-editable | grep -viE '^(torch|uv|pre-commit|nvidia-[a-z0-9-]+|triton)(==| @)'; \
	 } | tee requirements.lock

clean: ## remove .venv, caches and demo-output
	rm -rf $(VENV) demo-output .coverage htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
