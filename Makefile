# `make run` and `make test` do all set-up on a fresh machine with Python 3.11.
PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n $(CORES) --dist loadfile --durations=15
READY := .venv/ready
# A hundred processes would each compile the library anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run proof estimate archive verify test test-all test-cluster check format lock generate benchmark clean help

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: $(READY) ## Run the embedded, offline demo
	$(BIN)/snakemake --cores $(CORES) --quiet host reason

proof: $(READY) ## Run the proof and write its results into docs/proof.md (hours; needs GEOLATENTS_DATA)
	for name in ucm demo lanjaron; do $(BIN)/snakemake proof --cores $(CORES) --quiet host reason --configfile config/proof-$$name.yaml || exit 1; done
	$(BIN)/python -m tools.proof --collect

estimate: $(READY) ## Say what a run would take: make estimate ARGS="--configfile my.yaml"
	@$(BIN)/python -m geolatents.estimate --cores $(CORES) $(ARGS)

archive: $(READY) ## Pack the finished run into one file that another machine can check (CONFIG=my.yaml)
	$(BIN)/snakemake archive --cores $(CORES) $(if $(CONFIG),--configfile "$(CONFIG)") --quiet host reason

verify: $(READY) ## Check an archive: ARCHIVE=path; with RESULTS=results also a run made here against it
	@test -n "$(ARCHIVE)" || { echo "name the archive: make verify ARCHIVE=results/archive/run.crate.zip"; exit 2; }
	$(BIN)/python -m geolatents.archive verify "$(ARCHIVE)" $(if $(RESULTS),--results "$(RESULTS)")

test: $(READY) ## Run the quick tests
	$(PYTEST) -m "not slow and not cluster"

test-all: $(READY) ## Run all tests but the cluster's (ONLY=slow: those that `make test` leaves out)
	$(PYTEST) -m "$(if $(ONLY),$(ONLY) and )not cluster"

test-cluster: $(READY) ## Run the demo and what goes wrong on a private, real SLURM
	$(BIN)/python -m pytest -m cluster tests/cluster

check: $(READY) ## Style, types, floors, spelling, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m tools.generate --check
	$(BIN)/python -m tools.proof --check
	$(BIN)/snakemake --lint

format: $(READY) ## Put code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

generate: $(READY) ## Write everything that is generated: schema, reference, environments
	$(BIN)/python -m tools.generate

lock: $(READY) ## Resolve the dependencies anew
	$(BIN)/uv pip compile pyproject.toml --extra cpu --extra slurm --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--quiet --output-file requirements.lock $(LOCK_OPTIONS)

benchmark: $(READY) ## Measure speed against named peers; tables go to results/benchmarks
	for name in tiles cover batches; do $(BIN)/python benchmarks/$$name.py --output results/benchmarks/$$name.md; done

clean: ## Remove what the workflow made
	rm -rf results .snakemake

# uv comes out of the lock file by its hash and installs the rest of it.
$(READY): requirements.lock pyproject.toml
	rm -rf .venv
	$(PYTHON) -m venv .venv
	awk '/^uv==/{p=1} p{print} p&&!/\\$$/{exit}' requirements.lock > .venv/uv.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@
