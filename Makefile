# Everything runs in .venv. TORCH chooses the build of torch: cpu, cu126 (V100) or cu13.
TORCH ?= cpu
DS_CONFIG ?= ds_configs/cpu.json
ARGS ?=

BIN := .venv/bin
CONSTRAINTS := constraints/$(TORCH).txt
INSTALLED := .venv/.installed-$(TORCH)
# Two files of tests at a time: most of a test that trains is the start of a process.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile
INDEX_cu126 := --extra-index-url https://download.pytorch.org/whl/cu126

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow check bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## create .venv; TORCH=cpu|cu126|cu13

# torch comes first and from the pins: DeepSpeed's build looks for it, and an open range would fetch any CUDA.
# pip is upgraded because dependency groups need 25.1.
$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade -c $(CONSTRAINTS) pip
	$(BIN)/python -m pip install -c $(CONSTRAINTS) $(INDEX_$(TORCH)) torch
	$(BIN)/python -m pip install -c $(CONSTRAINTS) $(INDEX_$(TORCH)) --editable '.[all]' --group dev
	rm -f .venv/.installed-*
	touch $@

run: $(INSTALLED)  ## train; DS_CONFIG=ds_configs/v100.json ARGS="--recipe NAME --seed 1,2,3"
	$(BIN)/deepspeed mtscale/train.py --ds_config $(DS_CONFIG) $(ARGS)

test: $(INSTALLED)  ## the tests but the slow ones
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(INSTALLED)  ## the long tests and those that need the original corpora
	$(PYTEST) -m slow $(ARGS)

check: $(INSTALLED)  ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)  ## print the benchmark tables, write benchmarks/results.json
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove .venv, caches and build folders; runs stay
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
