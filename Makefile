# serve   set everything up and serve on API_HOST:API_PORT
# test    the whole suite: unit, component, real engines, end to end
# Each target sets up what it needs; a stamp per requirements file keeps the second run instant.

SHELL := /bin/bash
VENV  := .venv
PY    := $(VENV)/bin/python
UV    := $(VENV)/bin/uv
STACK := $(shell tools/setup/stack)

.PHONY: serve test test-fast lint bench demo-models lock clean
.DEFAULT_GOAL := serve

serve: $(VENV)/.$(STACK) frontend/dist/index.html
	@exec $(PY) -m backend.app serve

test: $(VENV)/.$(STACK) $(VENV)/.dev
	@tools/setup/system chromium shellcheck nginx:nginx-light
	$(PY) -m pytest $(ARGS)

test-fast: $(VENV)/.$(STACK) $(VENV)/.dev
	@tools/setup/system chromium shellcheck nginx:nginx-light
	$(PY) -m pytest -m "not engine and not gpu" $(ARGS)

lint: $(VENV)/.$(STACK) $(VENV)/.dev
	tools/setup/lint

bench: $(VENV)/.$(STACK) $(VENV)/.dev
	$(PY) -m tools.bench $(ARGS)

demo-models: $(VENV)/.$(STACK) $(VENV)/.dev
	$(PY) -m tools.demo_models all

lock:
	tools/setup/lock

$(VENV)/.$(STACK): requirements/$(STACK).txt
	tools/setup/venv $(VENV) $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt | $(VENV)/.$(STACK)
	tools/setup/venv $(VENV) $<
	@touch $@

frontend/dist/index.html: $(shell find frontend/src frontend/package.json frontend/index.html -type f 2>/dev/null)
	@tools/setup/frontend

clean:
	rm -rf $(VENV) build frontend/dist
