"""The same external id and start may be told of two services."""

from django.db import migrations, models


class Migration(migrations.Migration):
    safe_because = {"AddConstraint": "It asks less than the one whose place it takes, so every row keeps to it."}

    dependencies = [
        ("delivery", "0002_deploy_token"),
    ]

    operations = [
        migrations.AlterField(
            model_name="incident",
            name="fingerprint",
            field=models.CharField(
                blank=True,
                help_text="Alertmanager's name for the alert, or the external id that people gave it.",
                max_length=64,
            ),
        ),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.UniqueConstraint(
                condition=models.Q(("fingerprint", ""), _negated=True),
                fields=("service", "environment", "fingerprint", "started_at"),
                name="delivery_incident_told_once",
            ),
        ),
        migrations.RemoveConstraint(
            model_name="incident",
            name="delivery_incident_once_an_alert",
        ),
    ]
