# `make study` answers a question, `make test` checks the answer; both set up .venv when they need it.
# Variables: PYTHON (3.11 or newer), PIP_ARGS (for example an index of CPU builds), STUDY, SCALE, PYTEST_ARGS.

PYTHON ?= python3
PIP_ARGS ?=
STUDY ?= nbody
SCALE ?= desk
PYTEST_ARGS ?=

VENV := .venv
RUN := $(VENV)/ready-to-run
TEST := $(VENV)/ready-to-test
DOCS := $(VENV)/ready-for-docs
PY := $(VENV)/bin/python
# The build backend obeys the constraints too: PIP_CONSTRAINT reaches isolated builds up to pip 25.2, PIP_BUILD_CONSTRAINT after.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install --quiet $(PIP_ARGS)

PROBLEM = $(shell \
	command -v '$(PYTHON)' > /dev/null || { echo 'torsor needs Python 3.11 or newer, and there is no $(PYTHON): name one with PYTHON='; exit; }; \
	'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "torsor needs Python 3.11 or newer, and $(PYTHON) is $$('$(PYTHON)' -c 'import platform; print(platform.python_version())'): name another with PYTHON="; exit; }; \
	'$(PYTHON)' -c 'import venv, ensurepip' 2> /dev/null || echo 'torsor needs the venv module, and $(PYTHON) has none: install it (Debian: apt install python3-venv)')

.PHONY: help setup study test test-slow bench docs lint clean

help:
	@echo 'make study      set up .venv, run the default study, say where its page is (STUDY=nbody SCALE=desk)'
	@echo 'make test       set up .venv, run the test suite'
	@echo 'make test-slow  the tests that take minutes'
	@echo 'make bench      speed and memory, each against a named peer'
	@echo 'make docs       the manual, in site/'
	@echo 'make lint       ruff and pyright'
	@echo 'make setup      only set up .venv for running'

setup: $(RUN)

study: $(RUN)
	@$(PY) -m torsor.cli study $(STUDY) --scale $(SCALE)

test: $(TEST)
	$(PY) -m pytest -n logical --maxprocesses 8 --dist loadfile -m "not slow" $(PYTEST_ARGS)

test-slow: $(TEST)
	$(PY) -m pytest -m slow $(PYTEST_ARGS)

bench: $(TEST)
	$(PY) -m benchmarks

docs: $(DOCS)
	$(PY) -m mkdocs build --strict

lint: $(TEST)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright

clean:
	rm -rf $(VENV) build dist site

# A stamp goes before anything is installed and comes back last, so an interrupted set-up starts again from nothing.
# What is added to the run-time environment takes its stamp away meanwhile: half an addition is no run-time environment.
$(RUN): pyproject.toml constraints.txt
	@$(if $(PROBLEM),$(error $(PROBLEM)))
	@if [ -e $@ ]; then rm -f $@; else rm -rf $(VENV) && '$(PYTHON)' -m venv $(VENV); fi
	@echo 'Setting up $(VENV) (once; PyTorch is a large download)'
	@$(PIP) --editable .
	@touch $@

$(TEST): $(RUN)
	@rm -f $@ && mv $(RUN) $(VENV)/changing
	@echo 'Adding what the tests need to $(VENV)'
	@$(PIP) --editable '.[dev]'
	@mv $(VENV)/changing $(RUN) && touch $@

$(DOCS): $(RUN)
	@rm -f $@ && mv $(RUN) $(VENV)/changing
	@echo 'Adding what the manual needs to $(VENV)'
	@$(PIP) --editable '.[docs]'
	@mv $(VENV)/changing $(RUN) && touch $@
