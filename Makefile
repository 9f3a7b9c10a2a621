# Everything runs in .venv, made once from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
# `make faults TABLE=write` writes what it found into docs/reliability.md.
TABLE ?= print

# The tools that make and audit requirements.lock are apart from what they look at.
TOOLS := build/tools

# So is what builds the documentation site.
DOCS := build/docs

.PHONY: setup study test test-slow test-long faults lint bench evidence results gpu-check docs pictures format lock audit clean

setup: .venv/.ready

# The EfficientNet extractor is an optional extra, not installed here; the others are, for the tests.
.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	@echo "Installing $$(grep -c == requirements.lock) packages into .venv: 7 GB, five to eight minutes on two cores."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch .venv/.ready

study: setup
	$(BIN)/python studies/run_tau_sweep.py

# The unit tests, their files side by side.
test: setup
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --durations 15 tests/unit

# What starts a cluster or a browser, one after another.
test-slow: setup
	$(BIN)/python -m pytest -m "not long" --durations 15 tests/integration tests/faults tests/browser

# The commands of the tutorial and of the how-to pages, typed from top to bottom.
test-long: setup
	$(BIN)/python -m pytest -m long --durations 15 tests/integration

# Every fault of docs/reliability.md, injected for real, and their table: over an hour on two busy cores.
faults: setup
	$(BIN)/python -m pytest -m faults --fault-table $(TABLE) tests/unit tests/integration tests/faults

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

# One line a benchmark; each prints its table and says what it could not measure here.
bench: setup
	mkdir -p benchmarks/results
	$(BIN)/python -m benchmarks.train_step
	$(BIN)/python -m benchmarks.train_step --agreement
	$(BIN)/python -m benchmarks.sampling
	$(BIN)/python -m benchmarks.sampling_quality
	$(BIN)/python -m benchmarks.study_overhead
	$(BIN)/python -m benchmarks.metrics --no-sqrtm --report-samples 2000 --precision-recall-images 5000
	$(BIN)/python -m benchmarks.interval_coverage --json benchmarks/results/interval_coverage.json
	$(BIN)/python -m benchmarks.sampling_search --out benchmarks/results/sampling_search.json
	$(BIN)/python -m benchmarks.search_efficiency --json benchmarks/results/search_efficiency.json
	$(BIN)/python -m benchmarks.confirmation_power --json benchmarks/results/confirmation_power.json
	$(BIN)/python -m benchmarks.study_scale --trials 50 --window 20 --json benchmarks/results/study_scale.json

# Trains what RESULTS.md lacks, for hours; a stopped run goes on where it was.
evidence: setup
	$(BIN)/python -m benchmarks.evidence

# RESULTS.md's tables and figures, from the tables of the evidence; nothing is trained.
results: setup
	$(BIN)/python -m benchmarks.evidence.results

# What runs on a GPU, checked and timed in ten minutes, without `setup`: a bare host with torch will do.
# STUDY_IMAGES=DIR holds a folder of images for each class, for its study.
gpu-check:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m benchmarks.gpu_check $(if $(STUDY_IMAGES),--image-folder $(STUDY_IMAGES))

# The documentation site, build/site/index.html; a link that leads nowhere is an error.
docs: setup $(DOCS)/.ready
	$(BIN)/python docs/generate/reference.py build/reference
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet

# The pictures of README.md and of the tutorial, from the report of a finished study; chromium is needed.
STUDY ?= runs/tau
pictures: setup
	$(BIN)/python -m docs.generate.pictures $(STUDY)

$(DOCS)/.ready: docs/requirements.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement docs/requirements.txt
	touch $@

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Versions and hashes of all packages. Versions that are there stay; others by, for example,
# make lock UPGRADE="--upgrade-package ray".
lock: $(TOOLS)/.ready
	$(TOOLS)/bin/uv pip compile pyproject.toml --output-file requirements.lock --quiet \
	  --extra dashboard --extra diffusers --extra notebooks --extra postgresql --extra dev \
	  --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" $(UPGRADE)

# Known vulnerabilities of the locked versions, as PyPI reports them.
audit: $(TOOLS)/.ready
	$(TOOLS)/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip

$(TOOLS)/.ready:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv pip-audit
	touch $@

clean:
	rm -rf .venv build *.egg-info
