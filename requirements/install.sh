#!/bin/sh
# install.sh train|dev: create .venv with a fitting Python and install requirements/<set>.txt into it, once.
# A second call with unchanged requirements does nothing and takes no time.
set -eu
cd "$(dirname "$0")/.."
wanted="$1"
stamp=".venv/.installed-$wanted"

fail() {
    echo "$1" >&2
    exit 1
}

find_python() {
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Kilroy needs Python 3.11 or newer, and found none as python3, python3.13, python3.12 or python3.11: install one."
}

create_venv() {
    python="$(find_python)"
    for module in ssl venv ensurepip ctypes fcntl zlib; do
        "$python" -c "import $module" 2>/dev/null ||
            fail "$python lacks the module '$module': install it (on Debian: apt-get install python3-venv) or another Python."
    done
    rm -rf .venv
    "$python" -m venv .venv || fail "$python could not create .venv: see the message above."
}

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    create_venv
fi

files="requirements/base.txt requirements/train.txt"
[ "$wanted" = dev ] && files="$files requirements/dev.txt"
# shellcheck disable=SC2086 # a list of files
state="$(cat $files | cksum) $(.venv/bin/python -V)"
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$state" ]; then
    echo "Installing what requirements/$wanted.txt lists (once; it takes a minute or two)" >&2
    .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-input -r "requirements/$wanted.txt" ||
        fail "The packages could not be installed: see the message above, then run the command again."
    echo "$state" >"$stamp"
fi
