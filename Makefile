# `make demo` and `make test` do everything on a fresh machine; `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Passed to pip, for instance: make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
# Without bytecode, of which most would be of modules that nothing imports: Python makes it of those that something does,
# and keeps it, also where it does not in general, since tests start many programs.
export PYTHONDONTWRITEBYTECODE :=
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --no-compile $(PIP_FLAGS)
# A broken link, reference or page outside the navigation is an error; with --quiet mkdocs would not count it.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: help demo test test-slow faults browser chromium check lint types generated audit format docs js golden reproduce sample46 train-all fuzz bench bench-quick bench-accuracy clean

help:
	@echo "make demo                  make the environment, train on drawings, recognise some"
	@echo "make test                  install what tests need, check, run the tests"
	@echo "make test-slow             the tests that train on real drawings for minutes"
	@echo "make faults                kill prepare, train, publish and report 200 times, and look at what is left"
	@echo "make check                 lint, format, types, documents fresh and their links whole"
	@echo "make audit                 known security holes of the packages in use, by PyPI's list of today"
	@echo "make format                apply the formatter"
	@echo "make docs                  write the generated documents, run the notebooks, and build the site in site/"
	@echo "make js                    build the npm package in js/ and the page's copy of it (Node 20)"
	@echo "make golden                write the golden files again, after a change that is meant"
	@echo "make reproduce DATA=DIR    the 2020 document's three configurations at its full counts, on official files"
	@echo "make sample46 DATA=DIR     the table of six models on the 46 categories of the sample"
	@echo "make train-all DATA=DIR [TEACHERS=DIR]  train the models in lstm/ on your drawings and publish them (hours to days)"
	@echo "make fuzz                  damaged input for every reader (hours; N=1000000 N_SLOW=50000 inputs)"
	@echo "make bench DATA=DIR SIMPLIFIED=DIR RAW=DIR  speed and memory, into benchmarks/RESULTS.md"
	@echo "make bench-quick DATA=DIR SIMPLIFIED=DIR  the main ratios in two minutes, beside the last ones; RAW=DIR, WRITE=1 keeps them"
	@echo "make bench-accuracy DATA=DIR  accuracy by default beside plain nn.LSTM, and time to the accuracy of a common baseline"
	@echo "make clean                 remove the environment and what the demo made"

# The marker's name tells which extras the environment has; it is made anew when pyproject.toml changes.
$(BIN)/.torch: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "quickstroke needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[torch]'
	@touch $@

$(BIN)/.dev: pyproject.toml $(BIN)/.torch
	$(PIP) -e '.[all,dev]'
	@touch $@

demo: $(BIN)/.torch
	$(BIN)/quickstroke demo --into demo

# Four processes for two cores, since many tests wait, each with whole files, so that what a file sets up is set up once.
# Sets have one order each time.
PYTEST := PYTHONHASHSEED=0 $(BIN)/python -m pytest

test:
	@$(MAKE) --no-print-directory -j 2 browser
	@$(MAKE) --no-print-directory -j 2 check
	$(PYTEST) -m "not slow" -n 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-slow: $(BIN)/.dev browser
	$(PYTEST) -m slow

faults: $(BIN)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults.py --kills 200

browser: $(BIN)/.dev chromium

# The page is tested in Chromium, best in its headless shell, which draws no window around it and takes a quarter less
# time. Where neither is there and none can be installed, those tests say so and are skipped. So are those that build
# the npm package anew where there is no Node or nothing in js/node_modules (`make js`).
APT := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq
chromium:
	@command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || test -n "$$QUICKSTROKE_CHROMIUM" || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	    { $(APT) chromium-headless-shell >/dev/null 2>&1 || $(APT) chromium >/dev/null; }; } || \
	  echo "no Chromium here: install it, or set QUICKSTROKE_CHROMIUM, to test the drawing page"

check: types lint generated

types: $(BIN)/.dev
	$(BIN)/mypy

lint: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

generated: $(BIN)/.dev
	$(BIN)/python docs/generate.py --check
	$(MKDOCS) --site-dir build/site

audit: $(BIN)/.dev
	$(BIN)/python fuzz/audit.py

format: $(BIN)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(BIN)/.dev
	$(BIN)/python docs/generate.py
	$(MKDOCS)
	$(BIN)/python docs/notebooks.py site/notebooks

# The page's copy is committed: only who changes js/src needs this.
js:
	cd js && npm ci --no-audit --no-fund && npm run build

golden: $(BIN)/.dev
	$(BIN)/python tests/data/test_points.py
	$(BIN)/python tests/training/test_loop.py
	$(BIN)/python tests/page/test_page_preprocessing.py

clean:
	rm -rf $(VENV) demo build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis

# --- Experiments: each writes a results document beside its runs -----------------------------------------------------

RUNS ?= runs
RECIPE ?= 2020
N_EPOCHS ?= 10
DOCUMENT_MODELS := simple_lay1_sz64 simple_lay1_sz256 simple_lay2_sz64
FULL_COUNTS := --n-train 20000 --n-val 4000 --n-test 4000 --n-test-reserved 20000

