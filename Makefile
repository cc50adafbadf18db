# make run     train the default experiment and write its page      make test       the tests
# make check   lint, types, tests                                   make check-all  and the slow tests
# make check-peers  on the oldest Python, beside PyTorch and what is built on it: the tests that compare with them and
#                 the core, slow ones too
# make check-jax  the tests of nets and training while JAX refuses to broadcast ranks without a word, and again while it
#                 looks for traced values that got out; keys used twice are looked for by the tests themselves
# make course  every experiment of the course, small
# make docs    the documentation as a site, in docs/_build/html
# make setup   the environment alone                                make lock       pin the newest versions
# On a GPU machine: make run CUDA=13 (or CUDA=12). Another Python: make test PYTHON=python3.11

CUDA ?=
# The newest Python that works, from the PATH or under pyenv: JAX for 3.12 and later uses all cores.
PYTHON ?= $(shell for version in 3.13 3.12 3.11; do \
	for python in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python python3; do \
	"$$python" -c "import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != ($$(echo $$version | tr . ,)))" \
	2>/dev/null && echo "$$python" && exit; done; done)
OLDEST ?= $(shell for python in python3.11 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.11.*/bin/python; do \
	"$$python" -c "import ensurepip, venv" 2>/dev/null && echo "$$python" && exit; done)
VENV ?= .venv
BIN := $(VENV)/bin
TESTS ?= not slow
READY := $(VENV)/.ready$(CUDA)
comma := ,
EXTRAS := dev$(if $(CUDA),$(comma)cuda$(CUDA))
$(if $(filter-out 12 13,$(CUDA)),$(error CUDA=$(CUDA): expected the CUDA version of the driver, 12 or 13))

CHECKED := tests/functional tests/augment tests/training tests/layers tests/test_jax_checks.py tests/test_losses.py

.PHONY: run test course docs setup peers check check-all check-jax check-peers lint types lock clean

run: $(READY)
	$(BIN)/python -m experiments.train

test: $(READY)
	$(BIN)/python -m pytest -m "$(TESTS)" --numprocesses auto --dist worksteal

setup: $(READY)

# Into a virtual environment of the oldest Python, for which the plain wheels of PyTorch are small. What cannot be
# installed is said, and its tests skip.
peers: PIP = .venv-3.11/bin/python -m pip install --quiet --disable-pip-version-check
peers:
ifeq ($(OLDEST),)
	@echo "no Python 3.11 on the PATH or under pyenv: its tests, and those beside PyTorch, cannot run"
else
	$(MAKE) --no-print-directory setup VENV=.venv-3.11 PYTHON="$(OLDEST)"
	@{ $(PIP) torch==2.13.0 && $(PIP) --no-deps torchvision==0.28.0 timm==1.0.31 && $(PIP) huggingface_hub pyyaml; } \
		|| echo "PyTorch, torchvision or timm could not be installed: the parity tests will skip"
	@{ $(PIP) --no-deps captum==0.9.0 zennit==0.5.1 grad-cam==1.5.7 ttach && $(PIP) tqdm opencv-python-headless; } \
		|| echo "captum, zennit or grad-cam could not be installed: the parity tests of explanations will skip"
	@{ $(PIP) --no-deps foolbox==3.3.4 eagerpy==0.30.0 torchattacks==3.5.1 pyautoattack==0.2.0 \
		&& $(PIP) GitPython requests; } \
		|| echo "foolbox, torchattacks or pyautoattack could not be installed: the parity tests of attacks will skip"
	@$(PIP) --no-deps faster-coco-eval || echo "faster-coco-eval could not be installed: its test will skip"
endif

check: lint types test

course: $(READY)
	$(BIN)/python -m experiments.all --quick

docs: $(READY)
	$(BIN)/python docs/build.py docs/_build/html

check-all: lint types $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

# One thread for each worker: those of PyTorch would wait for each other.
check-peers: peers
	OMP_NUM_THREADS=1 $(MAKE) --no-print-directory test VENV=.venv-3.11 PYTHON="$(OLDEST)" TESTS="not newest"

check-jax: $(READY)
	JAX_NUMPY_RANK_PROMOTION=raise $(BIN)/python -m pytest -m "not slow" --numprocesses auto --dist worksteal $(CHECKED)
	JAX_CHECK_TRACER_LEAKS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses auto --dist worksteal $(CHECKED)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/pyrefly check

$(READY): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "jaxcnn needs Python 3.11 or newer with venv, and found none on the PATH or under pyenv."; exit 1; }
	@echo "Python: $(PYTHON), $$("$(PYTHON)" --version)"
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable ".[$(EXTRAS)]"
	@touch $@

lock: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --no-header --no-annotate --no-emit-index-url \
		--python-version 3.11 --all-extras pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) .venv-*
