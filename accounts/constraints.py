"""What tenancy asks of the database beyond Django's own constraints, as operations for migrations."""

from __future__ import annotations

from django.db import migrations


def tenant_foreign_key(table: str, column: str, target: str) -> migrations.RunSQL:
    """A composite foreign key (organization_id, column) → target (organization_id, id): a row cannot point into
    another organization, whatever the application does. The target needs UNIQUE (organization_id, id).
    """
    name = f"{table}_{column}_same_organization"
    return migrations.RunSQL(
        f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" FOREIGN KEY (organization_id, "{column}") '
        f'REFERENCES "{target}" (organization_id, id) DEFERRABLE INITIALLY DEFERRED',
        f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"',
    )


def append_only(table: str) -> migrations.RunSQL:
    """A trigger that refuses to change or delete single rows. (An organization's end deletes its rows through
    `kilroy.leaving`.)
    """
    return migrations.RunSQL(
        f"""
        CREATE FUNCTION "{table}_append_only"() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND current_setting('kilroy.leaving', true) = OLD.organization_id::text THEN
                RETURN OLD;
            END IF;
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
        END $$;
        CREATE TRIGGER "{table}_append_only" BEFORE UPDATE OR DELETE ON "{table}"
            FOR EACH ROW EXECUTE FUNCTION "{table}_append_only"();
        """,
        f'DROP TRIGGER "{table}_append_only" ON "{table}"; DROP FUNCTION "{table}_append_only"()',
    )


def row_security(table: str) -> migrations.RunSQL:
    """Row-level security, for the owner of the table too: a statement sees and makes the rows of the organization that
    `app.organization` names ("everyone": all of them), and none while it is not set.

    `IS NOT NULL` is for the planner: it takes that for nearly always true, where it would take the comparison for rare,
    and then sort whole tables rather than read the first rows of an index.
    """
    return migrations.RunSQL(
        f"""
        ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY tenant ON "{table}"
            USING (nullif(
                (SELECT current_setting('app.organization', true)) IN (organization_id::text, 'everyone'), false
            ) IS NOT NULL);
        """,
        f"""
        DROP POLICY tenant ON "{table}";
        ALTER TABLE "{table}" NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
        """,
    )
