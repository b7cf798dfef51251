#!/usr/bin/env bash
# Makes .venv in the project's root with everything, from locked versions, and fetches Delta's jars for Spark once.
# Usage: scripts/setup.sh [LOCK], LOCK being lock/dev.txt unless told otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=${1:-lock/dev.txt}
say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3.13 python3.12 python3.11 python3.14 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
fi
[ -n "$python" ] || fail "Python 3.11 to 3.14 is needed and none was found on the PATH; install one, or set PYTHON=/path/to/python3."

stamp=".venv/.installed"
wanted=$(cat "$lock" pyproject.toml "$0" | cksum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  if [ ! -x .uv/bin/uv ]; then
    say "getting uv"
    "$python" -m venv .uv || fail "this Python can't make a virtual environment; install its venv package (Debian: apt-get install python3-venv)."
    .uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5' || fail "uv couldn't be installed from the package index."
  fi
  say "making .venv ($("$python" --version), $lock); the first time this fetches several GB, PyTorch for the most part"
  [ -x .venv/bin/python ] || .uv/bin/uv venv --quiet --python "$python" .venv
  .uv/bin/uv pip sync --compile-bytecode --require-hashes --python .venv/bin/python "$lock"
  .uv/bin/uv pip install --quiet --no-deps --no-build-isolation --python .venv/bin/python --editable .
  printf '%s' "$wanted" > "$stamp"
fi

java_is_there() { .venv/bin/python -c 'from mlwarehouse.engines.spark_java import require_java; require_java()' 2>/dev/null; }
if ! java_is_there; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing Java 17"
    apt-get update -qq && apt-get install -y -qq openjdk-17-jre-headless >/dev/null
    java_is_there || fail "the installed Java isn't found; set JAVA_HOME."
  else
    fail "Java 17 or newer is needed for Spark; install it (Debian: apt-get install openjdk-17-jre-headless) and run this again."
  fi
fi
.venv/bin/python -m mlwarehouse.engines.spark_jars
