# setup: the virtual environment; demo: one story, five minutes; test; check: lint, types, imports;
# bench-NAME: benchmarks/NAME.py; fuzz: go on looking for what strangers could hand us (tests/fuzz).
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup demo test check fuzz train-default train-augmented clean

setup: .venv/.ready

.venv/.ready: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[dev]"
	touch $@

demo: setup
	$(BIN)/python -m benchmarks.demo --out demo-out

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: setup
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[fuzz]"
	$(BIN)/python -W ignore -m tests.fuzz.run $(OPTIONS)

train-default: setup
	$(BIN)/python -m acclimate.model.pretrain

train-augmented: setup
	$(BIN)/python -m acclimate.model.pretrain --augmented

bench-ablation bench-adaptation bench-camvid: OPTIONS = --jobs $$(nproc)
bench-%: setup
	$(BIN)/python -m benchmarks.$* $(OPTIONS)

clean:
	rm -rf .venv demo-out build
