# The one set of commands. Each makes its own virtual environment from the pinned versions in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNTIME := $(VENV)/.runtime
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) -c constraints.txt

# One thread per process: torch threads that compete with another busy process cost more than they bring.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test check bench fuzz docs paper-desk clean

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) -e ".[report,train]"
	touch $(RUNTIME)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) -e ".[dev]"
	touch $(STAMP) $(RUNTIME)

demo: $(RUNTIME)  ## Pre-train a small model in the controlled world, trace it, open the report.
	$(BIN)/trustrace demo --out runs/demo

BESIDE := runs/desk-steer runs/desk-finetune runs/desk-proxy-due runs/desk-proxy-due-assistant
# What stands beside the paper: its figures on probes under both protocols, its tables, figures 4 and 5, and figure 18.
OF_PAPER := demo/trace desk-trace-published demo/steer desk-steering-tuned desk-figure4 desk-finetune desk-proxy
SHOWN := demo/trace desk-trace-published desk-steer desk-steering-tuned desk-figure4 desk-finetune desk-proxy desk-proxy-due
paper-desk: demo  ## Every study of the paper at the size of a desk, on the series and the assistant that the demo makes.
	$(BIN)/trustrace dynamics runs/demo/trace --site block_2
	$(BIN)/trustrace trace studies/desk/trace_published.yaml --out runs/desk-trace-published
	$(BIN)/trustrace steer studies/desk/steer.yaml --out runs/desk-steer
	$(BIN)/trustrace steer studies/desk/steering_tuned.yaml --out runs/desk-steering-tuned
	$(BIN)/trustrace steer studies/desk/figure4.yaml --out runs/desk-figure4
	$(BIN)/trustrace finetune studies/desk/finetune.yaml --out runs/desk-finetune
	$(BIN)/trustrace proxy-tune studies/desk/proxy_tune.yaml --out runs/desk-proxy
	$(BIN)/trustrace proxy-tune studies/desk/proxy_due.yaml --out runs/desk-proxy-due
	$(BIN)/trustrace proxy-tune studies/desk/proxy_due_assistant.yaml --out runs/desk-proxy-due-assistant
	for run in $(SHOWN); do $(BIN)/trustrace report runs/$$run || exit 1; done
	$(BIN)/trustrace compare $(BESIDE) --out runs/desk-compare --quantity accuracy --quantity due_probability --quantity auroc --quantity perplexity
	$(BIN)/trustrace paper compare $(OF_PAPER:%=runs/%) --out runs/desk-compare/paper.md

# A file stays in one process, which makes what its tests share once.
test: $(STAMP)  ## The whole test suite.
	$(BIN)/python -m pytest -n 2 -q --dist loadfile --no-loadscope-reorder

check: $(STAMP)  ## Format, lint, types, import contracts.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## Speed and memory as ratios against named baselines, measured in one run.
	$(BIN)/python -m benchmarks

fuzz: $(STAMP)  ## Every reader against mutated files; what fails is kept under tests/fuzz_corpus.
	$(BIN)/python -m fuzz

docs: $(STAMP)  ## The documentation as HTML under docs/_build.
	$(INSTALL) -e ".[docs]"
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis docs/_build
