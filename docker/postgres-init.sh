#!/bin/sh
# Run once by the postgres image, over an empty volume: the role that signs in must not be a superuser, because a superuser
# walks through row-level security; Kilroy's processes go on as kilroy_app, which owns nothing.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$APPLICATION_PASSWORD" --username "$POSTGRES_USER" <<'SQL'
CREATE ROLE kilroy LOGIN PASSWORD :'password';
CREATE ROLE kilroy_app NOLOGIN;
GRANT kilroy_app TO kilroy;
CREATE DATABASE kilroy OWNER kilroy;
SQL
