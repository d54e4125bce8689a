#!/usr/bin/env bash
# Sets up whatever is missing (virtual environment, packages, Chromium), then runs every check.
# Arguments go to pytest: `bash tests/run.sh -m slow` runs the heavier checks instead.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check \
    -r requirements.txt -r tests/requirements.txt

if ! command -v chromium >/dev/null; then
    root=$([ "$(id -u)" = 0 ] || echo sudo)
    $root apt-get update -qq
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
fi

export OMP_WAIT_POLICY=passive # a thread that waits leaves its core to the other tests

.venv/bin/ruff check .
.venv/bin/ruff format --check .
exec .venv/bin/python -m pytest -n 2 --dist loadgroup "${@:--mnot slow and not versions}"
