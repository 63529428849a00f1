"""PostgreSQL shows a statement the rows of its own organization only."""

from django.db import migrations

from accounts.constraints import row_security

TABLES = [
    "training_canary",
    "training_dataset",
    "training_example",
    "training_generation",
    "training_harvest",
    "training_metric",
    "training_modelversion",
    "training_retraining",
    "training_round",
    "training_run",
    "training_rundataset",
    "training_sampleset",
]


class Migration(migrations.Migration):
    dependencies = [("training", "0006_sizes")]

    operations = [row_security(table) for table in TABLES]
