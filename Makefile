# Every target makes .venv and installs what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests run in one process for each core: threads of their own would wait for one another.
ONE_THREAD := OMP_NUM_THREADS=1

.PHONY: help demo test test-slow test-processors lint format docs bench bundle wheel weights sbom audit lock clean

help:  ## show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)  ## simulate a small study and take it to a report
	$(BIN)/traitlens demo

test: $(READY)  ## run the tests, on all cores
	$(ONE_THREAD) $(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(READY)  ## run the slow tests too
	$(ONE_THREAD) $(BIN)/python -m pytest -n auto --dist loadfile -m "slow or not slow"

test-processors: $(READY)  ## run the numerical tests as other processors would
	$(BIN)/python scripts/test_processors.py

lint: $(READY)  ## format, style, types, layers, dependencies, dead code and spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src
	$(BIN)/vulture
	$(BIN)/codespell --dictionary - --dictionary scripts/plain_words.txt src docs scripts benchmarks README.md CHANGELOG.md

format: $(READY)  ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)  ## the documentation site, with every example executed: docs/_build/html
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(READY)  ## speed and agreement beside the published tools
	$(BIN)/python benchmarks/relevance.py
	$(BIN)/python benchmarks/one_million_impressions.py

$(VENV)/.release: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[release]'
	@touch $@

wheel: $(VENV)/.release  ## build wheel and source archive into dist/, check them, and install the wheel elsewhere
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	rm -rf $(VENV)-wheel
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	$(VENV)-wheel/bin/traitlens --version
	$(VENV)-wheel/bin/traitlens demo --help

sbom: wheel  ## list what is installed with the wheel, as CycloneDX: sbom.json
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file sbom.json $(VENV)-wheel

audit: $(VENV)/.release  ## look the pinned versions up among known vulnerabilities
	$(BIN)/pip-audit --requirement requirements.txt --require-hashes --disable-pip

lock: $(VENV)/.release  ## pin every package: constraints.txt, and requirements.txt with hashes (NEWER=1 for newer versions)
	$(BIN)/python scripts/lock.py $(if $(NEWER),--newer)

weights: $(READY)  ## build the package of the weights of VGG16: dist/traitlens_vgg16-*.whl
	$(BIN)/python scripts/build_weights_package.py dist

bundle: $(READY)  ## everything that an installation without a connection needs: bundle/
	$(BIN)/python scripts/make_bundle.py bundle

clean:  ## remove the virtual environments and caches
	rm -rf dist bundle sbom.json docs/_build docs/auto_examples docs/generated $(VENV) .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
