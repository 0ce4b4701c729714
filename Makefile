# Everything a user or CI needs. Each target installs what it needs and is quick the second time.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .cache/stamps
PIP := $(BIN)/pip install -qq --disable-pip-version-check
# A busy machine may make a test of real daemons too late: it gets one more try, and the summary names it.
AGAIN := --reruns 1 -rR
SOURCES := $(shell find bpf bench/bpf -name '*.c' -o -name '*.h' 2>/dev/null)
PROTOS := $(wildcard proto/*/*.proto)

.PHONY: up down test lint bench bpf protos abi check clean install machine
.DEFAULT_GOAL := help

help:
	@echo "make up      install, build and start the lab with the reference scenario"
	@echo "make down    stop the lab and leave nothing behind"
	@echo "make test    install what the tests need and run them all"
	@echo "make lint    format check, linter, types"
	@echo "make bench   measure and print the benchmark tables"
	@echo "make bpf     compile the eBPF programs"
	@echo "make protos  compile the messages of Hubble's API"
	@echo "make abi     generate src/cairn/abi and docs/drops.md from bpf/include/cairn"

install: $(STAMPS)/system $(STAMPS)/python $(STAMPS)/bpf $(STAMPS)/protos $(STAMPS)/command

$(STAMPS)/system: tools/install_system.sh
	@bash tools/install_system.sh run
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/test-system: tools/install_system.sh tools/install_kubectl.sh $(STAMPS)/system
	@bash tools/install_system.sh test
	@bash tools/install_kubectl.sh
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/python: pyproject.toml requirements.lock $(STAMPS)/system
	@echo "==> Python packages"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements.lock
	@$(PIP) --no-deps -e .
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/python-dev: requirements-dev.lock $(STAMPS)/python
	@echo "==> Python packages for development"
	@$(PIP) -r requirements-dev.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/bpf: $(SOURCES) tools/build_bpf.py $(STAMPS)/python
	@echo "==> eBPF programs"
	@$(BIN)/python tools/build_bpf.py
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/protos: $(PROTOS) tools/build_protos.py $(STAMPS)/python
	@echo "==> messages of Hubble's API"
	@$(BIN)/python tools/build_protos.py
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/command: $(STAMPS)/python
	@ln -sf $(CURDIR)/$(BIN)/cairn /usr/local/bin/cairn 2>/dev/null || true
	@mkdir -p $(STAMPS) && touch $@

bpf: $(STAMPS)/bpf

protos: $(STAMPS)/protos

abi: $(STAMPS)/bpf
	@$(BIN)/python tools/abigen.py

up: install
	@$(BIN)/cairn lab up

down:
	@test -x $(BIN)/cairn && $(BIN)/cairn lab down || echo "nothing is installed, so nothing runs"

lint: install $(STAMPS)/python-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy src tests tools bench

machine: $(STAMPS)/test-system
	@bash tools/prepare_machine.sh

test: lint machine
	@echo "==> tests that stand side by side"
	@CAIRN_NEEDS_ALL=1 $(BIN)/python -m pytest tests -n 4 --dist loadgroup $(AGAIN) -m "not lab and not serial"
	@echo "==> tests with labs of their own, one after the other"
	@CAIRN_NEEDS_ALL=1 $(BIN)/python -m pytest tests $(AGAIN) -m "lab or serial" --durations=10

bench: install $(STAMPS)/python-dev machine
	@$(BIN)/python bench/run.py

clean:
	rm -rf .cache build src/cairn/_bpf src/cairn/hubble/_proto
