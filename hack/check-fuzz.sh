#!/usr/bin/env bash
# Type-checks the fuzz targets, which the workspace doesn't have since running them takes a nightly
# compiler and cargo-fuzz. They are checked with the versions of the workspace's Cargo.lock, so that
# there is no second one to keep; libfuzzer itself is not built.
set -euo pipefail
cd "$(dirname "$0")/.."

cp Cargo.lock fuzz/Cargo.lock
trap 'rm -f fuzz/Cargo.lock' EXIT
target=$(cargo metadata --no-deps --format-version 1 |
  sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
RUSTFLAGS='--cfg fuzzing -D warnings' cargo check --quiet --manifest-path fuzz/Cargo.toml \
  --target-dir "$target/fuzz" --no-default-features
