# Every target is one script; `make build`, `make test` and `make quickstart` take a fresh Debian 12 or Ubuntu 24.04
# machine as they find it.
.DEFAULT_GOAL := build
.PHONY: quickstart test build bench format tidy clean

quickstart: ; @scripts/quickstart.sh
build:      ; @scripts/build.sh
test:       ; @scripts/test.sh
bench:      ; @scripts/bench.sh
format:     ; @scripts/format.sh
tidy:       ; @scripts/tidy.sh
clean:      ; rm -rf build
