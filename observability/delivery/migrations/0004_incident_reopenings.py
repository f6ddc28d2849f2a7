"""How often an incident was not over after all."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0003_incident_told_once"),
    ]

    operations = [
        migrations.AddField(
            model_name="incident",
            name="reopenings",
            field=models.PositiveIntegerField(
                db_default=0, default=0, help_text="How often it was not over after all. Never taken back."
            ),
        ),
        migrations.AlterModelOptions(
            name="deployment",
            options={"ordering": (models.OrderBy(models.F("finished_at"), descending=True, nulls_first=True), "-pk")},
        ),
    ]
