#!/usr/bin/env bash
# Sees that Chromium is there for the browser tests: installs Debian's package when run as root, says how otherwise.
set -euo pipefail
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  printf '\033[1m==>\033[0m installing Chromium\n'
  apt-get update -qq && apt-get install -y -qq chromium >/dev/null
else
  echo "browser tests need Chromium: install it (Debian: apt-get install chromium) and run this again." >&2
  exit 1
fi
