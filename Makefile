# QueryShift. `make help` lists the targets; each sets up what it needs and is quiet when done.

ifneq ($(realpath $(lastword $(MAKEFILE_LIST))),$(realpath Makefile))
$(error this Makefile works in its own folder: make -C $(dir $(lastword $(MAKEFILE_LIST))) \
  $(MAKECMDGOALS), and paths such as DATA start from there))
endif

.DEFAULT_GOAL := help
SHELL := /bin/sh

# What each target takes. A variable that make is given and that is not among them is refused;
# those of ENVIRONMENT are for the programs that make starts.
RUN_TAKES := CONFIG METHOD SEED SEVERITY WORKERS LOADER_WORKERS THREADS LIMIT DEVICE IF_EXISTS EXECUTOR ADDRESS \
  SLURM SHARD TIME_LIMIT PRECISION COMPILE CACHE LOG QUIET
OWN_TAKES := DATA_COLUMNS GALLERY QRELS CLEAN SPLIT UNLABELLED
BENCH_TAKES := $(RUN_TAKES) SHIFT SUITE BENCH MODEL PRETRAINED DATA TRANSFORM PRESET READY_MADE \
  STREAM BATCH_SIZE OUT ALLOW_MISSING NO_FIGURES STREAM_OPTIONS SHIFT_OPTIONS OPTIONS $(OWN_TAKES)
TAKES_bench := $(BENCH_TAKES)
TAKES_suite := $(filter-out STREAM STREAM_OPTIONS READY_MADE $(OWN_TAKES),$(BENCH_TAKES))
TAKES_grid := $(filter-out $(OWN_TAKES),$(BENCH_TAKES)) GRID
TAKES_plan := $(TAKES_grid)
TAKES_leaderboard := $(RUN_TAKES)
TAKES_claims := SEED WORKERS LIMIT THREADS QUIET
TAKES_tune := METHOD WORKERS
TAKES_test := PYTEST_FLAGS TEST_WORKERS ALL
TAKES_perf := PYTEST_FLAGS
TAKES_coverage := PYTEST_FLAGS TEST_WORKERS
TAKES_check := $(TAKES_test)
ALWAYS_TAKEN := VENV PYTHON PIP_FLAGS SHELL MAKEFLAGS
ENVIRONMENT := OMP_% MKL_% KMP_% ONEDNN_% CUDA_% TORCH% PYTORCH_% HF_% TRANSFORMERS_% \
  QUERYSHIFT_% PYTHON% PYTEST_% PIP_% RAY_% XDG_% MPL% MALLOC_% LC_% LANG TERM COLUMNS LINES \
  NO_COLOR FORCE_COLOR HOME TMPDIR
TEXTS := $(sort $(BENCH_TAKES) GRID PYTEST_FLAGS TEST_WORKERS VENV PYTHON PIP_FLAGS)

define newline


endef
# A value as one quoted word: nothing in it is run by the shell.
quote = '$(subst ','\'',$(1))'

GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
GOALS := $(or $(MAKECMDGOALS),help)
nearest = $(shell python3 -c 'import difflib, sys; known = {w.lower(): w for w in sys.argv[2:]}; \
  print(*map(known.get, difflib.get_close_matches(sys.argv[1].lower(), known, 1)))' \
  $(call quote,$(1)) $(2) 2>/dev/null)
TARGETS := $(shell sed -n 's/^.PHONY: //p' Makefile)
STRANGE := $(firstword $(filter-out $(TARGETS) .%,$(GOALS)))
ifneq ($(STRANGE),)
$(error make has no target '$(STRANGE)'$(addprefix ; did you mean ,$(call nearest,$(STRANGE),$(TARGETS))) \
  (make help))
endif
TAKEN := $(ALWAYS_TAKEN) $(foreach goal,$(GOALS),$(TAKES_$(goal)))
SURPLUS := $(firstword $(filter-out $(TAKEN) $(ENVIRONMENT),$(GIVEN)))
ifneq ($(SURPLUS),)
$(error 'make $(GOALS)' does not take $(SURPLUS)$(addprefix ; did you mean ,$(call nearest,$(SURPLUS),$(TAKEN))) (make help \
  lists what targets take; a variable for another program stands before make: NAME=value make ...))
