#!/bin/sh
# Run once by the postgres image, over an empty volume: the application's role must not be a superuser, because a superuser
# walks through row-level security.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$APPLICATION_PASSWORD" --username "$POSTGRES_USER" <<'SQL'
CREATE ROLE kilroy LOGIN PASSWORD :'password';
CREATE DATABASE kilroy OWNER kilroy;
SQL
