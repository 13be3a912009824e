# Every command of the house. Each makes what it needs first; stamps in .venv
# make a second run fast.

# The first Python >= 3.11 that runs and can make a virtual environment.
# (A name on PATH may be a shim that refuses to run, so each one is tried.)
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 /usr/bin/python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1 && echo $$python && break; done)

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Only its CSV files are read; its loader would bring pandas.
VEGA := 'vega_datasets>=0.9,<1'

# What the compiled form has to pass: the tests of what is compiled, and of what calls it.
MQTT_E2E := $(addprefix tests/e2e/test_,$(addsuffix .py,bad_input_mqtt bridge broker_commands \
	mqtt_clients mqtt_libraries mqtt_over_websocket pub_sub_commands sleeping_clients trace \
	unix_socket workers_logged workers_mqtt workers_shared workers_sys))
COMPILED_TESTS := tests/delivery tests/protocols/mqtt tests/sessions tests/resources \
	tests/packaging/test_backend.py $(MQTT_E2E)

export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help run test test-compiled fuzz lint bench bench-compiled bench-tables bench-sessions worst docs clean \
	packages node-packages soak kills
.DELETE_ON_ERROR:

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

.venv/.made:
	@test -n '$(PYTHON)' || { \
		echo 'No Python >= 3.11 with venv found (Debian: apt-get install python3-venv).' >&2; \
		echo 'Name one: make PYTHON=/path/to/python3' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.example: .venv/.made pyproject.toml
	$(PIP) install --editable '.[example]'
	$(PIP) install --no-deps $(VEGA)
	@touch $@

.venv/.dev: .venv/.made pyproject.toml
	$(PIP) install --editable '.[dev,example]'
	$(PIP) install --no-deps $(VEGA)
	@touch $@

.venv/.compiled: .venv/.made pyproject.toml setup.py $(shell find src packaging -name '*.py')
	rm -rf build .venv/wheels .venv/compiled
	LYREDB_COMPILE=1 $(PIP) wheel --no-deps --wheel-dir .venv/wheels .
	$(BIN)/python -m venv .venv/compiled
	.venv/compiled/bin/pip install --quiet "$$(echo .venv/wheels/lyredb-*.whl)[dev,example]"
	.venv/compiled/bin/pip install --quiet --no-deps $(VEGA)
	@touch $@

.venv/.bench: .venv/.dev
	$(PIP) install --editable '.[bench]'
	@touch $@

.venv/.docs: .venv/.made pyproject.toml
	$(PIP) install --editable '.[docs]'
	@touch $@

packages:
	@.ci/install-packages

node-packages:
	@.ci/install-node-packages

run: .venv/.example  ## start the weather example and say what to try
	@exec $(BIN)/python examples/weather/run.py $(ARGS)

test: packages .venv/.dev node-packages  ## run all tests
	$(BIN)/python -m pytest -n 2 tests $(ARGS)

# The sources may not stand before what is installed. The limit is of the shell, as compiled
# loops do not hear pytest's.
test-compiled: packages .venv/.compiled node-packages  ## the tests of delivery and MQTT, with both compiled
	.venv/compiled/bin/lyredb version | grep compiled
	TEST_FORM=compiled env -u PYTHONPATH timeout 1200 \
		.venv/compiled/bin/python -m pytest -n 2 -o pythonpath=. -m 'not pure' \
		$(COMPILED_TESTS) $(ARGS)

fuzz: .venv/.dev  ## broken MQTT beside good clients, for FUZZ_SECONDS=600 from a new seed
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(BIN)/python -m pytest \
		tests/fuzz/test_two_connections.py $(ARGS)

lint: .venv/.dev  ## formatting, lint, types, import arrows, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict src tests
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: packages .venv/.bench  ## measure beside mosquitto, nats-server, bare uvicorn, SQLite
	$(BIN)/python bench/run.py $(ARGS)

bench-compiled: packages .venv/.bench .venv/.compiled  ## the same, and LyreDB compiled beside it
	$(BIN)/python bench/run.py --compiled .venv/compiled/bin/python $(ARGS)

bench-tables: packages .venv/.bench  ## queries of tables of several sizes beside SQLite
	$(BIN)/python bench/tables/run.py $(ARGS)

bench-sessions: packages .venv/.bench  ## wakes of sleeping sessions, a million subscriptions
	$(BIN)/python bench/sessions/run.py $(ARGS)

worst: .venv/.bench  ## a million records read at once, bombs, 10,000 connections
	$(BIN)/python bench/worst/run.py $(ARGS)

soak: .venv/.dev  ## ten minutes of everything and kill -9 among it, then the kills
	$(BIN)/python -m tests.soak --kills $(ARGS)
	$(MAKE) kills ARGS=

kills: .venv/.dev  ## kill -9 of writer, a worker, all: 50 times under QoS 1 and 2, 20 under all load
	TEST_KILLS=50 $(BIN)/python -m pytest tests/faults/test_durable_kills.py \
		tests/faults/test_server_kills.py tests/faults/test_mqtt_handshakes.py $(ARGS)

docs: .venv/.docs  ## build the documentation into site/
	$(BIN)/mkdocs build --strict

clean:  ## remove everything that the other targets made
	rm -rf .venv build dist site src/*.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