endif

# Other programs export names such as DATA and SEED too: what comes from there is said.
FROM_SHELL := $(strip $(foreach name,$(filter-out $(ALWAYS_TAKEN),$(TAKEN)),$(if \
  $(filter environment,$(firstword $(origin $(name)))),$(name))))
$(if $(FROM_SHELL),$(warning from the environment: $(FROM_SHELL) (unset what is not meant)))

# Nothing in a value is expanded by make either: each becomes plain text before anything reads it.
$(foreach name,$(TEXTS),$(if $(filter-out undefined,$(origin $(name))),$(eval \
  override $(name) := $$(subst $$(newline), ,$$(value $(name))))))
VENV ?= .venv
TEST_WORKERS ?= 2
$(foreach sign,; | & < > ( ) : % = ' " ` \ * ? ~,$(if $(findstring $(sign),$(VENV)),$(error \
  VENV is a folder without blanks and signs such as $(sign): $(VENV))))
$(if $(findstring $$,$(VENV))$(word 2,$(VENV)),$(error VENV is a folder without blanks and $$: $(VENV)))
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# After an upgrade of the system's Python it may be another one, which sees none of the packages.
GONE = $(shell if test -e $(STAMP); then $(PY) -c 'import rich' || echo yes; \
  else test ! -L $(PY) || test -x $(PY) || echo yes; fi 2>/dev/null)
$(if $(filter-out help clean,$(GOALS)),$(if $(GONE),$(error $(VENV) has lost its Python or its packages: \
  remove that folder, and make sets it up anew)))

# Adapting allocates and frees the same large blocks on every step. With these two, glibc keeps
# them instead of handing them back to the kernel and clearing them anew: a third less time.
LONG_RUN := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000

# pytest splits this itself, as a shell would, but runs nothing.
PYTEST_ENV = PYTEST_ADDOPTS="$$PYTEST_ADDOPTS "$(call quote,$(PYTEST_FLAGS))

# A flag with its value as one quoted word, and only when the variable is set.
flag = $(if $(strip $($(1))),$(2) $(call quote,$($(1))))
YES := 1 yes Yes YES true True TRUE on On ON
NO := 0 no No NO false False FALSE off Off OFF
switch = $(if $(filter $(YES),$($(1))),$(2),$(if $(filter-out $(NO),$($(1))),$(error \
  $(1): expected yes or no, not $($(1)))))
SWITCHES := ALL ALLOW_MISSING COMPILE NO_FIGURES QUIET UNLABELLED
$(foreach name,$(filter $(SWITCHES),$(GIVEN)),$(if $(call switch,$(name)),))

RUN_FLAGS = $(call flag,CONFIG,--config) $(call flag,METHOD,--method) $(call flag,SEED,--seed) \
  $(call flag,SEVERITY,--severity) $(call flag,WORKERS,--workers) $(call flag,LOADER_WORKERS,--loader-workers) $(call flag,THREADS,--threads) \
  $(call flag,LIMIT,--limit) $(call flag,DEVICE,--device) $(call flag,IF_EXISTS,--if-exists) \
  $(call flag,EXECUTOR,--executor) $(call flag,ADDRESS,--address) $(call flag,SLURM,--slurm) $(call flag,SHARD,--shard) \
  $(call flag,TIME_LIMIT,--time-limit) \
  $(call flag,PRECISION,--precision) $(call switch,COMPILE,--compile) $(call flag,CACHE,--cache) \
  $(call flag,LOG,--log) $(call switch,QUIET,--quiet)
BENCH_FLAGS = $(RUN_FLAGS) $(call flag,SHIFT,--shift) $(call flag,SUITE,--suite) \
  $(call flag,BENCH,--benchmark) $(call flag,MODEL,--model) $(call flag,PRETRAINED,--pretrained) \
  $(call flag,DATA,--data) $(call flag,DATA_COLUMNS,--columns) $(call flag,GALLERY,--gallery) \
  $(call flag,QRELS,--qrels) $(call flag,CLEAN,--clean) $(call flag,SPLIT,--split) $(call switch,UNLABELLED,--unlabelled) \
  $(call flag,TRANSFORM,--transform) $(call flag,PRESET,--preset) \
  $(call flag,READY_MADE,--ready-made) \
  $(call flag,STREAM,--stream) $(call flag,BATCH_SIZE,--batch-size) $(call flag,OUT,--out) \
  $(call switch,ALLOW_MISSING,--allow-missing) $(call switch,NO_FIGURES,--no-figures) \
  $(foreach option,$(STREAM_OPTIONS),--stream-option $(call quote,$(option))) \
  $(foreach option,$(SHIFT_OPTIONS),--shift-option $(call quote,$(option))) \
  $(foreach option,$(OPTIONS),--option $(call quote,$(option)))

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  bench takes METHOD SHIFT SUITE BENCH SEVERITY SEED MODEL PRETRAINED DATA TRANSFORM PRESET"
	@echo "  DATA_COLUMNS GALLERY QRELS CLEAN SPLIT UNLABELLED (own tables)"
	@echo "  OPTIONS SHIFT_OPTIONS READY_MADE STREAM STREAM_OPTIONS BATCH_SIZE LIMIT ALLOW_MISSING DEVICE"
	@echo "  WORKERS LOADER_WORKERS THREADS EXECUTOR ADDRESS SLURM SHARD TIME_LIMIT PRECISION COMPILE CACHE OUT IF_EXISTS LOG NO_FIGURES"
	@echo "  QUIET CONFIG: lists by comma (METHOD=tcr,rest"
	@echo "  SEED=0-2), options by blank (OPTIONS='steps=1 lr=1e-4')"
	@echo "  set-up takes PYTHON=python3.12, VENV=dir and PIP_FLAGS='--index-url ...'"

# uv installs in a third of pip's time. It reads none of pip's settings, so with PIP_FLAGS, and
# wherever uv itself cannot be had or fails, pip does it.
BY_PIP = "$(PY)" -m pip install -q --disable-pip-version-check --no-input \
  $(foreach flag,$(PIP_FLAGS),$(call quote,$(flag)))

.PHONY: setup
setup: $(STAMP) ## virtual environment with the pinned packages (done by the others when needed)
	@:

# make -B, not the makes that it calls in turn.
FORCED := $(if $(filter 0,$(MAKELEVEL)),$(findstring B,$(firstword -$(MAKEFLAGS))))

# An installed torch stays: where there is one, its pins (and those of its CUDA packages) give way
# to what is there, so that a build chosen for the machine is not replaced. A second make waits, at
# a file of its own: uv waits five minutes for the lock of .venv/.lock. The stamp goes first: what
# Ctrl-C leaves half installed is not a folder that has lost its packages.
$(STAMP): pyproject.toml constraints.txt
	@mkdir -p "$(VENV)" && exec 9>"$(VENV)/.making" || exit 1; \
	if command -v flock >/dev/null && ! flock -n 9; then \
	  echo "waiting for another make, which sets up $(VENV)"; flock 9; \
	fi; \
	$(if $(FORCED),,test -e "$@" && test -z "$$(find $^ -newer "$@")" && exit 0;) rm -f "$@"; \
	python=$(call quote,$(PYTHON)); \
	if [ -z "$$python" ]; then \
	  for name in python3.11 python3 python3.12 python3.13; do \
	    if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	      python=$$name; break; \
	    fi; \
	  done; \
	fi; \
	if ! "$(PY)" -m pip --version >/dev/null 2>&1; then \
	  if [ -z "$$python" ]; then \
	    echo "error: no Python of version 3.11 or newer was found; install one, or say which: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	  fi; \
	  if ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	    echo "error: $$python is not Python 3.11 or newer" >&2; exit 1; \
	  fi; \
	  echo "setting up $(VENV) (once; downloads torch; a minute or three)"; \
	  "$$python" -m venv "$(VENV)" || exit 1; \
	fi; \
	installed=$$("$(PY)" -m pip list --format=freeze --disable-pip-version-check 2>/dev/null | grep -E '^(torch|torchvision)==' || true); \
	if [ -n "$$installed" ]; then \
	  { grep -v -E '^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==' constraints.txt; echo "$$installed"; } > "$(VENV)/constraints.txt"; \
	else \
	  cp constraints.txt "$(VENV)/constraints.txt"; \
	fi; \
	$(if $(strip $(PIP_FLAGS)),false,"$(PY)" -c 'import uv' 2>/dev/null || $(BY_PIP) -c constraints.txt uv >/dev/null 2>&1) && \
	"$(PY)" -m uv pip install -q --python "$(PY)" -c "$(VENV)/constraints.txt" -e '.[dev]' 2>"$(VENV)/uv.txt" || \
	$(BY_PIP) -c "$(VENV)/constraints.txt" -e '.[dev]' && \
	touch "$@"

# sentence-transformers brings as much again, and nothing here is tested with it.
PINNED := dev docs agreement blip ray slurm tensorboard text-models wordnet
.PHONY: pins
pins: $(STAMP) ## rewrite constraints.txt: what is pinned stays unless pyproject.toml forbids it (see CONTRIBUTING.md)
	@{ sed -n '/^#/p' constraints.txt; "$(PY)" -m uv pip compile -q pyproject.toml $(PINNED:%=--extra %) --python-version 3.11 \
	  --no-annotate --no-header --no-emit-index-url -c constraints.txt; } > "$(VENV)/pins.txt" && cp "$(VENV)/pins.txt" constraints.txt

.PHONY: bench
bench: $(STAMP) ## run methods under a shift, print the table, draw figures (METHOD=rest SHIFT=gaussian)
	@$(LONG_RUN) "$(PY)" -m benchmark bench $(BENCH_FLAGS)

.PHONY: suite
suite: $(STAMP) ## run methods on all benchmarks of a suite, one table (SUITE=mini METHOD=rest)
	@$(LONG_RUN) "$(PY)" -m benchmark suite $(BENCH_FLAGS)

.PHONY: grid
grid: $(STAMP) ## run the cells of a grid file (GRID=mini, or a path)
	@$(LONG_RUN) "$(PY)" -m benchmark grid $(call quote,$(or $(GRID),mini)) $(BENCH_FLAGS)

.PHONY: plan
plan: $(STAMP) ## what a grid would run, what is done, time and memory (GRID=mini)
	@"$(PY)" -m benchmark plan $(call quote,$(or $(GRID),mini)) $(BENCH_FLAGS)

# A part of it (LIMIT=64, METHOD=tcr) goes elsewhere: results/ and the pages are about the whole.
PART := $(strip $(CONFIG)$(METHOD)$(SEED)$(SEVERITY)$(LIMIT)$(SHARD))
.PHONY: leaderboard
leaderboard: $(STAMP) ## regenerate results/, its figures and what pages say of them (embedded default)
	@$(LONG_RUN) "$(PY)" -m benchmark leaderboard $(RUN_FLAGS) --results results$(if $(PART),/runs/leaderboard-part)
	@$(if $(PART),:,"$(PY)" -m docs.method_tables && "$(PY)" -m docs.sentences)

.PHONY: gain-model
gain-model: $(STAMP) ## fit the expected gain of --unlabelled to results/tidy.csv again
	@"$(PY)" -m docs.gain_model results/tidy.csv
	@"$(PY)" -m docs.sentences

.PHONY: claims
claims: $(STAMP) ## test what REST's abstract and figure claim, with verdicts (docs/claims.md)
	@$(LONG_RUN) "$(PY)" -m benchmark claims $(call flag,SEED,--seed) $(call flag,WORKERS,--workers) \
	  $(call flag,LIMIT,--limit) $(call flag,THREADS,--threads) $(call switch,QUIET,--quiet) \
	  $(if $(SEED)$(LIMIT),,--results results)

.PHONY: tune
tune: $(STAMP) ## choose the methods' options for the embedded default on its validation part
	@$(LONG_RUN) "$(PY)" -m benchmark tune --out benchmark/config/presets/mini.yaml $(call flag,METHOD,--method) $(call flag,WORKERS,--workers)

# Pages link to each other as on a forge, so the site is built from a copy with the same folders.
.PHONY: docs
docs: $(STAMP) ## build the documentation as a site: build/site/docs/index.html
	@"$(PY)" -c 'import material, mkdocstrings' 2>/dev/null || $(BY_PIP) -c "$(VENV)/constraints.txt" -e '.[docs]'
	@rm -rf build/pages && mkdir -p build/pages/results
	@cp -r docs examples README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md CITATION.cff LICENSE build/pages
	@cd results && cp -r figures reported *.md *.csv *.html ../build/pages/results
	@NO_MKDOCS_2_WARNING=1 "$(PY)" -m mkdocs build -q --strict
	@echo "build/site/docs/index.html"

.PHONY: docs-figures
docs-figures: $(STAMP) ## draw the pictures of the docs, write the catalogue
	@"$(PY)" -m docs.figures
	@"$(PY)" -m docs.catalogue

.PHONY: mini-weights
mini-weights: $(STAMP) ## train the weights of the embedded default anew (resumable)
	@$(LONG_RUN) "$(PY)" -m training

# Two processes of one torch thread each: with more, they wait for each other on two cores. Each
# takes half of the tests in a row, so that what a file sets up is set up once, and then helps out.
RUN_TESTS = $(PYTEST_ENV) OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} "$(PY)" -m pytest -q \
  -n $(call quote,$(TEST_WORKERS)) --dist worksteal -p no:benchmark

