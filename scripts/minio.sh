#!/usr/bin/env bash
# Prints the path of a MinIO server, an S3-compatible object store for the tests; builds it with Go the first time.
set -euo pipefail
version=v0.0.0-20260212201848-7aac2a2c5b7c
folder="${XDG_CACHE_HOME:-$HOME/.cache}/mlwarehouse/bin"
binary="$folder/minio-$version"
if [ ! -x "$binary" ]; then
  if ! command -v go >/dev/null; then
    echo "minio: tests of object stores need a MinIO server, which is built with Go 1.24 or newer, and there is no go on the PATH; install it and run this again." >&2
    exit 1
  fi
  printf '\033[1m==>\033[0m building MinIO (once, some minutes)\n' >&2
  # In a folder of its own, and put in place by one rename: two that build at once don't meet.
  mkdir -p "$folder"
  making=$(mktemp -d "$folder/.making.XXXXXX")
  trap 'rm -rf "$making"' EXIT
  GOBIN="$making" GOFLAGS=-mod=mod go install "github.com/minio/minio@$version" >&2
  mv "$making/minio" "$binary"
fi
echo "$binary"
