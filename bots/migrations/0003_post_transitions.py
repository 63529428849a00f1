"""The database holds the table of legal steps of a post, and refuses every other one."""

from django.db import migrations

STEPS = (
    ("approved", "blocked"),
    ("approved", "cancelled"),
    ("approved", "pending_review"),
    ("approved", "scheduled"),
    ("blocked", "pending_review"),
    ("declined", "pending_review"),
    ("leased", "cancelled"),
    ("leased", "queued"),
    ("leased", "sending"),
    ("needs_human", "cancelled"),
    ("needs_human", "published"),
    ("needs_human", "queued"),
    ("pending_review", "approved"),
    ("pending_review", "blocked"),
    ("pending_review", "cancelled"),
    ("pending_review", "declined"),
    ("published", "deleted"),
    ("queued", "cancelled"),
    ("queued", "leased"),
    ("queued", "scheduled"),
    ("rejected", "cancelled"),
    ("rejected", "pending_review"),
    ("scheduled", "approved"),
    ("scheduled", "blocked"),
    ("scheduled", "cancelled"),
    ("scheduled", "pending_review"),
    ("scheduled", "queued"),
    ("sending", "published"),
    ("sending", "queued"),
    ("sending", "rejected"),
    ("sending", "unknown"),
    ("unknown", "needs_human"),
    ("unknown", "published"),
    ("unknown", "queued"),
)

PAIRS = ", ".join(f"('{old}', '{new}')" for old, new in STEPS)


class Migration(migrations.Migration):
    dependencies = [("bots", "0002_same_organization")]

    operations = [
        migrations.RunSQL(
            f"""
            CREATE FUNCTION bots_post_transition() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({PAIRS}) THEN
                    RAISE EXCEPTION 'a post cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER bots_post_transition BEFORE UPDATE OF state ON bots_post
                FOR EACH ROW EXECUTE FUNCTION bots_post_transition();
            """,
            "DROP TRIGGER bots_post_transition ON bots_post; DROP FUNCTION bots_post_transition()",
        )
    ]
