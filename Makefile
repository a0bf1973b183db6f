# Everything sets itself up: only Python 3.11+, make and git are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
minutes ?= 8
MINUTES ?= $(minutes)
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q

# Seconds of fuzzing for each parser: more than an hour for all of them.
FUZZ ?= 300

.PHONY: venv demo test gpu torture lint docs bench constraints clean

venv: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) -e '.[dev]'
	@touch $@

demo: venv
	$(BIN)/yolor-mtl demo minutes=$(MINUTES)

# Apart from the rest, in processes of their own: what loads runtimes, servers and browsers.
APART := tests/serve tests/commands/test_serve.py tests/commands/test_export.py tests/inference/test_exported.py \
	tests/inference/test_ray_job.py tests/inference/test_hub.py tests/commands/test_data_check.py tests/data/check

test: venv
	$(BIN)/python -m pytest -n auto --max-worker-restart=0 --durations=25 $(addprefix --ignore=,$(APART))
	$(BIN)/python -m pytest -n auto --max-worker-restart=0 --durations=25 --dist loadfile $(APART)

# On a machine with an NVIDIA GPU; elsewhere these are skipped.
gpu: venv
	$(BIN)/python -m pytest tests/gpu

torture: venv
	$(BIN)/python -m pytest -m torture
	$(BIN)/python -m pip install -q -e '.[fuzz]'
	$(BIN)/python tests/fuzz/run.py $(FUZZ)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/interrogate -q src
	$(BIN)/deptry src

# Not quiet: what is not said is not counted, and a broken link would pass.
docs: venv
	$(BIN)/mkdocs build

bench: venv
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/postprocess.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/networks.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/runtimes.py

# After the tests have passed with newer versions.
constraints: venv
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools > constraints.txt

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
