# make run       run notebooks 1 to 4 on the built-in data and write runs/summary.md
#                (DATA=folder PROFILE=laptop SEED=0 NAMES="02_noisy_train outlook/10_trust"
#                PARAMETERS="-p noise_std 3000"; the folder's name may hold spaces)
# make test      lint, types, tests, and all notebooks in the tiny profile
# make install   only set up .venv, which all other commands do by themselves
# make book      build the book: build/book/, with the live page (needs Node.js)
# make site      build the live page: build/site/, and build/site/xray.html in one file (needs Node.js)
# make lab       open JupyterLab on the notebooks
# make publish   train the runs of data/published (three hours), then execute the notebooks in place
# make bench     measure the speeds of tools/bench/RESULTS.md (DATA=folder of real slices)
# make prove     run the heavy proofs that CI leaves out (DATA=folder of real slices)
# make address   set the repository's address in all files (REPOSITORY=owner/name)
# make chromium  download the browser for the tests of the sliders, where the system has none
# make clean     remove build/ and caches; runs/, data/ and .venv/ stay
# On Linux without a GPU: add TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
PROFILE ?= laptop
SEED ?= 0
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
NAMES := $(patsubst notebooks/%.ipynb,%,$(wildcard notebooks/*.ipynb))
OUTLOOK := $(patsubst notebooks/%.ipynb,%,$(wildcard notebooks/outlook/*.ipynb))

# Make cannot hold a path with spaces in a target: recipes read DATA from the environment, and the
# output folder has a name made of the folder's own name and a checksum of its path.
override DATA := $(value DATA)
export DATA
quoted = '$(subst ','\'',$(1))'
slug = $(shell printf %s $(call quoted,$(1)) | tr -cs '[:alnum:]._' -)
data_path := $(shell cd -- $(call quoted,$(DATA)) >/dev/null 2>&1 && pwd || printf %s $(call quoted,$(DATA)))
data_name := $(call slug,$(shell basename -- $(call quoted,$(data_path))))-$(firstword $(shell printf %s $(call quoted,$(data_path)) | cksum))
OUT := runs/notebooks/$(PROFILE)-seed$(SEED)$(if $(DATA),-$(data_name))$(if $(PARAMETERS),$(call slug,$(PARAMETERS)))

SITE := $(wildcard site/*.js site/*.mjs site/*.html site/*.css)

.PHONY: run test install site book lab publish bench prove address browser chromium clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

run: $(NAMES:%=$(OUT)/%.ipynb)
	$(BIN)/python -m xraylib report

$(OUT)/%.ipynb: notebooks/%.ipynb $(shell find xraylib -name '*.py') | .venv/ready
	@mkdir -p $(@D)
	@echo "== $* ($(PROFILE), seed $(SEED))"
	$(BIN)/papermill --no-progress-bar --stdout-file /dev/stdout --stderr-file /dev/stderr $< $(@:.ipynb=.part.ipynb) \
	    -r profile $(PROFILE) -p seed $(SEED) -r data_dir "$$DATA" -p use_published False $(PARAMETERS)
	@mv $(@:.ipynb=.part.ipynb) $@

.venv/ready: pyproject.toml tests/no-deps.txt
	@echo "Installing 2 GB or more into .venv; this takes some minutes."
	$(PYTHON) -m venv .venv
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(PIP) --editable ".[notebooks,test,cluster,export,book]"
	$(PIP) --no-deps --requirement tests/no-deps.txt
	touch $@

# One test process per core, each with one thread: more threads than cores would wait for each other.
test: export OMP_NUM_THREADS = 1
test: .venv/ready browser site
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist worksteal
	$(BIN)/python tools/prepare_notebooks.py build/nbval
	XRAYLIB_HOME="$(CURDIR)/build" $(BIN)/python -m pytest -n auto --dist loadfile --nbval-lax build/nbval

install: .venv/ready

book: .venv/ready site
	$(BIN)/python tools/build_book.py

site: build/site/ready

site/node_modules/ready: site/package.json site/package-lock.json | .venv/ready
	@$(BIN)/python tools/check_node.py
	cd site && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

build/site-assets/facts.json: $(wildcard site/*.py) $(shell find xraylib data/published -type f -name '*.*' \
    -not -name '*.pyc') | .venv/ready
	$(BIN)/python site/make_assets.py build/site-assets

build/site/ready: $(SITE) build/site-assets/facts.json site/node_modules/ready
	node site/build.mjs build/site-assets build/site
	@touch $@

browser: .venv/ready
	@$(BIN)/python tools/check_browser.py

chromium: .venv/ready
	$(BIN)/playwright install chromium

lab: .venv/ready
	$(BIN)/jupyter lab notebooks

publish: .venv/ready
	$(BIN)/python tools/publish.py
	for name in $(NAMES) $(OUTLOOK); do \
	    XRAYLIB_SEEDS=3 TQDM_DISABLE=1 $(BIN)/jupyter nbconvert --execute --inplace \
	    --ExecutePreprocessor.store_widget_state=False --ExecutePreprocessor.record_timing=False \
	    notebooks/$$name.ipynb || exit 1; done

bench: .venv/ready site
	for name in start steps threads sliders sweeps site; do $(BIN)/python tools/bench/$$name.py || exit 1; done
	$(if $(DATA),for part in precision most five; do \
	    $(BIN)/python tools/bench/time_to_dice.py $$part "$$DATA" || exit 1; done)

prove: .venv/ready browser site
	$(BIN)/python -m pytest -m heavy
	for name in mutated volumes precisions bioimage engines; do $(BIN)/python tools/prove/$$name.py || exit 1; done
	for fault in kill disk; do $(BIN)/python tools/prove/faults.py $$fault || exit 1; done
	for place in colab binder lowest newest; do $(BIN)/python tools/prove/elsewhere.py $$place || exit 1; done
	$(BIN)/python tools/prove/realism.py data/built-in/v2-500x501-seed0 $(if $(DATA),--real "$$DATA")

address:
	$(PYTHON) tools/address.py $(REPOSITORY)

clean:
	rm -rf build site/node_modules .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find xraylib tools tests -name __pycache__ -prune -exec rm -rf {} +
