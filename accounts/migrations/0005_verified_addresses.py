from django.db import migrations


def vouch_for_everybody(apps, schema_editor):
    """Whoever is here was let in by an operator: the addresses that they sign in with are theirs."""
    user, address = apps.get_model("accounts", "User"), apps.get_model("account", "EmailAddress")
    known = set(address.objects.values_list("user_id", flat=True))
    address.objects.bulk_create(
        (
            address(user_id=pk, email=email.lower(), verified=True, primary=True)
            for pk, email in user.objects.values_list("pk", "email")
            if pk not in known
        ),
        batch_size=1000,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_organizations"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]

    operations = [migrations.RunPython(vouch_for_everybody, migrations.RunPython.noop)]
