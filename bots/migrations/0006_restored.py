"""In a database that was put back to an earlier moment, posts that were on their way may have been sent: their outcome
is unknown.
"""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("bots.migrations.0003_post_transitions").STEPS
AFTER = tuple(sorted({*BEFORE, *((state, "unknown") for state in ("approved", "scheduled", "queued", "leased"))}))


def holds(steps: tuple[tuple[str, str], ...]) -> str:
    """The trigger's function with another table of steps."""
    pairs = ", ".join(f"('{old}', '{new}')" for old, new in steps)
    return f"""
        CREATE OR REPLACE FUNCTION bots_post_transition() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({pairs}) THEN
                RAISE EXCEPTION 'a post cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$;
    """


class Migration(migrations.Migration):
    dependencies = [("bots", "0005_queue_threads_replies")]

    operations = [migrations.RunSQL(holds(AFTER), holds(BEFORE))]
