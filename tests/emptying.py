"""Emptying the database after a test that committed.

Django truncates every table, which makes new files for all of them and their indexes, and then writes every permission
and content type again: half a second, and hundreds of tests commit. Rows are deleted here instead, by the embedded
server's superuser, whom neither references nor row security nor the audit's triggers stop.
"""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
from django.db import connection
from django.test import TransactionTestCase

from kilroy_site.embedded.postgres import SUPERUSER, database_url
from tests.settings import RUN_FOLDER_VARIABLE

EMPTY = """
DO $$
DECLARE found regclass;
BEGIN
  SET LOCAL session_replication_role = replica;
  FOR found IN
    SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND relname NOT IN ('django_migrations', 'django_content_type', 'auth_permission') ORDER BY relname
  LOOP
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', found);
    EXECUTE format('DELETE FROM %s', found);
  END LOOP;
END $$
"""
"""The lock waits for whoever still writes, as truncating does."""


def empty_by_deleting() -> None:
    """Let Django's tests empty the database by `EMPTY`; where the server is somebody else's, they go on truncating."""
    if not os.environ.get("DATABASE_URL"):
        TransactionTestCase._fixture_teardown = _empty  # type: ignore[attr-defined]


def _empty(case: TransactionTestCase) -> None:
    url = database_url(
        Path(os.environ[RUN_FOLDER_VARIABLE]), role=SUPERUSER, database=str(connection.settings_dict["NAME"])
    )
    with psycopg.connect(url) as superuser:
        superuser.execute(EMPTY)
