"""To what moment a viewing is counted, and the way from a device to its viewings."""

import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("content", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="viewing",
            name="credited_until",
            field=models.DateTimeField(default=django.utils.timezone.now),
            preserve_default=False,
        ),
        migrations.AddIndex(
            model_name="viewing",
            index=models.Index(fields=["device", "item", "-last_beacon_at"], name="viewing_of_device"),
        ),
    ]
