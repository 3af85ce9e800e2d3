# What people, CI and the README call. `make` alone explains.
# Each target sets up what it needs; nothing of your shell's set-up is required.

WORKERS   ?= 3
PYTHON    ?= $(shell containers/find-python.sh 3.11)
PYTHON312 ?= $(shell containers/find-python.sh 3.12)
DEMO      ?= runs/demo
VARIANT   ?= cpu
OPTIONS   ?=
PAGES     ?=
MINUTES   ?= 30
WHEELS    ?= dist/gpu
WHEELS_PYTHON ?= 3.12
WHEELS_MACHINE ?= x86_64
# Without bytecode each of some hundred Pythons would compile what it imports.
BYTECODE  := env -u PYTHONDONTWRITEBYTECODE
PYTEST    := $(BYTECODE) .venv/bin/python -m pytest --strict-config
DAILY     := -m "not slow and not faults and not image and not cluster and not terratorch and not evaluation and not start"
# Files run side by side in the order that tests/conftest.py gives them: the longest first.
BESIDE     = -n "$(WORKERS)" --dist loadfile --no-loadscope-reorder
# Where tests with a marker are: the files in which it stands, or the folder whose conftest.py sets it. To import all
# others takes longer than some of these run; tests/conftest.py holds the files to it.
with_mark  = $(sort $(shell grep -rl --include='*.py' 'pytest\.mark\.$(1)\b' tests | sed 's|/conftest\.py$$||'))
LOCKS     := $(wildcard containers/lock/*.txt) containers/install.sh pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-earth image sif test coverage test-faults test-image test-clusters test-real test-all test-nightly \
	test-planted soak test-py312 test-terratorch test-evaluation test-start test-wheel test-gpu wheels-gpu test-wheels-gpu \
	check lint types docs format lock wheel clean

help:
	@echo "Slipway: one run description for training foundation models."
	@echo
	@echo "Start here"
	@echo "  make demo        train a small GPT on 8 ranks (TP2 x PP2 x DP2) on this machine: 3 minutes"
	@echo "  make demo-earth  pretrain a small model on generated satellite scenes on 4 ranks: below 5 minutes"
	@echo "  make test        the tests of every day: below 10 minutes on 2 cores"
	@echo "  make test-faults kill, hang, damage and starve real trainings: below 10 minutes on 2 cores"
	@echo "  make image       the container image (podman or docker); make sif: also as SIF (Apptainer)"
	@echo
	@echo "Then, by hand"
	@echo "  make setup       only the virtual environment .venv; afterwards: . .venv/bin/activate"
	@echo "  slipway --help   what it can do; each verb takes Hydra overrides, for example"
	@echo "                   slipway plan experiment=demo"
	@echo
	@echo "For changes"
	@echo "  make check       formatting, lint, types, locks     make format      mend the first two"
	@echo "  make test-all    the long tests too                 make test-py312  all kinds of layouts, on Python 3.12"
	@echo "  make test-terratorch  exported checkpoints in real terratorch, in an environment of its own: below 3 minutes"
	@echo "  make test-evaluation  figures of checkpoints against the real lm-evaluation-harness on their exports: a minute"
	@echo "  make test-start  follow the first pages of the documentation word by word: below 6 minutes on 2 cores"
	@echo "  make coverage    the tests of every day, and which lines and branches they run: twice as long"
	@echo "  make test-planted  spoil the code in many places: does a test notice each?"
	@echo "  make test-nightly  all layouts, all rows, more kills, larger inputs, planted faults, a soak"
	@echo "  make test-image  build, run, sign and spoil real containers: below 8 minutes on 2 cores"
	@echo "  make soak MINUTES=30  kill and disturb runs at random, compare their curves with undisturbed ones"
	@echo "  make test-clusters  launch on a real Slurm and real pods: below 9 minutes on 2 cores"
	@echo "  make test-real   both, with one image"
	@echo "  make test-gpu    on this machine's GPUs: what works, how fast it is against torch.compile; 8 minutes a call"
	@echo "  make docs        this documentation as a site, with a reference generated from the code: build/site/index.html"
	@echo "  make wheel       build dist/*.whl                   make test-wheel  use it away from here"
	@echo "  make wheels-gpu  dist/gpu: all but torch, for a GPU machine without a network; make test-wheels-gpu  use it"
	@echo "  make lock        resolve the pins anew              make clean       remove what make installed"
	@echo
	@echo "Variables: PYTHON=/path/to/python3.11, DEMO=folder of the demo's run,"
	@echo "  WORKERS=files of tests that run side by side (3),"
	@echo "  OPTIONS=more words for pytest (of test-gpu: for \`slipway bench gpu\`), for example OPTIONS='-k parity -x',"
	@echo "  PAGES=pages that test-start follows (all), for example PAGES=laptop, VARIANT=cpu, cuda or rocm (of the image),"
	@echo "  WHEELS_PYTHON=3.12 or 3.11 and WHEELS_MACHINE=x86_64 or aarch64 (of wheels-gpu), WHEELS=its folder,"
	@echo "  TORCH_INDEX_URL=index with another build of torch (see containers/README.md)"

setup: .venv/.installed

.venv/.installed: $(LOCKS)
	@containers/install.sh .venv "$(PYTHON)"
	@touch $@

.venv312/.installed: $(LOCKS)
	@containers/install.sh .venv312 "$(PYTHON312)"
	@touch $@

# terratorch brings older libraries than ours and imports most of them: it has an environment of its own.
.venv-terratorch/.installed: containers/lock/terratorch.txt containers/install.sh
	@containers/install.sh .venv-terratorch "$(PYTHON)" terratorch
	@touch $@

# What builds the site needs nothing of ours, and we need nothing of it.
.venv-docs/.installed: containers/lock/docs.txt containers/install.sh
	@containers/install.sh .venv-docs "$(PYTHON)" docs
	@touch $@

image: setup
	.venv/bin/slipway image build --variant "$(VARIANT)"

sif: image
	.venv/bin/slipway image sif --variant "$(VARIANT)"

demo: setup
	.venv/bin/slipway data experiment=demo
	.venv/bin/slipway train experiment=demo run.dir="$(DEMO)"
	.venv/bin/slipway report experiment=demo run.dir="$(DEMO)"

demo-earth: DEMO = runs/demo-earth
demo-earth: setup
	.venv/bin/slipway data experiment=demo_earth
	.venv/bin/slipway train experiment=demo_earth run.dir="$(DEMO)"
	.venv/bin/slipway evaluate "run.dir=$(DEMO)"
	.venv/bin/slipway report experiment=demo_earth run.dir="$(DEMO)"

test: setup
	$(PYTEST) $(DAILY) $(BESIDE) --durations 10 $(OPTIONS)

# The report is printed in any case; below the floor in pyproject.toml it is a failure.
coverage: setup
	rm -f .coverage .coverage.*
	@code=0; \
	$(BYTECODE) .venv/bin/python -m coverage run -m pytest --strict-config $(DAILY) $(BESIDE) --durations 10 $(OPTIONS) || code=$$?; \
	.venv/bin/python -m coverage combine --quiet && .venv/bin/python -m coverage report || code=1; \
	exit $$code

# Its limits are in seconds.
test-faults: WORKERS = 2
test-faults: setup
	$(PYTEST) -m faults $(call with_mark,faults) $(BESIDE) --durations 10 $(OPTIONS)

test-planted: setup
	.venv/bin/python tests/planted_faults.py

test-nightly: setup coverage test-planted soak
	SLIPWAY_TESTS=all $(MAKE) test-py312 test-terratorch test-real
	SLIPWAY_TESTS=all $(PYTEST) -m "not image and not cluster and not terratorch" $(BESIDE) --durations 25 $(OPTIONS)

soak: setup
	.venv/bin/python tests/soak.py --minutes "$(MINUTES)" --workers "$(WORKERS)"

test-clusters: setup
	$(PYTEST) -m cluster $(call with_mark,cluster) --durations 15 -rA $(OPTIONS)

test-real: setup
	$(PYTEST) -m "image or cluster" $(call with_mark,image) $(call with_mark,cluster) --durations 25 -rA $(OPTIONS)

test-image: setup
	$(PYTEST) -m image $(call with_mark,image) --durations 15 -rA $(OPTIONS)

test-all: setup
	$(PYTEST) -m "not image and not cluster and not terratorch" $(OPTIONS)

test-py312: setup .venv312/.installed
	$(BYTECODE) .venv312/bin/python -m pytest --strict-config tests/reference tests/train/test_parity.py \
		tests/train/test_parity_experts.py tests/train/test_fully_sharded.py tests/train/test_documents.py \
		tests/train/test_parity_latent.py tests/train/test_parity_muon.py tests/train/test_parity_prediction.py \
		tests/train/test_fake_gpu.py tests/engine/megatron/test_cpu_adapter.py tests/kernels/test_triton.py \
		tests/train/test_recompute.py tests/train/test_parity_mae.py tests/train/test_continuation_mae.py \
		tests/models/gpt/test_kept_bytes.py tests/models/mae/test_kept_bytes.py tests/bench/gpu/test_rehearsal.py \
		tests/handover/test_transformers.py tests/train/test_routing.py tests/train/test_continuation_experts.py \
		tests/bench/gpu/test_fake_gpu.py tests/plan/test_memory_measured.py \
		$(BESIDE) --durations 5 $(OPTIONS)

test-evaluation: setup
	$(PYTEST) -m evaluation $(call with_mark,evaluation) --durations 5 $(OPTIONS)

test-start: setup
	$(PYTEST) -m start $(if $(PAGES),-k "$(PAGES)") $(call with_mark,start) $(BESIDE) --durations 5 $(OPTIONS)

test-terratorch: setup .venv-terratorch/.installed
	$(PYTEST) -m terratorch $(call with_mark,terratorch) --durations 5 $(OPTIONS)

check: lint types

lint: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/ruff check --preview --select PLW1514 platform containers # text has an encoding, whatever the locale
	.venv/bin/codespell platform conf containers deploy docs *.md Makefile Dockerfile
	.venv/bin/python tests/phrases.py
	.venv/bin/python containers/lock.py --check

types: setup
	.venv/bin/pyright --pythonpath .venv/bin/python

# Any warning fails it: a link or an anchor that leads nowhere, a page that is in no menu.
docs: setup .venv-docs/.installed
	PYTHONPATH=docs .venv/bin/python -m generate build/reference
	PYTHONPATH=docs NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict # not --quiet: it drops the warnings
	PYTHONPATH=docs .venv/bin/python -m generate.check build/site

format: setup
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock: setup
	.venv/bin/python containers/lock.py

wheel: setup
	rm -f dist/slipway-*.whl
	.venv/bin/python -m pip --disable-pip-version-check wheel -q --no-deps --no-build-isolation -w dist .
	@ls dist/slipway-*.whl

test-wheel: wheel
	containers/test-wheel.sh dist/slipway-*.whl .venv

wheels-gpu: setup
	.venv/bin/python containers/wheels.py "$(WHEELS)" --python "$(WHEELS_PYTHON)" --machine "$(WHEELS_MACHINE)"

test-wheels-gpu: .venv312/.installed
	$(MAKE) wheels-gpu WHEELS=dist/gpu-tested
	containers/test-wheels-gpu.sh dist/gpu-tested .venv312

# Needs no virtual environment of make's: a loaded module's torch will do, with the wheels of Slipway's other packages.
test-gpu:
	@python=$$(containers/gpu-python.sh $(if $(filter command environment,$(firstword $(origin PYTHON))),"$(PYTHON)")) && \
		PYTHONPATH="$(CURDIR)/platform$${PYTHONPATH:+:$$PYTHONPATH}" "$$python" -m slipway bench gpu $(OPTIONS)

clean:
	rm -rf .venv .venv312 .venv-terratorch .venv-docs build dist .pytest_cache .hypothesis .ruff_cache
	find platform tests containers docs -name __pycache__ -type d -prune -exec rm -rf {} +
