"""The belt to tenancy's braces: PostgreSQL itself shows each statement the rows of one organization only.

Every table of tenant-owned rows has a policy (`accounts/constraints.py: row_security`) that compares its organization
with the setting `app.organization`. Each statement carries that setting in front of it, in one message and with `SET
LOCAL`, so that it ends with the statement's own transaction: nothing is left on a connection for whoever gets it next,
also behind a pooler. A statement without a tenant sees no row. What goes through `.everyone` says so in its SQL.

The web process and the workers act as a role that is neither owner of the tables nor superuser; migrations act as
the owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ProgrammingError

from accounts import tenancy

ROLE = "kilroy_app"
SETTING = "app.organization"
_OF_TRANSACTIONS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")
"""Statements that read no row, one of which must also work where the transaction has failed."""
_owner: ContextVar[bool] = ContextVar("as_owner", default=False)


@contextmanager
def as_owner() -> Iterator[None]:
    """Within the block new connections act as the owner of the tables and see every row: for migrations, and for
    whoever empties the database.
    """
    token = _owner.set(True)
    connections.close_all()
    try:
        yield
    finally:
        _owner.reset(token)
        connections.close_all()


def on_connected(sender: Any, connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Receiver of `connection_created`. Raises ImproperlyConfigured while the role does not exist."""
    if not connection.settings_dict["NAME"]:
        return  # to the server, not to Kilroy's database: nothing of tenants is there
    if confine in connection.execute_wrappers:
        connection.execute_wrappers.remove(confine)
    with connection.cursor() as cursor:
        if _owner.get():
            cursor.execute(f"SET {SETTING} = '{tenancy.EVERYONE}'")
            return
        try:
            cursor.execute(f"SET ROLE {ROLE}")
        except ProgrammingError as error:
            raise ImproperlyConfigured(f"The database has no role {ROLE} yet: run `manage.py migrate`.") from error
    connection.execute_wrappers.append(confine)


def confine(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Put the statement's organization in front of it."""
    connection, cursor = context["connection"], context["cursor"].cursor
    text = sql if isinstance(sql, str) else sql.as_string(cursor)
    organization = tenancy.EVERYONE if tenancy.MARK in text else str(tenancy.active_or_none() or "")
    unset = not organization and not connection.in_atomic_block
    if unset or text.startswith(_OF_TRANSACTIONS):
        return execute(sql, params, many, context)
    setting = f"SET LOCAL {SETTING} = '{organization}'; "
    if many:
        if not connection.in_atomic_block:
            raise RuntimeError("executemany() needs a transaction, which its organization is set for.")
        cursor.execute(setting)
        return execute(sql, params, many, context)
    result = execute(setting + text, params, many, context)
    cursor.nextset()  # the setting's own result came first
    return result


def prepare(connection: BaseDatabaseWrapper) -> None:
    """Make the role and let it work with every table; the connection is the owner's. Raises ImproperlyConfigured."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = %s", [ROLE])
        found = cursor.fetchone()
        try:
            if found is None:
                cursor.execute(f"CREATE ROLE {ROLE} NOLOGIN")
            if found != (True,):
                cursor.execute(f"GRANT {ROLE} TO CURRENT_USER")
        except ProgrammingError as error:
            raise ImproperlyConfigured(
                f"The database's role may not create the role {ROLE} that Kilroy works as. Let an administrator of the "
                f"server run: CREATE ROLE {ROLE} NOLOGIN; GRANT {ROLE} TO {connection.settings_dict['USER']};"
            ) from error
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {ROLE}")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}")
        cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {ROLE}")
