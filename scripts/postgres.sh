#!/usr/bin/env bash
# Sees that PostgreSQL is there for the tests: installs Debian's package when run as root, says how otherwise.
set -euo pipefail
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  printf '\033[1m==>\033[0m installing PostgreSQL\n'
  apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql >/dev/null
else
  echo "tests of imports from PostgreSQL need it: install it (Debian: apt-get install postgresql) and run this again." >&2
  exit 1
fi
