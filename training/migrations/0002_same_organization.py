"""Rows point only into their own organization."""

from django.db import migrations

from accounts.constraints import tenant_foreign_key


class Migration(migrations.Migration):
    dependencies = [("training", "0001_initial")]

    operations = [
        tenant_foreign_key("training_dataset", "bot_id", "bots_bot"),
        tenant_foreign_key("training_example", "dataset_id", "training_dataset"),
        tenant_foreign_key("training_modelversion", "bot_id", "bots_bot"),
        tenant_foreign_key("training_modelversion", "parent_id", "training_modelversion"),
        tenant_foreign_key("training_modelversion", "run_id", "training_run"),
        tenant_foreign_key("training_run", "bot_id", "bots_bot"),
        tenant_foreign_key("training_run", "dataset_id", "training_dataset"),
        tenant_foreign_key("training_run", "start_version_id", "training_modelversion"),
        tenant_foreign_key("training_round", "run_id", "training_run"),
        tenant_foreign_key("training_round", "version_id", "training_modelversion"),
        tenant_foreign_key("training_metric", "run_id", "training_run"),
        tenant_foreign_key("training_sampleset", "run_id", "training_run"),
        tenant_foreign_key("training_generation", "bot_id", "bots_bot"),
        tenant_foreign_key("training_generation", "version_id", "training_modelversion"),
    ]
