# make run      notebooks 1 to 4 on the built-in data, and runs/summary.md  (DATA=folder PROFILE=laptop SEED=0
#               NAMES="02_noisy_train outlook/10_trust" PARAMETERS="-p noise_std 3000")
# make test     unit tests, the notebooks in the tiny profile, lint
# make lab      JupyterLab on the notebooks
# make publish  make the runs of data/published (three hours), and execute the notebooks in place with three seeds
# make bench    the measurements of tests/bench/RESULTS.md                  (DATA=folder of real slices)
# make prove    the heavy proofs, outside CI
# CPU only, on Linux: add TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
PROFILE ?= laptop
SEED ?= 0
BIN := .venv/bin
NAMES := $(patsubst notebooks/%.ipynb,%,$(wildcard notebooks/*.ipynb))
OUTLOOK := $(patsubst notebooks/%.ipynb,%,$(wildcard notebooks/outlook/*.ipynb))
OUT := runs/notebooks/$(PROFILE)-seed$(SEED)$(if $(DATA),-$(notdir $(abspath $(DATA)))-$(shell echo $(abspath $(DATA)) | cksum | cut -d' ' -f1))$(if $(PARAMETERS),$(shell echo "$(PARAMETERS)" | tr -cs '[:alnum:].\n' -))

.PHONY: run test chromium lab publish bench prove
.NOTPARALLEL:
.DELETE_ON_ERROR:

run: $(NAMES:%=$(OUT)/%.ipynb)
	$(BIN)/python -m xraylib report

$(OUT)/%.ipynb: notebooks/%.ipynb $(shell find xraylib -name '*.py') | .venv/ready
	@mkdir -p $(@D)
	@echo "== $* ($(PROFILE), seed $(SEED))"
	$(BIN)/papermill --no-progress-bar --stdout-file /dev/stdout --stderr-file /dev/stderr $< $(@:.ipynb=.part.ipynb) \
	    -r profile $(PROFILE) -p seed $(SEED) -r data_dir "$(abspath $(DATA))" -p reuse False $(PARAMETERS)
	@mv $(@:.ipynb=.part.ipynb) $@

.venv/ready: pyproject.toml tests/no-deps.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[notebooks,test,cluster]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/no-deps.txt
	touch $@

# A process a core, of one thread each: more threads than cores wait for each other at every step.
test: export OMP_NUM_THREADS = 1
test: .venv/ready chromium
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n auto --dist worksteal
	$(BIN)/python tests/tiny.py build/nbval
	XRAYLIB_HOME=$(CURDIR)/build $(BIN)/python -m pytest -n auto --dist loadfile --nbval-lax build/nbval

chromium: .venv/ready  # for the tests of the sliders
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	{ command -v apt-get >/dev/null && [ $$(id -u) = 0 ] && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	$(BIN)/playwright install --with-deps chromium

lab: .venv/ready
	$(BIN)/jupyter lab notebooks

publish: .venv/ready
	$(BIN)/python tests/publish.py
	for name in $(NAMES) $(OUTLOOK); do \
	    XRAYLIB_SEEDS=3 TQDM_DISABLE=1 $(BIN)/jupyter nbconvert --execute --inplace \
	    --ExecutePreprocessor.store_widget_state=False notebooks/$$name.ipynb || exit 1; done

bench: .venv/ready
	for name in start steps sliders sweeps; do $(BIN)/python tests/bench/$$name.py || exit 1; done
	$(if $(DATA),for part in precision most five; do $(BIN)/python tests/bench/time_to_dice.py $$part $(DATA) || exit 1; done)

prove: .venv/ready
	$(BIN)/python tests/prove/mutated.py
	$(BIN)/python tests/prove/volumes.py
	$(BIN)/python tests/prove/precisions.py
	for fault in kill disk; do $(BIN)/python tests/prove/faults.py $$fault || exit 1; done
	for place in colab binder lowest newest; do $(BIN)/python tests/prove/elsewhere.py $$place || exit 1; done
	$(BIN)/python tests/prove/realism.py data/built-in/v2-500x501-seed0 $(if $(DATA),--real $(DATA))
