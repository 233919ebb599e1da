# setup: the virtual environment; demo: one story, five minutes; test; check: lint, types, imports.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup demo test check train-default train-augmented bench-default bench-model bench-serve \
  bench-ablation bench-adaptation bench-gate bench-camvid bench-drift bench-step clean

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

train-default: setup
	$(BIN)/python -m acclimate.model.pretrain

train-augmented: setup
	$(BIN)/python -m acclimate.model.pretrain --augmented

bench-default: setup
	$(BIN)/python -m benchmarks.default

bench-model: setup
	$(BIN)/python -m benchmarks.model

bench-ablation: setup
	$(BIN)/python -m benchmarks.ablation

bench-serve: setup
	$(BIN)/python -m benchmarks.serve

bench-adaptation: setup
	$(BIN)/python -m benchmarks.adaptation --jobs $$(nproc)

bench-camvid: setup
	$(BIN)/python -m benchmarks.camvid --jobs $$(nproc)

bench-gate: setup
	$(BIN)/python -m benchmarks.gate

bench-drift: setup
	$(BIN)/python -m benchmarks.drift

bench-step: setup
	$(BIN)/python -m benchmarks.step

clean:
	rm -rf .venv demo-out build
