# make demo   trains, adapts, exports and streams on this machine; leaves build/demo/
# make test   the tests        make lint   style and types        make bench   latency and accuracy figures
# make soak   an hour of accelerated stream with random faults and kills
# Each makes .venv first and may be repeated: what is installed and finished is not done again.

.DELETE_ON_ERROR:
.PHONY: help demo test lint bench soak

BIN := .venv/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
EXTRAS_demo := export,sensors,service
EXTRAS_dev := dev

help:
	@sed -n '1,4s/^# //p' Makefile

demo: .venv/ready-demo
	@$(BIN)/python examples/demo.py

test: .venv/ready-dev
	@echo "tests: pytest in two processes; real recordings are taken from REP_EDGE_DATA where it is set"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/ready-dev
	@echo "lint: ruff, then mypy on the package and on the scripts"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@.ci/types

bench: .venv/ready-dev
	@echo "bench: latency and memory of the full size, some minutes; leave the machine alone meanwhile"
	@$(BIN)/python benchmarks/speed.py
	@echo "bench: accuracy of REP and its rivals, three seeds: one to three hours on two cores; goes on where it was cut off"
	@$(BIN)/python benchmarks/accuracy.py
	@$(BIN)/python benchmarks/probe.py
	@echo "bench: confidence of the models that the accuracy benchmark trained: ten minutes"
	@$(BIN)/python benchmarks/confidence.py
	@echo "bench: fp16 and int8 of those models and of the full size, which is trained first: an hour"
	@test -f build/full/rep/model.safetensors || { $(BIN)/rep-edge train configs/full.yaml --out build/full/backbone && \
		$(BIN)/rep-edge adapt build/full/backbone --config configs/full.yaml --out build/full/rep; }
	@$(BIN)/python benchmarks/precision.py --full build/full/rep

soak: .venv/ready-dev
	@echo "soak: an hour; days of stream time with random faults, the service killed again and again"
	@$(BIN)/python benchmarks/soak.py

# What is installed depends on these files alone. The mark is made last, so that an interrupted installation is taken up again.
.venv/ready-%: pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
		echo "error: Python 3.10 or newer is needed and '$(or $(PYTHON),python3)' is not: install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "venv: making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; fi
	@echo "venv: installing rep-edge[$(EXTRAS_$*)] into .venv with the versions of constraints.txt (PyTorch is large: several minutes the first time)"
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS_$*)]'
	@touch $@