.PHONY: test
test: $(STAMP) ## run the tests that take under some seconds; ALL=1: every one, as make check does
	@$(RUN_TESTS) $(or $(call switch,ALL, ),-m "not slow")

.PHONY: coverage
coverage: $(STAMP) ## percent of the lines that the quick tests run; by line in build/coverage/index.html
	@mkdir -p build
	@$(RUN_TESTS) -m "not slow" --cov --cov-report=
	@"$(PY)" -m coverage html -q && "$(PY)" -m coverage report --format=total

.PHONY: perf
perf: $(STAMP) ## run the speed tests; print their ratios and list them in docs/performance.md
	@rm -f "$(VENV)/perf.json"
	@status=0; $(PYTEST_ENV) "$(PY)" -m pytest -q tests/perf --benchmark-only --benchmark-columns=min \
	  --benchmark-json="$(VENV)/perf.json" || status=$$?; \
	"$(PY)" -m tests.perf.figures "$(VENV)/perf.json" || exit 1; exit $$status

.PHONY: gpu-check
gpu-check: $(STAMP) ## measure a GPU: speed, waiting, memory, same results (results/gpu.md)
	@"$(PY)" -m tests.perf.gpu_check

.PHONY: format
format: $(STAMP) ## rewrite the code in the common format
	@"$(PY)" -m ruff format -q .
	@"$(PY)" -m ruff check -q --fix-only --select I .

.PHONY: format-check
format-check: $(STAMP)
	@"$(PY)" -m ruff format --check -q . || { echo "not in the common format: run make format" >&2; exit 1; }

.PHONY: lint
lint: $(STAMP) ## look for mistakes (ruff) and for arrows between the rooms that point upwards (import-linter)
	@"$(PY)" -m ruff check -q .
	@"$(VENV)/bin/lint-imports" --no-logo --cache-dir "$(VENV)/.import_linter_cache" >"$(VENV)/arrows.txt" || { cat "$(VENV)/arrows.txt" >&2; exit 1; }

.PHONY: types
types: $(STAMP) ## check the types (mypy)
	@"$(PY)" -m mypy

.PHONY: prose
prose: $(STAMP) ## check that no page of the docs is hard to read
	@"$(PY)" -m docs.reading

# One after the other even under make -j: tests last, so that their closing line is the last line.
.PHONY: check
check: $(STAMP) ## format, lint, types, prose and tests: what CI runs
	@$(MAKE) --no-print-directory format-check
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory prose
	@$(MAKE) --no-print-directory test ALL=1

.PHONY: clean
clean: ## remove caches and build products (not the environment, not results)
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@find . -path "./$(VENV)" -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
