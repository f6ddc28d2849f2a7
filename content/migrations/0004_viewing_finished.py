"""Finished viewings are added up from an index alone; it does what the one on the time of the last beacon did."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("content", "0003_search")]

    operations = [
        migrations.AddIndex(
            model_name="viewing",
            index=models.Index(fields=["last_beacon_at", "played_seconds"], name="viewing_finished"),
        ),
        migrations.AlterField(model_name="viewing", name="last_beacon_at", field=models.DateTimeField()),
    ]
