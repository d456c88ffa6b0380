# Every target is one script; `make build`, `make test` and `make quickstart` take a fresh Debian 12 or Ubuntu 24.04
# machine as they find it.
.DEFAULT_GOAL := build
prefix ?= $(or $(PREFIX),/usr/local)
torch ?= apart
.PHONY: quickstart test build install bench format tidy clean help

quickstart: ; @scripts/quickstart.sh
build:      ; @scripts/build.sh
test:       ; @scripts/test.sh
install:    ; @DESTDIR='$(DESTDIR)' scripts/install.sh '$(prefix)' '$(torch)'
bench:      ; @scripts/bench.sh
format:     ; @scripts/format.sh
tidy:       ; @scripts/tidy.sh
clean:      ; rm -rf build
help:
	@echo 'make quickstart   install what is missing, build, train a LoRA with two ranks, compare answers'
	@echo 'make build        build/release/lora-dist'
	@echo 'make test         the whole test suite'
	@echo 'make install      below prefix=/usr/local, from where it can be moved; torch=beside copies LibTorch, too'
	@echo 'make bench        speed and memory beside PEFT'
	@echo 'make format       clang-format over the tree'
	@echo 'make tidy         clang-tidy over the files that differ from main'
	@echo 'make clean        remove build/'
