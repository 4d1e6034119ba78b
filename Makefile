# The two main commands are `make quickstart` and `make test`. Both create .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BESIDE := -n auto --maxprocesses 4 --dist loadfile  # one process per core, each test file in one of them

.PHONY: quickstart test test-slow test-all soak python312 test-newest env stream peers easyocr sky lint types docs lock glyphs web web-test clean

quickstart: $(VENV)/ready
	$(BIN)/python -m seqdigits.main --config configs/quickstart.py --workdir runs/quickstart

test: $(VENV)/stream-ready
	$(BIN)/python -m pytest $(BESIDE)

test-slow: $(VENV)/stream-ready  ## only the slow tests
	$(BIN)/python -m pytest $(BESIDE) -m "slow and not soak"

test-all: test test-slow

soak: $(VENV)/stream-ready  ## tests of several minutes, one at a time
	$(BIN)/python -m pytest -m soak

NEWEST := .venv-newest
PYTHON312 ?= $(shell for python in python3.12 ~/.pyenv/versions/3.12.*/bin/python3.12; do \
	$$python -c "" 2>/dev/null && echo $$python && break; done)
NEWEST_TESTS := tests/data/synthetic tests/data/scenes tests/models tests/decoding tests/test_optim.py \
	tests/training/test_train_step.py tests/training/test_loop.py

python312:  ## prints the available Python 3.12
	@echo $(PYTHON312)

test-newest: $(NEWEST)/ready  ## golden hashes, models, decoding and a training run with the JAX of accelerator machines
	$(NEWEST)/bin/python -m pytest $(BESIDE) $(NEWEST_TESTS)

$(NEWEST)/ready: requirements-newest.lock
	@test -n "$(PYTHON312)" || { echo "no Python 3.12 found; name one with: make test-newest PYTHON312=python3.12" >&2; exit 2; }
	$(PYTHON312) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --disable-pip-version-check --progress-bar off -q --require-hashes -r requirements-newest.lock
	@touch $@

env: $(VENV)/ready

stream: $(VENV)/stream-ready  ## TensorFlow and TFDS too, 1.3 GB, for records on disk

$(VENV)/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "seqdigits needs Python 3.11 or later; name one with: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -q --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/stream-ready: $(VENV)/ready requirements-stream.lock
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -q --require-hashes -r requirements-stream.lock
	@touch $@

peers: .venv-peers/ready  ## the environment of the engines that `seqdigits peers` compares with

easyocr: .venv-easyocr/ready  ## EasyOCR, with PyTorch and CUDA 5.7 GB, for `seqdigits peers`

sky: .venv-sky/ready  ## SkyPilot, 460 MB, for launch/sky.yaml

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

docs: .venv-docs/ready  ## builds the guides as a site in site/; a broken link is an error
	.venv-docs/bin/mkdocs build --strict --quiet

.venv-%/ready: requirements-%.lock
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --progress-bar off -q --require-hashes -r $<
	@touch $@

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q
COMPILE := $(LOCK) pyproject.toml --extra dev
lock:  ## regenerates the locks from pyproject.toml, with the same versions (needs uv)
	$(COMPILE) --extra stream -o requirements-stream.lock
	cp requirements-stream.lock requirements.lock
	$(COMPILE) -o requirements.lock
	$(subst 3.11,3.12,$(COMPILE)) --extra newest -o requirements-newest.lock
	$(LOCK) peers/requirements.in -o requirements-peers.lock
	$(LOCK) peers/requirements-easyocr.in -o requirements-easyocr.lock
	$(LOCK) docs/requirements.in -o requirements-docs.lock
	$(LOCK) launch/requirements-sky.in -o requirements-sky.lock

glyphs: $(VENV)/ready  ## redraws seqdigits/data/scenes/glyphs.npz from the packages in fonts/
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -q -r fonts/requirements.txt
	npm install --prefix fonts --ignore-scripts --no-package-lock --no-audit --no-fund --silent
	$(BIN)/seqdigits build-glyphs

web: web/node_modules  ## builds the page of `seqdigits demo` into seqdigits/demo_page/ (needs Node.js 20.12 or later)
	cd web && npm run --silent types && npm run --silent build

CHROMIUM ?= /usr/bin/chromium
web-test: web $(VENV)/ready  ## tests the page: its reading procedure in Node.js, all of it in Chromium (apt install chromium)
	cd web && npm test
	cd web && CHROMIUM=$(CHROMIUM) PYTHON=$(abspath $(BIN))/python npm run test-browser

web/node_modules: web/package-lock.json
	npm ci --prefix web --ignore-scripts --no-audit --no-fund
	@touch $@

clean:
	rm -rf web/node_modules web/build $(VENV) .venv-* build site *.egg-info .pytest_cache .mypy_cache .ruff_cache
