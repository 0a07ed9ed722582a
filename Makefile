# pg_ward: two commands matter. Both install what is missing, and both are safe to run again.
#
#   make demo     the story of the extension, on a private server
#   make test     all tests
#
# PG_CONFIG=/path/to/pg_config picks another PostgreSQL (15 to 18).

.PHONY: help setup build install test demo bench fmt lint clean

help:
	@echo 'make demo     run the story on a private server'
	@echo 'make test     run all tests'
	@echo 'make bench    measure, side by side with the usual alternatives'
	@echo 'make build    build the extension;  make install: copy it into PostgreSQL'
	@echo 'make lint     check format and lints;  make fmt: mend the format'

setup:
	@scripts/setup

build: setup
	@scripts/build

# As root after 'make build', so that root needs no Rust.
install:
	@scripts/install

test: build
	@scripts/test

demo: build
	@scripts/demo

bench: build
	@benches/run

fmt:
	cargo fmt --all

lint: setup
	@scripts/lint

clean:
	cargo clean