reproduce: $(BIN)/.dev
	@test -n "$(DATA)" || { echo "give DATA=DIR, a folder of official files of the 100 categories"; exit 2; }
	test -d $(RUNS)/reproduce/data || \
	  $(BIN)/quickstroke prepare $(DATA) --into $(RUNS)/reproduce/data --classes classes2020 $(FULL_COUNTS)
	set -e; for name in $(DOCUMENT_MODELS); do \
	  $(BIN)/quickstroke train $$name --data $(RUNS)/reproduce/data --into $(RUNS)/reproduce/$(RECIPE)/$$name \
	    --recipe $(RECIPE) --n-epochs $(N_EPOCHS) $(FULL_COUNTS) --resume; \
	done
	$(BIN)/quickstroke report $(DOCUMENT_MODELS:%=$(RUNS)/reproduce/$(RECIPE)/%) --into $(RUNS)/reproduce/$(RECIPE)/results.md

SAMPLE_MODELS := $(DOCUMENT_MODELS) lstm_cv1_128_5_lay1_sz64 bilstm_cv1_64_5_cv2_128_3_lay1_sz128 bilstm_lay1_sz128

sample46: $(BIN)/.dev
	@test -n "$(DATA)" || { echo "give DATA=DIR, the folder of the sample's binary files"; exit 2; }
	test -d $(RUNS)/sample46/data || \
	  $(BIN)/quickstroke prepare $(DATA) --into $(RUNS)/sample46/data --classes benchmarks/sample46.txt \
	    --n-train 420 --n-val 80 --n-test 0
	set -e; for name in $(SAMPLE_MODELS); do \
	  $(BIN)/quickstroke train $$name --data $(RUNS)/sample46/data --into $(RUNS)/sample46/2020/$$name \
	    --recipe 2020 --n-epochs 5 --resume; \
	  $(BIN)/quickstroke train $$name --data $(RUNS)/sample46/data --into $(RUNS)/sample46/default/$$name \
	    --resume; \
	done
	$(BIN)/quickstroke report $(SAMPLE_MODELS:%=$(RUNS)/sample46/2020/%) $(SAMPLE_MODELS:%=$(RUNS)/sample46/default/%) \
	  --into $(RUNS)/sample46/results.md

# The models in lstm/, by one recipe; INTO=DIR publishes them elsewhere. docs/howto/everything.md says what it takes.
INTO ?= lstm
train-all: $(BIN)/.dev
	@test -n "$(DATA)" || { echo "give DATA=DIR, official files of all words or a prepared dataset"; exit 2; }
	mkdir -p $(RUNS)/all $(INTO)
	cd $(RUNS)/all && PATH="$(abspath $(BIN)):$$PATH" \
	  $(abspath lstm/train.sh) $(abspath $(DATA)) $(abspath $(INTO)) $(abspath $(TEACHERS))

# --- Fuzzing: each target as plain Python by coverage (Linux, where atheris is), and compiled -------------------------

N ?= 1000000
N_SLOW ?= 50000

# The last line of each run is JSON; inputs of findings are left in findings/.
fuzz: $(BIN)/.dev
	set -e; names=$$(cd fuzz && $(abspath $(BIN))/python -c "import fuzz; print(*fuzz.TARGETS)"); for target in $$names; do \
	  case $$target in binary|ndjson) n=$(N);; *) n=$(N_SLOW);; esac; \
	  ! $(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python fuzz/fuzz.py $$target --n $$n; \
	  $(BIN)/python fuzz/fuzz.py $$target --n $$n --compiled; \
	done

# --- Benchmarks: both write benchmarks/RESULTS.md, each its own rows of it --------------------------------------------

bench: $(BIN)/.dev
	@test -n "$(DATA)" -a -n "$(SIMPLIFIED)" -a -n "$(RAW)" || { echo "give DATA=DIR, official binary files," \
	  "SIMPLIFIED=DIR and RAW=DIR, official ndjson files"; exit 2; }
	$(BIN)/python benchmarks/results.py $(DATA) --simplified $(SIMPLIFIED) --raw $(RAW) \
	  --parts start simplified raw csv npz reading memory training evaluating guessing serving

bench-quick: $(BIN)/.dev
	@test -n "$(DATA)" -a -n "$(SIMPLIFIED)" || \
	  { echo "give DATA=DIR, official binary files, and SIMPLIFIED=DIR, official ndjson files"; exit 2; }
	$(BIN)/python benchmarks/quick.py $(DATA) $(SIMPLIFIED) $(RAW) $(if $(WRITE),--write)

bench-accuracy: $(BIN)/.dev
	@test -n "$(DATA)" || { echo "give DATA=DIR, a folder of official binary files"; exit 2; }
	$(BIN)/python benchmarks/results.py $(DATA) --parts accuracy time
