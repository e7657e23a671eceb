# `make run` builds and starts Ayar; `make test` checks everything. Both install what they need on a Debian machine that
# has rustup's cargo, Node.js, npm, make and a C compiler.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:

# One set of packages for building and testing, so that nothing is compiled twice. The site builder stands apart: its
# dependencies are no part of the server.
native := --release --workspace --exclude site
wasm := --profile wasm-release --target-dir target/front --target wasm32-unknown-unknown --package app --lib --no-default-features --features hydrate

seed := ../shared/data
tokens := ../shared/bench/seed
echarts := public/vendor/echarts.min.js
fuzz_targets := engine/gguf engine/safetensors engine/adapter_config
fuzz_targets += service/delimited service/json service/parquet service/xlsx service/containers
node_modules := end2end/node_modules/.package-lock.json

.PHONY: run site cuda test test-cuda lint lint-cuda test-rust test-postgres test-fuzz test-browser fuzz bench bench-pages bench-cuda wasm-target

run: site
	exec ./target/release/ayar serve

# The app as WASM, its assets and the server, in release.
site: wasm-target $(echarts)
	cargo site --release

# The same with NVIDIA GPUs: one binary for both, which uses the CPU where there is no card.
cuda: wasm-target $(echarts)
	export CUDA_HOME=$$(engine/cuda-toolkit.sh)
	cargo site --release --cuda

test: lint lint-cuda test-rust test-fuzz test-browser

lint: wasm-target
	cargo fmt --all --check
	cargo fmt --manifest-path engine/fuzz/Cargo.toml --check
	cargo fmt --manifest-path service/fuzz/Cargo.toml --check
	cargo clippy $(native) --all-targets -- -D warnings
	cargo clippy $(wasm) -- -D warnings
	cargo clippy --package site --all-targets -- -D warnings

# The kernels are compiled and the code around them is checked on any machine; they run in `cargo test` where a card is.
lint-cuda:
	export CUDA_HOME=$$(engine/cuda-toolkit.sh)
	cargo clippy $(native) --features server/cuda --all-targets -- -D warnings

test-rust:
	cargo test $(native)
	cargo test --package site
	$(MAKE) test-postgres

# What the service's tests hold of SQLite they hold of PostgreSQL, and what several servers do on it.
test-postgres:
	service/tests/postgres.sh cargo test $(native) --test service --test several
	service/tests/postgres.sh cargo test $(native) --lib -- db:: feed:: hashes:: people:: runs::

# From one seed, so that a change is judged by what it did and not by the dice; `make fuzz` throws them.
test-fuzz:
	$(MAKE) fuzz SECONDS=10 SEED=1

# The parsers of files from strangers, each fed for so many seconds with what libFuzzer makes of its corpus in engine/fuzz
# or service/fuzz. It needs no nightly compiler: see engine/fuzz/rustc.sh. An input that brings one down is left at the
# path that is printed.
fuzz: SECONDS := 60
fuzz: SEED := 0
fuzz:
	export RUSTC_WRAPPER=$(CURDIR)/engine/fuzz/rustc.sh
	host=$$(rustc --version --verbose | sed -n 's/^host: //p')
	for crate in engine service; do
	    cargo build --release --target $$host --manifest-path $$crate/fuzz/Cargo.toml --target-dir target/fuzz
	done
	for target in $(fuzz_targets); do
	    name=$${target##*/}
	    mkdir -p target/fuzz/found/$$name
	    log=target/fuzz/$$name.log
	    target/fuzz/$$host/release/$$name target/fuzz/found/$$name $${target%%/*}/fuzz/corpus/$$name \
	        -seed=$(SEED) -max_total_time=$(SECONDS) -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
	        -artifact_prefix=target/fuzz/$$name- -print_final_stats=1 > $$log 2>&1 || { tail -n 40 $$log; exit 1; }
	    echo "$$name: $$(sed -n 's/.*executed_units: *//p' $$log) inputs"
	done

# On a machine with a card: the engine's tests and the service's there, one at a time, as some use up the card's memory
# on purpose.
test-cuda:
	export CUDA_HOME=$$(engine/cuda-toolkit.sh)
	cargo test --release --package engine --features cuda -- --test-threads=1
	AYAR_DEVICE=cuda cargo test --release --package service --features cuda --test service -- --test-threads=1

test-browser: site $(node_modules)
	cargo build --release --package service --example hub
	chromium=$$(end2end/chromium.sh)
	cd end2end
	CHROMIUM="$$chromium" npx playwright test

# The figures of the README. The seed split is not part of the repository; without it the sample is split.
bench: site
	@if [[ -f $(seed)/seed_train.csv && -f $(seed)/seed_test.csv ]]; then
	    echo "The seed split: $(seed)/seed_train.csv and seed_test.csv"
	    ./target/release/ayar bench --train $(seed)/seed_train.csv --test $(seed)/seed_test.csv --label-column sentiment
	else
	    echo "A split of data/sample/headlines.csv; there is no seed split in $(seed)"
	    ./target/release/ayar bench --data data/sample/headlines.csv
	fi

# What pages transfer and how soon they can be read and used, in the browser of the tests.
bench-pages: site $(node_modules)
	chromium=$$(end2end/chromium.sh)
	cd end2end
	CHROMIUM="$$chromium" npx playwright test --config page-load.config.ts

# What the README says of GPUs. The seed rows' tokens are not part of the repository; without them rows are synthetic.
bench-cuda: cuda
	@rows=()
	if [[ -f $(tokens)_train_llama3_tokens.safetensors && -f $(tokens)_test_llama3_tokens.safetensors ]]; then
	    rows=(--tokens $(tokens)_train_llama3_tokens.safetensors --test-tokens $(tokens)_test_llama3_tokens.safetensors)
	fi
	./target/release/ayar bench training --rows 8,32,128 --repeat 5 "$${rows[@]}"
	./target/release/ayar bench evaluation --repeat 5 "$${rows[@]}"
	./target/release/ayar bench experiment "$${rows[@]}"
	./target/release/ayar bench kernels

wasm-target:
	@[[ -d $$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown ]] || rustup target add wasm32-unknown-unknown

$(node_modules): end2end/package.json end2end/package-lock.json
	PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm --prefix end2end ci

$(echarts): $(node_modules) end2end/vendor.mjs
	npm --prefix end2end run --silent vendor
