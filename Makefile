.DEFAULT_GOAL := help
.PHONY: help demo drill quick test check test-unit test-oldest test-newest test-matrix test-faults-first test-faults \
	growth soak bench bench-peers cost pictures schema dashboards \
	dashboard-pictures status-pictures lock format clean

PYTHON ?= python3
MINUTES ?= 30
MODES ?= O
OLDEST := .venv/oldest/bin
NEWEST := .venv/newest/bin
# The tests start hundreds of processes: without bytecode `import hublog` takes 0.33 s in each, with it 0.15 s.
unexport PYTHONDONTWRITEBYTECODE
# The unit tests: those of the packages that a record passes, and of the settings. No other folder is.
UNIT := $(addprefix tests/,capture delivery redaction requests runtime sampling settings spool)

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/ready: requirements.lock pyproject.toml packages/hublog-local/pyproject.toml tools/environment.py
	@$(PYTHON) tools/environment.py
	@touch $@

demo: .venv/ready  ## the main job: three applications, one local hub, no record lost
	@$(NEWEST)/python -m demo

drill: .venv/ready  ## an outage of the hub, and when each alarm fires and clears
	@$(NEWEST)/python -m demo.drill

quick: check test-unit  ## all checks, and the unit tests on the newest Python

test: check test-oldest test-newest test-faults-first  ## all checks, all tests, the unit tests on two Pythons, and faults

check: .venv/ready  ## lint, format, types, layers
	$(OLDEST)/ruff check
	$(OLDEST)/ruff format --check
	$(OLDEST)/mypy
	$(OLDEST)/lint-imports
	@$(OLDEST)/python tools/house.py

test-unit: .venv/ready
	$(NEWEST)/python -m pytest -n 4 $(UNIT)

test-oldest: .venv/ready
	@if [ "$$(readlink .venv/oldest)" = "$$(readlink .venv/newest)" ]; then \
		echo "only one supported Python is here: it is tested as the newest"; \
	else $(OLDEST)/python -m pytest -n 4 $(UNIT); fi

test-newest: .venv/ready
	$(NEWEST)/python -m pytest -n 4 --ignore=tests/growth $(if $(COVERAGE),--cov --cov-report=term)

growth: .venv/ready  ## the instructions of a log call grow with its size at most
	$(NEWEST)/python -m pytest -n 4 tests/growth

test-matrix: .venv/ready  ## each supported Python with each supported Django and Flask
	$(NEWEST)/python noxfile.py

test-faults-first: .venv/ready  ## the rows of the fault matrix that each change has to pass
	$(NEWEST)/python -m tests.faults --rows first --modes $(MODES) --in-turn --jobs 3

test-faults: .venv/ready  ## the fault matrix: real servers, real signals, one ledger a row
	$(NEWEST)/python -m tests.faults

soak: .venv/ready  ## MINUTES=30 of load with a random fault each 20 s, MODES=O of M, O, A
	FAULTS_SOAK_MINUTES=$(MINUTES) $(NEWEST)/python -m tests.faults --rows C6 --modes $(MODES)

bench: .venv/ready  ## the figures with what must be reached; installs wrk where it is missing, as root
	@command -v wrk >/dev/null || apt-get install -y wrk || echo "install wrk: apt-get install -y wrk" >&2
	$(NEWEST)/python -m benchmarks

bench-peers: .venv/ready  ## a request with OpenTelemetry and sentry-sdk, compared with hublog in the same run
	@$(NEWEST)/python -m pip --disable-pip-version-check install --quiet --no-deps --upgrade \
		--target .venv/peers --requirement benchmarks/requirements-peers.txt
	PYTHONPATH=.venv/peers $(NEWEST)/python -m benchmarks peers

format: .venv/ready  ## lay the code out
	$(OLDEST)/ruff check --fix-only --quiet
	$(OLDEST)/ruff format

schema: .venv/ready  ## write observability/adx anew from the columns
	$(NEWEST)/python -m hublog schema all --output observability/adx

dashboards: .venv/ready  ## write the dashboards of observability anew
	@$(NEWEST)/python tools/dashboards.py

dashboard-pictures: .venv/ready  ## draw the dashboards of docs/pictures anew; needs prometheus
	@$(NEWEST)/python -m tools.dashboard_pictures

status-pictures: .venv/ready  ## draw the status page of docs/pictures anew; needs chromium
	@$(NEWEST)/python -m tools.status_pictures

cost: .venv/ready  ## what a month costs, packed in each of the three ways
	$(NEWEST)/python -m benchmarks.cost

pictures:  ## draw docs/pictures anew; needs graphviz
	for picture in docs/pictures/*.dot; do dot -Tsvg $$picture -o $${picture%.dot}.svg; done

lock: .venv/ready  ## write requirements.lock anew from pyproject.toml
	$(NEWEST)/python -m venv .venv/lock
	.venv/lock/bin/pip install --quiet uv
	.venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-package hublog --no-emit-package hublog-local \
		--no-strip-extras --all-extras --group dev --custom-compile-command "make lock" \
		pyproject.toml --output-file requirements.lock

clean:  ## remove all that was made here
	rm -rf .venv .hublog logs demo-report.json .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
