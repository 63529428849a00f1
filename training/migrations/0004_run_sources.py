"""A run learns from its sources, however many: the one dataset that it had becomes the first of them."""

from django.db import migrations

from accounts.constraints import tenant_foreign_key

SAME_ORGANIZATION = tenant_foreign_key("training_run", "dataset_id", "training_dataset")


class Migration(migrations.Migration):
    dependencies = [("training", "0003_learning_engine")]

    # In this order so that it can be taken back: the field returns, is filled, and only then checked.
    operations = [
        migrations.RemoveConstraint(model_name="run", name="run_offline_has_dataset"),
        migrations.RunSQL(SAME_ORGANIZATION.reverse_sql, SAME_ORGANIZATION.sql),
        # All organizations at once, which the models' managers would refuse.
        migrations.RunSQL(
            """
            INSERT INTO training_rundataset (organization_id, run_id, dataset_id, weight)
                SELECT organization_id, id, dataset_id, 1 FROM training_run WHERE dataset_id IS NOT NULL
                ON CONFLICT (run_id, dataset_id) DO NOTHING;
            SET CONSTRAINTS ALL IMMEDIATE;
            SET CONSTRAINTS ALL DEFERRED;
            """,
            """
            UPDATE training_run SET dataset_id = (
                SELECT dataset_id FROM training_rundataset WHERE run_id = training_run.id ORDER BY id LIMIT 1
            );
            SET CONSTRAINTS ALL IMMEDIATE;
            SET CONSTRAINTS ALL DEFERRED;
            """,
        ),
        migrations.RemoveField(model_name="run", name="dataset"),
    ]
