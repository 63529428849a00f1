#!/bin/sh
# chromium.sh: make sure that a Chromium is here for the browser tests; install the system's where we may.
set -eu
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    as_root="none"
fi
if [ "$as_root" = none ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "The browser tests need Chromium, and it cannot be installed from here: install the package 'chromium' and try again." >&2
    exit 1
fi
echo "Installing Chromium for the browser tests (once)" >&2
log="$(mktemp)"
# shellcheck disable=SC2086 # empty, or sudo with its option
if ! { DEBIAN_FRONTEND=noninteractive $as_root apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends chromium; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "Chromium could not be installed (see above): install the package 'chromium' and try again." >&2
    exit 1
fi
rm -f "$log"
