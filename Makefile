# Everything runs in .venv, which is made on first use from requirements.lock. Its modules are compiled then: where Python
# may not write beside them, every command would compile all that it imports.
PYTHON ?= python3
BIN := .venv/bin
HPA := $(BIN)/hpa-cells
DEMO ?= outputs/demo
SEED ?= 0

.PHONY: install test tools lint types docs check demo lock clean

install: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hpa_cells needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --upgrade --target .uv uv
	PYTHONPATH=.uv $(PYTHON) -m uv venv --quiet --allow-existing --python $(PYTHON) .venv
	PYTHONPATH=.uv $(PYTHON) -m uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	PYTHONPATH=.uv $(PYTHON) -m uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# Networks and tables of tests are so small that threads would wait for each other longer than they work.
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile

# The exports opened by programs that are too large for the lock, each in a place of its own and in its newest version.
# napari needs a display: xvfb-run --auto-servernum make tools
tools: install
	for tool in 'napari[pyqt6]:napari' 'scportrait>=1.8:h5sc_file' 'spatialdata-plot:spatialdata_folder'; do \
		place=.venv-tools/$${tool#*:} && \
		PYTHONPATH=.uv $(PYTHON) -m uv venv --quiet --allow-existing --python $(PYTHON) $$place && \
		PYTHONPATH=.uv $(PYTHON) -m uv pip install --quiet --python $$place/bin/python "$${tool%:*}" pytest hypothesis --editable '.[export]' && \
		$$place/bin/python -m pytest -p no:cacheprovider -W default -k "napari or scportrait or plots" -rs \
			tests/export/test_$${tool#*:}.py || exit 1; \
	done

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# Any warning is an error, unless it is told to be --quiet, and so is an error in a notebook: all are run. Material does not
# tell of its successor on each build.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: lint types docs test

# The main job, end to end, on simulated fields: three models that differ only in what they learn from, and that of the package,
# read the same masks. The cells of training fields are found once for the two that learn from labels of fields; the third
# has the true ones.
demo: install
	$(HPA) simulate out=$(DEMO)/fields recipe=demo fields=200 test_fields=60 recipe.seed=$(SEED)
	for part in train test; do \
		$(HPA) segment out=$(DEMO)/masks/$$part fields=$(DEMO)/fields/$$part || exit 1; \
	done
	for method in naive second_round oracle; do \
		masks="segmenter=precomputed segmenter.folder=$(DEMO)/masks/train"; \
		if [ $$method = oracle ]; then masks=; fi; \
		$(HPA) train out=$(DEMO)/models/$$method experiment=demo_$$method data.root=$(DEMO)/fields $$masks \
			crop_store=$(DEMO)/crops embedding_store=$(DEMO)/embeddings seed=$(SEED) && \
		$(HPA) predict out=$(DEMO)/runs/$$method model=$(DEMO)/models/$$method fields=$(DEMO)/fields/test \
			segmenter=precomputed segmenter.folder=$(DEMO)/masks/test || exit 1; \
	done
	$(HPA) predict out=$(DEMO)/runs/shipped model=shipped fields=$(DEMO)/fields/test \
		segmenter=precomputed segmenter.folder=$(DEMO)/masks/test
	$(HPA) export out=$(DEMO)/submission.csv table=$(DEMO)/runs/second_round format=kaggle2021
	$(HPA) report out=$(DEMO)/report table=$(DEMO)/runs/second_round fields=$(DEMO)/fields/test \
		truth=$(DEMO)/fields/truth_test
	$(HPA) evaluate out=$(DEMO)/scores truth=$(DEMO)/fields/truth_test \
		'table=[$(DEMO)/runs/shipped,$(DEMO)/runs/naive,$(DEMO)/runs/second_round,$(DEMO)/runs/oracle]'
	@echo "Look at $(DEMO)/report/report.html and $(DEMO)/submission.csv; the cell table is $(DEMO)/runs/second_round."

lock:
	PYTHONPATH=.uv $(PYTHON) -m uv pip compile --quiet --upgrade pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --custom-compile-command "make lock" -o requirements.lock

clean:
	rm -rf .venv .venv-tools .uv .cache dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
