# The commands of the project; each sets up .venv first where it must.
SHELL := /bin/bash
PYTHON := .venv/bin/python

# make run RATINGS=FILE_OR_GLOB ITEMS=FILE_OR_GLOB MODEL=imn_3p OUTPUT=runs: short forms of IMN_<FIELD>.
ifdef RATINGS
export IMN_RATINGS := $(RATINGS)
endif
ifdef ITEMS
export IMN_ITEMS := $(ITEMS)
endif
ifdef MODEL
export IMN_MODEL := $(MODEL)
endif
ifdef OUTPUT
export IMN_OUTPUT := $(OUTPUT)
endif
export TF_USE_LEGACY_KERAS := 1
export TF_CPP_MIN_LOG_LEVEL ?= 2
# Of TensorFlow only errors that stop a program, and no warnings about old Python versions.
QUIET := TF_CPP_MIN_LOG_LEVEL=3 PYTHONWARNINGS=ignore::FutureWarning

.PHONY: help setup run serve report board catalogue recommend lint types docs test test-slow bench schema

help:
	@echo 'make run [RATINGS=FILE_OR_GLOB] [ITEMS=FILE_OR_GLOB] [MODEL=PRESET] [OUTPUT=FOLDER]   the whole pipeline'
	@echo 'make serve [OUTPUT=FOLDER]   answers with what was pushed: gRPC on 8500, REST and a page to try it on 8501'
	@echo 'make report [OLD=RUN] [NEW=RUN] [OUTPUT=FOLDER]   the page of a run again, or of two runs side by side'
	@echo 'make board [OUTPUT=FOLDER]   the trainings in TensorBoard, on http://localhost:6006'
	@echo 'make catalogue ITEMS=FILE_OR_GLOB [OUTPUT=FOLDER]   attributes of new items for the served model'
	@echo 'make recommend ID=USER [RATINGS=...] [OUTPUT=FOLDER]   the best items for a user'
	@echo 'make test      lint, types, documentation, tests'
	@echo 'make test-slow the whole tables of the experiments, minutes each; `make test` has small ones'
	@echo 'make docs      the documentation site, into site/'
	@echo 'make bench     the quick form of the benchmarks of speed'
	@echo 'make schema    propose a schema from the last run'
	@echo 'make setup     the environment alone; every other command makes it where it is missing'

# IMN_STACK=reference|current chooses the set of versions; no setting of a run has this name.
unexport IMN_STACK
setup:
	@IMN_STACK="$(IMN_STACK)" requirements/setup.sh

run: setup
	@$(PYTHON) local_runner.py

serve: setup
	@$(QUIET) $(PYTHON) -m recommend.server --models "$(or $(IMN_OUTPUT),runs)/serving_model" $(ARGS)

# LOGS: another folder of events, such as that of `experiments.search`.
board: setup
	@$(QUIET) $(PYTHON) -m tensorboard.main --logdir "$(or $(LOGS),$(or $(IMN_OUTPUT),runs)/pipeline)" $(ARGS)

report: setup
	@$(QUIET) $(PYTHON) -m pipeline.local.page --output "$(or $(IMN_OUTPUT),runs)" --old "$(OLD)" --new "$(NEW)"

recommend: setup
	@$(QUIET) $(PYTHON) -m recommend "$(ID)" --output "$(or $(IMN_OUTPUT),runs)" $(ARGS)

catalogue: setup
	@$(QUIET) $(PYTHON) -m pipeline.local.catalogue

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: setup
	$(PYTHON) -m mypy pipeline model transforms serving recommend experiments benchmarks local_runner.py kubeflow_runner.py

docs: setup
	$(PYTHON) -m mkdocs build

test: lint types docs
	$(PYTHON) -m pytest -n 2 --dist loadfile

test-slow: setup
	$(PYTHON) -m pytest -m slow

bench: setup
	$(PYTHON) -m benchmarks.quick

schema: setup
	@$(QUIET) $(PYTHON) -m pipeline.local.propose_schema --output "$(or $(IMN_OUTPUT),runs)"
